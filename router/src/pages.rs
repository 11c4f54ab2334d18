//! The router's own pages on the admin port.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use wire::endpoint::{DISAGREEMENTS, EVIDENCE, ROUTE};

use crate::{Board, Ledger};

/// `/evidence`, `/disagreements` and `/route`.
pub fn pages(board: Arc<Board>, ledger: Arc<Ledger>) -> axum::Router {
    axum::Router::new()
        .route(EVIDENCE, get(evidence).with_state(ledger.clone()))
        .route(DISAGREEMENTS, get(disagreements).with_state(ledger))
        .route(ROUTE, get(route).with_state(board))
}

async fn evidence(State(ledger): State<Arc<Ledger>>) -> Response {
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], ledger.page().render()).into_response()
}

async fn disagreements(State(ledger): State<Arc<Ledger>>) -> Response {
    Json(ledger.disagreements().report()).into_response()
}

async fn route(State(board): State<Arc<Board>>) -> Response {
    match board.report() {
        Some(report) => Json(report).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no route table has been read yet\n").into_response(),
    }
}
