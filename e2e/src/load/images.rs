//! The images that are sent, and what a model version says of them offline.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};
use serde::Deserialize;

use super::{LoadError, NULL};

const BOUNDARY: &str = "sluice-image";

/// One image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// File name.
    pub(super) name: String,
    /// Its right class.
    pub(super) label: String,
    /// Position in the data file.
    pub(super) index: usize,
    form: Bytes,
    json: Bytes,
}

/// All images.
#[derive(Debug, Clone)]
pub(super) struct Images(Vec<Image>);

#[derive(Deserialize)]
struct Prediction {
    index: usize,
    prediction: Option<String>,
}

/// Reads the answers of one model version as `model-server evaluate --predictions` writes them.
pub(super) fn predictions(path: &Path) -> Result<Vec<String>, LoadError> {
    let list: Vec<Prediction> = read_json(path)?;
    if let Some(position) = list.iter().enumerate().position(|(i, answer)| answer.index != i) {
        return Err(refuse(path, &format!("there is no answer for image {position}")));
    }
    Ok(list.into_iter().map(|answer| answer.prediction.unwrap_or_else(|| NULL.to_owned())).collect())
}

impl Images {
    /// Reads a folder of `00000-<class>.png` with its `labels.json`.
    pub(super) fn read(folder: &Path) -> Result<Self, LoadError> {
        let labels: BTreeMap<String, String> = read_json(&folder.join("labels.json"))?;
        let mut images = Vec::with_capacity(labels.len());
        for (name, label) in labels {
            let path = folder.join(&name);
            let bytes = std::fs::read(&path).map_err(|error| refuse(&path, &error))?;
            let index = name.split('-').next().and_then(|digits| digits.parse().ok());
            let index = index.ok_or_else(|| refuse(&path, &"the name has no leading number"))?;
            images.push(Image { form: form(&name, &bytes), json: json(&bytes), name, label, index });
        }
        if images.is_empty() {
            return Err(refuse(folder, &"there are no images in labels.json"));
        }
        Ok(Self(images))
    }

    /// The image of a request, in turn.
    pub(super) fn pick(&self, number: u64) -> &Image {
        // A stride that is coprime to most counts, so that neighbours in time are not neighbours in the file.
        &self.0[(number as usize).wrapping_mul(7919) % self.0.len()]
    }
}

impl Image {
    pub(super) fn as_form(&self, host: &str) -> Request<Full<Bytes>> {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        request(host, "/predict-file", &kind, self.form.clone())
    }

    pub(super) fn as_json(&self, host: &str) -> Request<Full<Bytes>> {
        request(host, "/predict", "application/json", self.json.clone())
    }
}

fn request(host: &str, path: &str, kind: &str, body: Bytes) -> Request<Full<Bytes>> {
    let host = host.trim_start_matches("http://").trim_end_matches('/');
    let request = Request::post(path).header(HOST, host).header(CONTENT_TYPE, kind);
    request.body(Full::new(body)).expect("the address was parsed before, the rest is fixed")
}

fn form(name: &str, bytes: &[u8]) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    [head.as_bytes(), bytes, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat().into()
}

fn json(bytes: &[u8]) -> Bytes {
    serde_json::json!({"image": STANDARD.encode(bytes)}).to_string().into()
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    let text = std::fs::read(path).map_err(|error| refuse(path, &error))?;
    serde_json::from_slice(&text).map_err(|error| refuse(path, &error))
}

fn refuse(path: &Path, reason: &dyn std::fmt::Display) -> LoadError {
    LoadError::File { path: path.display().to_string(), reason: reason.to_string() }
}
