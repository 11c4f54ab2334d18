//! The form of `POST /predict-file`, read. The parser reads bytes that are held already: the limits apply to both ways of
//! sending alike.

use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;

use super::text::short;

/// What a form holds.
#[derive(Debug, PartialEq)]
pub(super) struct Form {
    /// The first files.
    pub(super) files: Vec<Bytes>,
    /// How many there are, at least 1.
    pub(super) count: usize,
    /// How many classes to list.
    pub(super) top_k: Option<usize>,
}

/// Reads a form; of its files at most `max` are kept.
///
/// # Errors
/// Names the field, or says where the form breaks.
pub(super) async fn read(kind: Option<&HeaderValue>, body: Bytes, max: usize) -> Result<Form, String> {
    let broken = |reason: String| format!("the form is broken: {reason}");
    let mut request = Request::new(Body::from(body));
    if let Some(kind) = kind {
        request.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| broken(e.body_text()))?;
    let broken = |error: MultipartError| broken(error.body_text());
    let (mut files, mut count, mut top_k) = (Vec::new(), 0, None);
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let data = field.bytes().await.map_err(broken)?;
        match name.as_str() {
            "file" => {
                count += 1;
                if count <= max {
                    files.push(data);
                }
            }
            "top_k" if top_k.is_none() => {
                let text = String::from_utf8_lossy(&data);
                let wrong = |_| format!("top_k is {:?}, allowed: a number", short(&text));
                top_k = Some(text.parse().map_err(wrong)?);
            }
            _ => {
                let name = short(&name);
                return Err(format!(
                    "field {name:?} is unknown or there twice, allowed: file (several), top_k"
                ));
            }
        }
    }
    if count == 0 {
        return Err("field file is missing".into());
    }
    Ok(Form { files, count, top_k })
}
