//! Open Inference Protocol, version 2, over REST: `/v2/…`, with tensors as JSON or as bytes.
//!
//! Inputs are what the model is given, behind the preprocessing; a client that has images asks `/predict`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::asking::Asking;
use super::inference::{INPUT, SERVER};
use super::paths::Named;
use super::tensors::{self, Asked, DATATYPE, Signature};
use super::{Problem, Service};
use super::{explain, predict};
use crate::served::Identity;

/// How many bytes of a body are JSON.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The paths of the protocol.
pub(super) fn routes() -> Router<Arc<Service>> {
    let mut router = Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/health/live", get(health))
        .route("/v2/health/ready", get(ready));
    for model in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
        router = router
            .route(model, get(metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/infer"), post(infer))
            // Ours: images, and what is known of the model.
            .route(&format!("{model}/predict"), post(predict::json))
            .route(&format!("{model}/predict-file"), post(predict::files))
            .route(&format!("{model}/explain"), post(explain::explain))
            .route(&format!("{model}/info"), get(super::model_info));
    }
    router
}

async fn server(State(service): State<Arc<Service>>) -> Json<Value> {
    let (name, version) = SERVER;
    Json(json!({"name": name, "version": version, "extensions": service.extensions()}))
}

async fn health(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(json!({"live": true, "ready": service.readiness().1}))
}

/// The protocol calls the field of this answer `live`; clients look for either.
async fn ready(State(service): State<Arc<Service>>) -> Response {
    let (status, ready) = service.readiness();
    (status, Json(json!({"live": true, "ready": ready}))).into_response()
}

/// A model that would be loaded for who asks it is ready: else those who look first would never ask.
async fn model_ready(State(service): State<Arc<Service>>, named: Named) -> Result<Response, Problem> {
    service.models.check(named.name(), named.version())?;
    let (status, ready) = service.readiness();
    Ok((status, Json(json!({"name": named.name(), "ready": ready}))).into_response())
}

async fn metadata(State(service): State<Arc<Service>>, named: Named) -> Result<Json<Value>, Problem> {
    let served = service.find(&named).await?;
    let Identity { name, metadata, platform, .. } = served.identity();
    let Signature { output, shape: [channels, height, width], .. } = service.signature(&served);
    let versions = service.versions(&served);
    Ok(Json(json!({
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": [{"name": INPUT, "datatype": DATATYPE, "shape": [-1, channels, height, width]}],
        "outputs": [{
            "name": output,
            "datatype": DATATYPE,
            "shape": [-1, metadata.classes.len()],
        }],
    })))
}

async fn infer(
    State(service): State<Arc<Service>>,
    named: Named,
    request: Request,
) -> Result<Response, Problem> {
    let served = service.find(&named).await?;
    let asking = Asking::of(request.headers())?;
    let json = request.headers().get(&JSON_LENGTH).map(|v| v.to_str().unwrap_or("not text").to_owned());
    let body = service.read_request(request, service.tensor_bytes(&served)).await?;
    asking.admitted(&served)?;
    let asked =
        tensors::read(&body.bytes, json.as_deref(), service.signature(&served)).map_err(Problem::bad)?;
    // Its numbers are held twice from here on: the queue limits how many.
    drop(body);
    let Asked { id, inputs, images, binary } = asked;
    let (numbers, mut headers) = service.infer(&served, &asking, inputs, images).await?;
    let output = service.signature(&served).output;
    let answer = answered(served.identity(), output, id, images, &numbers, binary, &mut headers);
    Ok((headers, answer).into_response())
}

fn answered(
    Identity { name, metadata, .. }: &Identity,
    output: &str,
    id: Option<String>,
    images: usize,
    numbers: &[f32],
    binary: bool,
    headers: &mut HeaderMap,
) -> Body {
    let shape = [images, metadata.classes.len()];
    let mut output = json!({"name": output, "datatype": DATATYPE, "shape": shape});
    let bytes: Vec<u8> = if binary {
        output["parameters"] = json!({"binary_data_size": numbers.len() * 4});
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    } else {
        output["data"] = json!(numbers);
        vec![]
    };
    let mut answer = json!({"model_name": name, "model_version": metadata.version, "outputs": [output]});
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
