//! The Open Inference Protocol over gRPC, on the port of everything else.
//!
//! Bodies are read as others are, within the limits of memory and time, before tonic looks at them. An answer carries
//! what routers count in its first metadata, and its tensors always as bytes (`raw_output_contents`).

mod messages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{self, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::Full;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::asking::Asking;
use super::body::expect_type;
use super::inference::{INPUT, SERVER};
use super::tensors::{self, DATATYPE, Signature};
use super::{NO_PREDICTION, Problem, Service};
use crate::served::{Identity, Served};
use messages::{
    Empty, InferRequest, InferResponse, ModelIndex, ModelMetadata, OutputTensor, Ready, RepositoryIndex,
    RepositoryIndexRequest, RepositoryModelRequest, ServerLive, ServerMetadata, TensorMetadata, Which,
};

/// How long a client waits, in gRPC's words.
const TIMEOUT: &str = "grpc-timeout";
/// When a client may ask again, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The methods of the protocol.
pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/inference.GRPCInferenceService/{method}", post(call))
}

async fn call(
    State(service): State<Arc<Service>>,
    Path(method): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    if request.version() != Version::HTTP_2 {
        let message = "gRPC is spoken over HTTP/2 only";
        return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, message));
    }
    expect_type(&request, "application/grpc").or_else(|_| expect_type(&request, "application/grpc+proto"))?;
    let (parts, body) = request.into_parts();
    let max = service.message_bytes();
    // Its numbers are held twice until the answer is there: the queue limits how many.
    let held = match service.read(body, max).await {
        Ok(held) => held,
        Err(problem) => return Ok(status(problem).into_http::<axum::body::Body>().into_response()),
    };
    let asking = asking(&parts);
    let request = http::Request::from_parts(parts, Full::new(held.bytes.clone()));
    Ok(match method.as_str() {
        "ServerLive" => {
            unary(max, request, |_: Empty| async { Ok((ServerLive { live: true }, no_prediction())) }).await
        }
        "ServerReady" => {
            let ready = service.readiness().1;
            unary(max, request, move |_: Empty| async move { Ok((Ready { ready }, no_prediction())) }).await
        }
        "ServerMetadata" => {
            let told = server(&service);
            unary(max, request, move |_: Empty| async move { Ok((told, no_prediction())) }).await
        }
        "ModelReady" => {
            unary(max, request, |which: Which| async move {
                service.models.check(&which.name, version(&which.version)).map_err(Problem::from)?;
                Ok((Ready { ready: service.readiness().1 }, no_prediction()))
            })
            .await
        }
        "ModelMetadata" => {
            unary(max, request, |which: Which| async move {
                let served = find(&service, &which.name, &which.version).await?;
                Ok((metadata(&service, &served), no_prediction()))
            })
            .await
        }
        "RepositoryIndex" => {
            unary(max, request, |asked: RepositoryIndexRequest| async move {
                let models = service.index(asked.ready).into_iter().map(ModelIndex::from).collect();
                Ok((RepositoryIndex { models }, no_prediction()))
            })
            .await
        }
        "RepositoryModelLoad" => {
            unary(max, request, |which: RepositoryModelRequest| async move {
                service.load(&which.model_name).await?;
                Ok((Empty {}, no_prediction()))
            })
            .await
        }
        "RepositoryModelUnload" => {
            unary(max, request, |which: RepositoryModelRequest| async move {
                service.unload(&which.model_name)?;
                Ok((Empty {}, no_prediction()))
            })
            .await
        }
        "ModelInfer" => unary(max, request, |asked: InferRequest| infer(service, asking, asked)).await,
        unknown => {
            let unknown: String = unknown.chars().take(60).collect();
            Status::unimplemented(format!("there is no method {unknown:?}"))
                .into_http::<axum::body::Body>()
                .into_response()
        }
    })
}

/// Reads a message, and answers with one and with headers, or with a status.
async fn unary<Q, A, F>(
    max: usize,
    request: http::Request<Full<bytes::Bytes>>,
    method: impl FnOnce(Q) -> F + Send,
) -> Response
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Future<Output = Result<(A, http::HeaderMap), Problem>> + Send,
{
    let mut method = Some(method);
    let service = service_fn(|request: tonic::Request<Q>| {
        let method = method.take().expect("a request is answered once");
        async move {
            let (answer, headers) = method(request.into_inner()).await.map_err(status)?;
            Ok(tonic::Response::from_parts(
                MetadataMap::from_headers(headers),
                answer,
                tonic::Extensions::default(),
            ))
        }
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(max);
    let answer = grpc.unary(service, request).await;
    answer.into_response()
}

/// What the metadata of a request says of how it is to be answered.
fn asking(parts: &Parts) -> Result<Asking, Problem> {
    let asking = Asking::of(&parts.headers)?;
    let Some(value) = parts.headers.get(TIMEOUT) else { return Ok(asking) };
    let text = value.to_str().unwrap_or("not text");
    let time = time(text).ok_or_else(|| {
        let found: String = text.chars().take(30).collect();
        Problem::bad(format!("{TIMEOUT} is {found:?}, allowed: up to 8 digits and one of H, M, S, m, u, n"))
    })?;
    Ok(asking.within(time))
}

/// Reads a time as gRPC spells it.
fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

async fn infer(
    service: Arc<Service>,
    asking: Result<Asking, Problem>,
    asked: InferRequest,
) -> Result<(InferResponse, http::HeaderMap), Problem> {
    let asking = asking?;
    let InferRequest { model_name, model_version, id, .. } = &asked;
    let (served, id) = (find(&service, model_name, model_version).await?, id.clone());
    let signature = service.signature(&served);
    let (inputs, images) = read(asked, signature).map_err(Problem::bad)?;
    let (numbers, headers) = service.infer(&served, &asking, inputs, images).await?;
    let Identity { name, metadata, .. } = served.identity();
    let output = OutputTensor {
        name: signature.output.to_owned(),
        datatype: DATATYPE.to_owned(),
        shape: vec![images as i64, metadata.classes.len() as i64],
    };
    let answer = InferResponse {
        model_name: name.clone(),
        model_version: metadata.version.clone(),
        id,
        outputs: vec![output],
        raw_output_contents: vec![numbers.iter().flat_map(|number| number.to_le_bytes()).collect()],
    };
    Ok((answer, headers))
}

/// The inputs of a request, and of how many images.
fn read(asked: InferRequest, signature: Signature<'_>) -> Result<(Vec<f32>, usize), String> {
    let InferRequest { inputs, outputs, raw_input_contents: raw, .. } = asked;
    let count = inputs.len();
    let Ok([input]) = <[_; 1]>::try_from(inputs) else {
        return Err(format!("the request has {count} inputs, allowed: 1, {:?}", signature.input));
    };
    if let Some(output) = outputs.iter().find(|output| output.name != signature.output).or(outputs.get(1)) {
        let found: String = output.name.chars().take(60).collect();
        return Err(format!("the output {found:?} is asked for, allowed: {:?} once", signature.output));
    }
    let images = tensors::images(&input.name, &input.datatype, &input.shape, signature)?;
    let typed = input.contents.unwrap_or_default().fp32;
    let numbers = match &raw[..] {
        [] => typed,
        [bytes] if typed.is_empty() => tensors::of_bytes(bytes)?,
        [_] => return Err("the input has raw_input_contents and contents, allowed: one of them".to_owned()),
        many => return Err(format!("there are {} raw_input_contents, allowed: 1", many.len())),
    };
    let numbers = tensors::counted(numbers, images * signature.shape.iter().product::<usize>())?;
    tensors::finite(&numbers)?;
    Ok((numbers, images))
}

async fn find(service: &Service, name: &str, asked: &str) -> Result<Arc<Served>, Problem> {
    Ok(service.models.named(name, version(asked)).await?)
}

/// The protocol's way to name no version is an empty text.
fn version(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn server(service: &Service) -> ServerMetadata {
    let (name, version) = SERVER;
    let extensions = service.extensions().into_iter().map(str::to_owned).collect();
    ServerMetadata { name: name.to_owned(), version: version.to_owned(), extensions }
}

fn metadata(service: &Service, served: &Served) -> ModelMetadata {
    let Identity { name, metadata, platform, .. } = served.identity();
    let Signature { output, shape: [channels, height, width], .. } = service.signature(served);
    let tensor = |name: &str, shape: Vec<i64>| TensorMetadata {
        name: name.to_owned(),
        datatype: DATATYPE.to_owned(),
        shape,
    };
    let sides = [channels, height, width].map(|side| side as i64);
    ModelMetadata {
        name: name.clone(),
        versions: service.versions(served),
        platform: (*platform).to_owned(),
        inputs: vec![tensor(INPUT, [-1].into_iter().chain(sides).collect())],
        outputs: vec![tensor(output, vec![-1, metadata.classes.len() as i64])],
    }
}

/// What went wrong, in gRPC's words.
fn status(problem: Problem) -> Status {
    let code = match problem.status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    let mut metadata = MetadataMap::new();
    if problem.status == StatusCode::TOO_MANY_REQUESTS {
        metadata.insert(PUSHBACK, tonic::metadata::MetadataValue::from_static("1000"));
    }
    Status::with_metadata(code, problem.message, metadata)
}

/// For answers of methods that ask no model.
fn no_prediction() -> http::HeaderMap {
    [NO_PREDICTION].into_iter().collect()
}

#[cfg(test)]
mod tests;
