//! A model server that is plainly broken, as an image of the node tests: Kubernetes takes it for ready, and no request gets
//! what it asked for. With `BROKEN=refuses` it does not even listen for requests, otherwise it answers each with 500.

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wire::endpoint::{ADMIN_PORT, SERVER_PORT};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // The first process of a container is not ended by a signal that it does not handle.
    let mut ended = signal(SignalKind::terminate())?;
    let probes = Router::new().route("/livez", get("alive")).route("/readyz", get("ready"));
    serve(ADMIN_PORT, probes).await?;
    if std::env::var("BROKEN").as_deref() != Ok("refuses") {
        let broken = (StatusCode::INTERNAL_SERVER_ERROR, "the model is not what it should be");
        serve(SERVER_PORT, Router::new().fallback(async move || broken)).await?;
    }
    ended.recv().await;
    Ok(())
}

async fn serve(port: u16, routes: Router) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}
