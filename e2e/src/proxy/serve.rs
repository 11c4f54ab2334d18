//! Connections, and what becomes of a request.

use std::convert::Infallible;

use anyhow::{Result, anyhow};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use super::requests::Order;

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// Accepts connections; they all end with the handle.
pub(super) fn spawn(listener: TcpListener, shared: Shared) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let shared = shared.clone();
            let service = service_fn(move |request| answer(shared.clone(), request));
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            while connections.try_join_next().is_some() {}
        }
    }))
}

/// An error closes the connection without an answer.
async fn answer(shared: Shared, request: Request<Incoming>) -> Result<Answer> {
    let order = shared.requests().order(request.method(), request.uri());
    match order {
        Order::Forward(index) => forward(&shared, request, index).await,
        Order::ForwardAndLose(index) => {
            forward(&shared, request, Some(index)).await?;
            Err(anyhow!("the answer is lost"))
        }
        Order::Die => {
            shared.crash.notify_one();
            silence().await
        }
        Order::DieAfter(index) => {
            forward(&shared, request, index).await?;
            shared.crash.notify_one();
            silence().await
        }
        Order::Refuse(index, status) => {
            note(&shared, index, status);
            refusal(status)
        }
        Order::Gone => gone(),
        Order::Silence => silence().await,
    }
}

async fn silence() -> Result<Answer> {
    std::future::pending().await
}

async fn forward(shared: &Shared, request: Request<Incoming>, index: Option<usize>) -> Result<Answer> {
    let (mut head, body) = request.into_parts();
    // The client puts its own server and credentials in.
    head.uri = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default().parse()?;
    head.headers.remove(http::header::HOST);
    let body = Body::from(body.collect().await?.to_bytes());
    let answer = shared.client.send(Request::from_parts(head, body)).await?;
    if let Some(index) = index {
        note(shared, index, answer.status().as_u16());
    }
    Ok(answer.map(BodyExt::boxed_unsync))
}

fn note(shared: &Shared, index: usize, status: u16) {
    shared.requests().writes[index].status = Some(status);
}

fn refusal(status: u16) -> Result<Answer> {
    let reason = if status == 409 { "Conflict" } else { "InternalError" };
    say(status, &failure(status, reason))
}

fn gone() -> Result<Answer> {
    say(200, &json!({"type": "ERROR", "object": failure(410, "Expired")}))
}

fn failure(code: u16, reason: &str) -> serde_json::Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "a fault of the test", "reason": reason, "code": code,
    })
}

fn say(status: u16, value: &serde_json::Value) -> Result<Answer> {
    let body = Full::from(format!("{value}\n")).map_err(|never: Infallible| match never {});
    let answer = Response::builder().status(status).header(http::header::CONTENT_TYPE, "application/json");
    Ok(answer.body(body.boxed_unsync())?)
}
