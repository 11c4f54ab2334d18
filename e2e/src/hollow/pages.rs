//! The admin port of a pod.

use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wire::endpoint::{EVIDENCE, PROFILE, ROUTE};

use super::router::RouterPage;
use super::{Shared, traffic};

/// Whose pages they are.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) is_router: bool,
    pub(super) revision: String,
    pub(super) ordinal: usize,
}

type Pod = (Server, Shared);

/// Serves the pages until the task is aborted.
pub(super) fn serve(listener: TcpListener, server: Server, shared: Shared) -> JoinHandle<()> {
    let pages = if server.is_router {
        Router::new().route(ROUTE, get(route)).route(EVIDENCE, get(evidence))
    } else {
        Router::new().route(PROFILE, get(profile))
    };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, pages.with_state((server, shared))).await {
            tracing::warn!(%error, "a hollow pod's pages");
        }
    })
}

async fn route(State((server, shared)): State<Pod>) -> Response {
    if answers(&server, &shared) {
        let report = {
            let mut seen = shared.seen();
            let now = Instant::now();
            seen.note(&server.name, now);
            seen.advance(now, &shared.script());
            seen.routers.get(&server.name).and_then(RouterPage::report)
        };
        return report.map_or_else(no_table, |report| Json(report).into_response());
    }
    std::future::pending().await
}

async fn evidence(State((server, shared)): State<Pod>) -> Response {
    if answers(&server, &shared) {
        let page = {
            let mut seen = shared.seen();
            let now = Instant::now();
            seen.note(&server.name, now);
            seen.pages.push(now);
            seen.advance(now, &shared.script());
            seen.routers.get(&server.name).map(RouterPage::render)
        };
        return page.map_or_else(no_table, IntoResponse::into_response);
    }
    std::future::pending().await
}

async fn profile(State((server, shared)): State<Pod>) -> Response {
    let known = {
        let mut seen = shared.seen();
        seen.note(&server.name, Instant::now());
        seen.models.get(&server.revision).cloned()
    };
    let Some((version, asked)) = known else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no model yet\n").into_response();
    };
    let model = shared.script().model(&version);
    let scripted = model.digests.get(server.ordinal.min(model.digests.len().saturating_sub(1))).cloned();
    let digest = scripted.or(asked).unwrap_or_else(|| digest(&version));
    let mut random = StdRng::seed_from_u64(1);
    Json(traffic::profile(&version, digest, &model, &mut random)).into_response()
}

fn answers(server: &Server, shared: &Shared) -> bool {
    !shared.script().routers.silent.contains(&server.ordinal)
}

fn no_table() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "no route table yet\n").into_response()
}

fn digest(version: &str) -> String {
    Sha256::digest(version.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
