use axum::body::{Body, to_bytes};
use http_body_util::BodyExt;
use rstest::rstest;
use tower::ServiceExt;

use super::messages::{Contents, InputTensor, RequestedOutput};
use super::*;
use crate::models::Models;
use crate::queue::{Queue, Room};
use crate::served::Served;
use crate::{Engine, Metrics, Output, Reference};

fn service(capacity: usize) -> Arc<Service> {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let make = || Ok(Box::new(Reference { classes: 2, sharp: 4.0 }) as Box<dyn Engine>);
    let queue =
        Queue::start(vec![make], Room { capacity, batch: 4, delay: Duration::ZERO }, &metrics).unwrap();
    let identity = Identity {
        metadata: crate::Metadata::parse(crate::metadata::tests::example().to_string().as_bytes()).unwrap(),
        digest: "d".repeat(64),
        revision: "light-1".into(),
        name: "light".into(),
        platform: "sluice_torchscript",
        infer_output: Output::Probabilities,
    };
    let limits = crate::http::Limits {
        body_bytes: 10_000,
        buffered_bytes: 1_000_000,
        pixels: 40_000,
        images: 4,
        decoders: 1,
        body_time: Duration::from_secs(5),
    };
    let models = Models::One(Arc::new(Served::new(identity, queue, None)));
    Arc::new(Service::new(models, limits, metrics))
}

/// An answer: its first metadata, and the message or the status.
struct Answer {
    headers: http::HeaderMap,
    message: Result<Vec<u8>, (String, String)>,
}

fn request(method: &str, body: Vec<u8>) -> http::Request<Body> {
    let request = http::Request::post(format!("/inference.GRPCInferenceService/{method}"));
    let request = request.version(Version::HTTP_2).header("content-type", "application/grpc");
    request.body(Body::from(body)).unwrap()
}

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
}

async fn ask(service: &Arc<Service>, request: http::Request<Body>) -> Answer {
    let response = service.routes().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap_or(&headers).clone();
    let text = |name: &str| trailers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let (code, told) = (text("grpc-status"), text("grpc-message"));
    let bytes = body.to_bytes();
    let message = if code == "0" {
        Ok(bytes[5..].to_vec())
    } else {
        Err((code, told.replace("%20", " ").replace("%22", "\"")))
    };
    Answer { headers, message }
}

async fn told<Q: Message, A: Message + Default>(method: &str, question: &Q) -> A {
    let answer = ask(&service(8), request(method, framed(question))).await;
    assert_eq!(answer.headers["x-sluice-evidence"], "none");
    A::decode(&*answer.message.unwrap()).unwrap()
}

/// Two images of 4x4 pixels, a bright one and a dark one, as numbers.
fn images() -> InferRequest {
    let numbers: Vec<u8> = [[1.0f32; 48], [0.0; 48]].concat().iter().flat_map(|n| n.to_le_bytes()).collect();
    InferRequest {
        model_name: "light".into(),
        id: "seven".into(),
        inputs: vec![InputTensor {
            name: "input".into(),
            datatype: "FP32".into(),
            shape: vec![2, 3, 4, 4],
            contents: None,
        }],
        raw_input_contents: vec![numbers.into()],
        ..InferRequest::default()
    }
}

#[tokio::test]
async fn what_is_served_is_told() {
    assert!(told::<_, ServerLive>("ServerLive", &Empty {}).await.live);
    assert!(told::<_, Ready>("ServerReady", &Empty {}).await.ready);
    assert_eq!(told::<_, ServerMetadata>("ServerMetadata", &Empty {}).await.name, "sluice");
    for version in ["", "1.0.0"] {
        let which = Which { name: "light".into(), version: version.into() };
        assert!(told::<_, Ready>("ModelReady", &which).await.ready);
        let model: ModelMetadata = told("ModelMetadata", &which).await;
        assert_eq!((&*model.name, model.versions), ("light", vec!["1.0.0".to_owned()]));
        assert_eq!((&*model.inputs[0].name, &model.inputs[0].shape), ("input", &vec![-1, 3, 4, 4]));
        assert_eq!((&*model.outputs[0].name, &model.outputs[0].shape), ("probabilities", &vec![-1, 2]));
    }
}

// rule: C3
#[tokio::test]
async fn tensors_are_answered_as_bytes_and_counted_by_the_router() {
    let typed = {
        let mut asked = images();
        asked.raw_input_contents.clear();
        asked.inputs[0].contents = Some(Contents { fp32: [[1.0; 48], [0.0; 48]].concat() });
        asked
    };
    for asked in [images(), typed] {
        let answer = ask(&service(8), request("ModelInfer", framed(&asked))).await;
        assert_eq!(answer.headers["x-prediction"], "dog,cat");
        assert_eq!(answer.headers["x-model-version"], "1.0.0");
        assert!(!answer.headers.contains_key("x-sluice-evidence"));
        let message = InferResponse::decode(&*answer.message.unwrap()).unwrap();
        assert_eq!((&*message.model_version, &*message.id), ("1.0.0", "seven"));
        assert_eq!(message.outputs[0].shape, [2, 2]);
        let (numbers, rest) = message.raw_output_contents[0].as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert!(rest.is_empty() && numbers.len() == 4 && numbers[1] > 0.9 && numbers[2] > 0.9, "{numbers:?}");
    }
}

#[rstest]
#[case(|r: &mut InferRequest| r.model_name = "other".into(), "5", "there is no model \"other\", known: \"light\"")]
#[case(|r: &mut InferRequest| r.model_version = "2.0.0".into(), "5", "there is no version \"2.0.0\", known: \"1.0.0\"")]
#[case(|r: &mut InferRequest| r.inputs.clear(), "3", "the request has 0 inputs, allowed: 1, \"input\"")]
#[case(|r: &mut InferRequest| r.inputs[0].name = "x".into(), "3", "the input is called \"x\", allowed: \"input\"")]
#[case(|r: &mut InferRequest| r.inputs[0].datatype = "INT8".into(), "3", "the input's datatype is \"INT8\", allowed: \"FP32\"")]
#[case(|r: &mut InferRequest| r.inputs[0].shape[0] = 5, "3", "the input's shape is [5, 3, 4, 4], allowed: [n, 3, 4, 4] with n in 1..=4")]
#[case(|r: &mut InferRequest| r.inputs[0].shape[0] = -1, "3", "the input's shape is [-1, 3, 4, 4]")]
#[case(|r: &mut InferRequest| r.inputs[0].shape[1] = 1 << 40, "3", "the input's shape is [2, 1099511627776, 4, 4]")]
#[case(|r: &mut InferRequest| r.inputs[0].shape = vec![i64::MIN; 1000], "3", "allowed: [n, 3, 4, 4] with n in 1..=4")]
#[case(|r: &mut InferRequest| r.inputs[0].shape[0] = 1, "3", "the input has 96 numbers, its shape says 48")]
#[case(|r: &mut InferRequest| r.inputs[0].contents = Some(Contents { fp32: vec![0.0] }), "3", "raw_input_contents and contents")]
#[case(|r: &mut InferRequest| r.raw_input_contents.clear(), "3", "the input has 0 numbers, its shape says 96")]
#[case(|r: &mut InferRequest| r.raw_input_contents.push(bytes::Bytes::new()), "3", "there are 2 raw_input_contents, allowed: 1")]
#[case(|r: &mut InferRequest| r.raw_input_contents[0].truncate(383), "3", "the input has 383 bytes, allowed: a multiple of 4")]
#[case(|r: &mut InferRequest| r.outputs = vec![RequestedOutput { name: "y".into() }], "3", "the output \"y\" is asked for")]
#[case(|r: &mut InferRequest| r.raw_input_contents[0] = [0, 0, 192, 127].repeat(96).into(), "3", "data[0] is NaN, allowed: finite numbers")]
#[tokio::test]
async fn what_is_wrong_is_named(
    #[case] change: fn(&mut InferRequest),
    #[case] code: &str,
    #[case] message: &str,
) {
    let mut asked = images();
    change(&mut asked);
    let (found, told) = ask(&service(8), request("ModelInfer", framed(&asked))).await.message.unwrap_err();
    assert!(found == code && told.contains(message), "{found} {told}");
}

#[tokio::test]
async fn a_full_queue_and_a_time_that_is_over_have_statuses_of_their_own() {
    let answer = ask(&service(1), request("ModelInfer", framed(&images()))).await;
    assert_eq!(answer.headers["grpc-retry-pushback-ms"], "1000");
    assert_eq!(answer.message.unwrap_err().0, "8");
    for (time, code) in [("0m", "4"), ("soon", "3")] {
        let mut late = request("ModelInfer", framed(&images()));
        late.headers_mut().insert(TIMEOUT, time.parse().unwrap());
        assert_eq!(ask(&service(8), late).await.message.unwrap_err().0, code, "{time}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let oversized = [&[0][..], &u32::MAX.to_be_bytes(), &[0; 100]].concat();
    for (body, code) in [
        (vec![0, 0, 0, 0, 2, 255, 255], "13"),
        (vec![0, 0, 0, 0, 9, 1], "13"),
        (oversized, "11"),
        (vec![1, 0, 0, 0, 1, 0], "13"),
        (vec![0; 2 << 20], "8"),
        (vec![], "3"),
    ] {
        let length = body.len();
        let (found, told) = ask(&service(8), request("ModelInfer", body)).await.message.unwrap_err();
        assert_eq!(found, code, "{length} bytes: {told}");
    }
    let answer = ask(&service(8), request("ModelStreamInfer", framed(&Empty {}))).await;
    assert_eq!(answer.message.unwrap_err(), ("12".into(), "there is no method \"ModelStreamInfer\"".into()));
}

#[tokio::test]
async fn other_protocols_are_told_so() {
    let mut old = request("ServerLive", framed(&Empty {}));
    *old.version_mut() = Version::HTTP_11;
    let mut json = request("ServerLive", b"{}".to_vec());
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    for (request, status) in [(old, 505), (json, 415)] {
        let response = service(8).routes().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        assert!(body.starts_with(b"{\"error\":"), "{body:?}");
    }
}

#[test]
fn times_are_read_as_grpc_spells_them() {
    for (text, expected) in [
        ("100m", Some(Duration::from_millis(100))),
        ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ("1S", Some(Duration::from_secs(1))),
        ("5u", Some(Duration::from_micros(5))),
        ("123456789m", None),
        ("m", None),
        ("", None),
        ("-1m", None),
        ("1s", None),
        ("1é", None),
    ] {
        assert_eq!(time(text), expected, "{text}");
    }
}

#[tokio::test]
async fn the_index_is_told_and_a_single_model_is_not_unloaded() {
    let service = service(4);
    let index = RepositoryIndexRequest { ready: true };
    let answer = ask(&service, request("RepositoryIndex", framed(&index))).await.message.unwrap();
    let RepositoryIndex { models } = RepositoryIndex::decode(&answer[..]).unwrap();
    let [model] = &models[..] else { panic!("{models:?}") };
    assert_eq!((&*model.name, &*model.state, &*model.reason), ("light", "READY", ""));
    for method in ["RepositoryModelLoad", "RepositoryModelUnload"] {
        let which = RepositoryModelRequest { model_name: "light".into() };
        let (code, told) = ask(&service, request(method, framed(&which))).await.message.unwrap_err();
        assert_eq!(code, (Code::PermissionDenied as i32).to_string());
        assert!(told.contains("one model"), "{told}");
    }
}
