//! Triton's extension for repositories of models: `/v2/repository/…`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json};
use axum::routing::post;

use super::paths::Named;
use super::{NO_PREDICTION, Problem, Service};
use crate::models::{Models, ModelsError};
use crate::repository::{Line, Repository};

/// Largest body of these requests, in bytes; none of it but `ready` is looked at.
const BODY: usize = 64 << 10;

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{name}/load", post(load))
        .route("/v2/repository/models/{name}/unload", post(unload))
}

#[derive(Debug, Default, serde::Deserialize)]
struct Filter {
    #[serde(default)]
    ready: bool,
}

async fn index(State(service): State<Arc<Service>>, request: Request) -> Result<impl IntoResponse, Problem> {
    let body = axum::body::to_bytes(request.into_body(), BODY).await;
    let body =
        body.map_err(|_| Problem::bad(format!("the body broke off, or has more than {BODY} bytes")))?;
    let Filter { ready } =
        if body.is_empty() { Filter::default() } else { super::text::object(&body).map_err(Problem::bad)? };
    Ok(([NO_PREDICTION], Json(service.index(ready))))
}

async fn load(State(service): State<Arc<Service>>, named: Named) -> Result<impl IntoResponse, Problem> {
    service.load(named.name()).await?;
    Ok(([NO_PREDICTION], Json(serde_json::json!({}))))
}

async fn unload(State(service): State<Arc<Service>>, named: Named) -> Result<impl IntoResponse, Problem> {
    service.unload(named.name())?;
    Ok(([NO_PREDICTION], Json(serde_json::json!({}))))
}

impl Service {
    /// What there is; those that are loaded alone, if `ready`.
    pub(super) fn index(&self, ready: bool) -> Vec<Line> {
        self.models.index().into_iter().filter(|line| !ready || line.state == "READY").collect()
    }

    /// Loads a model that is there, also one that has just come.
    pub(super) async fn load(&self, name: &str) -> Result<(), Problem> {
        let repository = self.controlled()?;
        repository.refresh().await.map_err(|error| {
            tracing::error!(%error, "the models cannot be listed");
            let message = "the models cannot be listed; the server's log says why";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        repository.find(name, None).await.map_err(ModelsError::from)?;
        Ok(())
    }

    pub(super) fn unload(&self, name: &str) -> Result<(), Problem> {
        Ok(self.controlled()?.unload(name).map_err(ModelsError::from)?)
    }

    /// The repository, if clients may say what is loaded.
    fn controlled(&self) -> Result<&Arc<Repository>, Problem> {
        match &self.models {
            Models::Many { repository, control: true, .. } => Ok(repository),
            Models::Many { .. } => {
                let message = "models are not loaded and unloaded by clients (--repository-control)";
                Err(Problem::new(StatusCode::FORBIDDEN, message))
            }
            Models::One(_) => {
                let message = "this server has one model, which is never unloaded (--repository)";
                Err(Problem::new(StatusCode::FORBIDDEN, message))
            }
        }
    }
}
