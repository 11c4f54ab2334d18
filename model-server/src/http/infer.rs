//! Open Inference Protocol, version 2, over REST: `/v2/…`, with tensors as JSON or as bytes.
//!
//! Inputs are what the model is given, behind the preprocessing; a client that has images asks `/predict`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::asking::{Asking, Said};
use super::tensors::{self, Asked, DATATYPE, Signature};
use super::{Problem, Service};
use crate::{Output, predictions};

/// How many bytes of a body are JSON.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The name of every model's input.
const INPUT: &str = "input";
/// What a number of an input needs at most as JSON, in bytes.
const NUMBER: usize = 16;

/// The paths of the protocol.
pub(super) fn routes() -> Router<Arc<Service>> {
    let versioned = "/v2/models/{name}/versions/{version}";
    Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/health/live", get(health))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(metadata))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer))
        .route(versioned, get(metadata))
        .route(&format!("{versioned}/ready"), get(model_ready))
        .route(&format!("{versioned}/infer"), post(infer))
}

/// Which model a path names.
#[derive(serde::Deserialize)]
struct Named {
    name: String,
    version: Option<String>,
}

async fn server() -> Json<Value> {
    Json(json!({
        "name": "sluice",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

async fn health(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(json!({"live": true, "ready": service.readiness().1}))
}

/// The protocol calls the field of this answer `live`; clients look for either.
async fn ready(State(service): State<Arc<Service>>) -> Response {
    let (status, ready) = service.readiness();
    (status, Json(json!({"live": true, "ready": ready}))).into_response()
}

async fn model_ready(
    State(service): State<Arc<Service>>,
    Path(named): Path<Named>,
) -> Result<Response, Problem> {
    service.expect(&named)?;
    let (status, ready) = service.readiness();
    Ok((status, Json(json!({"name": service.name, "ready": ready}))).into_response())
}

async fn metadata(
    State(service): State<Arc<Service>>,
    Path(named): Path<Named>,
) -> Result<Json<Value>, Problem> {
    service.expect(&named)?;
    let [channels, height, width] = service.signature().shape;
    Ok(Json(json!({
        "name": service.name,
        "versions": [service.metadata.version],
        "platform": "sluice_torchscript",
        "inputs": [{"name": INPUT, "datatype": DATATYPE, "shape": [-1, channels, height, width]}],
        "outputs": [{
            "name": service.signature().output,
            "datatype": DATATYPE,
            "shape": [-1, service.metadata.classes.len()],
        }],
    })))
}

async fn infer(
    State(service): State<Arc<Service>>,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Response, Problem> {
    service.expect(&named)?;
    let asking = Asking::of(request.headers())?;
    let json = request.headers().get(&JSON_LENGTH).map(|v| v.to_str().unwrap_or("not text").to_owned());
    let body = service.read(request.into_body(), service.tensor_bytes()).await?;
    let asked = tensors::read(&body.bytes, json.as_deref(), service.signature()).map_err(Problem::bad)?;
    // Its numbers are held twice from here on: the queue limits how many.
    drop(body);
    let Asked { id, inputs, images, binary } = asked;
    let hashes = service.hashes(inputs.chunks(inputs.len() / images).map(hash_of));
    let Said { outputs, answers } = service.ask(&asking, inputs, images, &hashes).await?;
    let numbers: Vec<f32> = match service.infer_output {
        Output::Logits => outputs,
        Output::Probabilities => {
            answers.iter().flat_map(|answer| answer.probabilities.iter().map(|p| *p as f32)).collect()
        }
    };
    if !numbers.iter().all(|number| number.is_finite()) {
        // The protocol has no word for it, and JSON none either.
        let message = "the model gave a number that is none";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    }
    let mut headers = service.predicted(&answers);
    let answer = service.answered(id, images, &numbers, binary, &mut headers);
    Ok((headers, answer).into_response())
}

/// Of an input's bytes, as they are sent.
fn hash_of(input: &[f32]) -> u64 {
    predictions::hash(&input.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

impl Service {
    /// Whether it takes requests, and the status that says so.
    fn readiness(&self) -> (StatusCode, bool) {
        if self.activity.draining.load(Ordering::Relaxed) {
            (StatusCode::SERVICE_UNAVAILABLE, false)
        } else {
            (StatusCode::OK, true)
        }
    }

    /// Refuses other models than the one that is served.
    fn expect(&self, named: &Named) -> Result<(), Problem> {
        let not_found = |what: &str, found: &str, is: &str| {
            let found = super::body::short(found);
            Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} {found:?}, known: {is:?}")))
        };
        if named.name != self.name {
            return not_found("model", &named.name, &self.name);
        }
        match &named.version {
            Some(version) if *version != self.metadata.version => {
                not_found("version", version, &self.metadata.version)
            }
            _ => Ok(()),
        }
    }

    fn signature(&self) -> Signature<'_> {
        let contract = &self.metadata.preprocessing;
        Signature {
            input: INPUT,
            output: match self.infer_output {
                Output::Logits => "logits",
                Output::Probabilities => "probabilities",
            },
            shape: [contract.channels, contract.height, contract.width].map(|side| side as usize),
            images: self.limits.images,
        }
    }

    /// Largest body of tensors: room for as many images as a request may have, within the memory for bodies.
    pub(super) fn tensor_bytes(&self) -> usize {
        let Signature { shape, images, .. } = self.signature();
        let numbers = images * shape.iter().product::<usize>();
        let wanted = numbers.saturating_mul(NUMBER).saturating_add(64 << 10);
        wanted.max(self.limits.body_bytes).min(self.limits.buffered_bytes)
    }

    fn answered(
        &self,
        id: Option<String>,
        images: usize,
        numbers: &[f32],
        binary: bool,
        headers: &mut HeaderMap,
    ) -> Body {
        let shape = [images, self.metadata.classes.len()];
        let mut output = json!({"name": self.signature().output, "datatype": DATATYPE, "shape": shape});
        let bytes: Vec<u8> = if binary {
            output["parameters"] = json!({"binary_data_size": numbers.len() * 4});
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        } else {
            output["data"] = json!(numbers);
            vec![]
        };
        let mut answer = json!({
            "model_name": self.name, "model_version": self.metadata.version, "outputs": [output],
        });
        if let Some(id) = id {
            answer["id"] = id.into();
        }
        let mut body = serde_json::to_vec(&answer).expect("values are JSON");
        let content_type = if binary { "application/octet-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if binary {
            headers.insert(JSON_LENGTH, body.len().into());
        }
        body.extend(bytes);
        body.into()
    }
}
