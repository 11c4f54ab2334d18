//! HTTP/2 without TLS, and gRPC on it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::RouteMirror;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use wire::{Assignment, Outcome, PairOutcome};

use crate::rig::{Rig, ready, route, until};
use crate::servers::{Server, ok};

/// What a model server was asked: headers and body.
pub(crate) type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A server by HTTP/2 that answers each request with this class and status.
pub(crate) async fn grpc_server(class: &'static str, status: &'static str) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let log = log.clone();
                async move {
                    assert_eq!(request.version(), Version::HTTP_2);
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    log.lock().unwrap().push((parts.headers, body.clone()));
                    let trailers =
                        HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
                    let frames = [Ok::<_, Infallible>(Frame::data(body)), Ok(Frame::trailers(trailers))];
                    let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
                    let headers = response.headers_mut();
                    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
                    headers.insert("x-prediction", HeaderValue::from_static(class));
                    headers.insert("x-confidence", HeaderValue::from_static("0.9"));
                    Ok::<_, Infallible>(response)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, seen)
}

pub(crate) struct Client(SendRequest<Full<Bytes>>);

/// Status, headers, body, trailers.
pub(crate) struct Answer(pub(crate) u16, pub(crate) HeaderMap, pub(crate) Bytes, pub(crate) HeaderMap);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn ask(&mut self, media: &str) -> hyper::Result<Answer> {
        self.ask_with(media, &[]).await
    }

    pub(crate) async fn ask_with(&mut self, media: &str, more: &[(&str, &str)]) -> hyper::Result<Answer> {
        self.0.ready().await?;
        let mut request = Request::post("http://digits.prod/inference.GRPCInferenceService/ModelInfer")
            .header("content-type", media)
            .header("te", "trailers");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from("\0\0\0\0\u{3}abc")).unwrap();
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer(parts.status.as_u16(), parts.headers, body.to_bytes(), trailers))
    }
}

/// A server by HTTP/2 that never answers.
pub(crate) async fn stalling_grpc_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_: Request<Incoming>| {
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

pub(crate) const GRPC: &str = "application/grpc";

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_through_and_is_evidence() {
    let (a, seen) = grpc_server("seven", "0").await;
    let rig = Rig::start(route(0), ready(&[a]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    for _ in 0..3 {
        let Answer(status, headers, body, trailers) = client.ask(GRPC).await.unwrap();
        assert_eq!((status, &body[..]), (200, &b"\0\0\0\0\x03abc"[..]));
        assert_eq!(
            (&headers["x-sluice-revision"], &trailers["grpc-status"]),
            (&"a".parse().unwrap(), &"0".parse().unwrap())
        );
    }
    let (headers, body) = seen.lock().unwrap()[0].clone();
    assert_eq!((&headers["te"], &body[..]), (&"trailers".parse().unwrap(), &b"\0\0\0\0\x03abc"[..]));
    assert!(headers.contains_key("x-request-id") && !headers.contains_key("connection"));
    until("all are counted", || rig.outcome("a") == Some((Outcome::Ok, 3))).await;
    let counts = rig.counts("a", Assignment::Split);
    assert_eq!((counts.classes["seven"], counts.doubt.iter().sum::<u64>()), (3, 3));
}

// rule: C2
#[tokio::test(flavor = "multi_thread")]
async fn the_status_behind_an_answer_is_what_counts() {
    for (status, outcome) in [("13", Outcome::Error), ("14", Outcome::Overload), ("3", Outcome::Rejected)] {
        let (a, _) = grpc_server("seven", status).await;
        let rig = Rig::start(route(0), ready(&[a]), vec![]).await;
        let Answer(_, _, _, trailers) = Client::connect(rig.address).await.ask(GRPC).await.unwrap();
        assert_eq!(trailers["grpc-status"], status);
        until("it is counted", || rig.outcome("a") == Some((outcome, 1))).await;
        assert!(rig.counts("a", Assignment::Split).classes.is_empty(), "no good answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_router_refuses_is_said_in_grpc() {
    let rig = Rig::start(route(0), vec![], vec![]).await;
    let mut client = Client::connect(rig.address).await;
    let Answer(status, headers, _, _) = client.ask(GRPC).await.unwrap();
    assert_eq!((status, &headers["grpc-status"]), (200, &"14".parse().unwrap()));
    assert_eq!(headers["grpc-message"], "no model server is ready to answer");
    let Answer(status, headers, ..) = client.ask("application/json").await.unwrap();
    assert_eq!((status, &headers["content-type"]), (503, &"application/json".parse().unwrap()));
}

// rule: R5
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_without_pods_falls_back_in_grpc_too() {
    let (a, _) = grpc_server("seven", "0").await;
    let gone = crate::servers::refusing().await;
    let rig = Rig::start(route(10_000), ready(&[a]), ready(&[gone])).await;
    let Answer(_, headers, _, trailers) = Client::connect(rig.address).await.ask(GRPC).await.unwrap();
    assert_eq!(
        (&headers["x-sluice-revision"], &trailers["grpc-status"]),
        (&"a".parse().unwrap(), &"0".parse().unwrap())
    );
    until("it is counted", || rig.outcome("b") == Some((Outcome::Fallback, 1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_by_http2_go_to_servers_by_http1() {
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[a.address]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    let Answer(status, _, body, _) = client.ask("application/json").await.unwrap();
    assert_eq!((status, &body[..]), (200, &b"seven"[..]));
    let head = &a.seen()[0];
    assert_eq!((head.header("host"), head.header("te")), (Some("digits.prod"), None));
}

// rule: C1
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_grpc_are_compared() {
    let ((a, _), (b, copies)) = (grpc_server("seven", "0").await, grpc_server("one", "0").await);
    let mut route = route(0);
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    let rig = Rig::start(route, ready(&[a]), ready(&[b])).await;
    let mut client = Client::connect(rig.address).await;
    client.ask(GRPC).await.unwrap();
    until("it is compared", || rig.paired(PairOutcome::Disagree) == 1).await;
    assert_eq!(copies.lock().unwrap()[0].0["x-sluice-shadow"], "1");
}

// rule: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_clients_to_go_and_loses_none() {
    let (a, _) = grpc_server("seven", "0").await;
    let mut rig = Rig::start(route(0), ready(&[a]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    client.ask(GRPC).await.unwrap();
    drop(rig.stop.take());
    let told = async {
        while client.0.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), told).await.expect("the client is told");
    // Whoever comes nevertheless is served.
    let Answer(_, _, _, trailers) = Client::connect(rig.address).await.ask(GRPC).await.unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}
