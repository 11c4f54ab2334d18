//! Which model a path names.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::{Problem, Service};
use crate::models::ModelsError;
use crate::repository::RepositoryError;
use crate::served::Served;

/// The model, and its version, that a path names: `…/models/{name}[/versions/{version}]…`; nothing for `/predict`.
#[derive(Debug, Default)]
pub(super) struct Named {
    name: Option<String>,
    version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let Ok(Path(mut path)) = path else { return Ok(Self::unknown()) };
        Ok(Self { name: path.remove("name"), version: path.remove("version") })
    }
}

impl Named {
    /// The name, empty if the path has none.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What a path holds that is no text: the name of no model.
    fn unknown() -> Self {
        Self { name: Some(String::new()), version: None }
    }
}

impl Service {
    /// The model that a path names, loaded if need be.
    pub(super) async fn find(&self, named: &Named) -> Result<Arc<Served>, Problem> {
        let found = match &named.name {
            Some(name) => self.models.named(name, named.version.as_deref()).await,
            None => self.models.unnamed().await,
        };
        Ok(found?)
    }
}

impl From<ModelsError> for Problem {
    fn from(error: ModelsError) -> Self {
        let status = match &error {
            ModelsError::Repository(RepositoryError::Broken(_)) => StatusCode::SERVICE_UNAVAILABLE,
            ModelsError::Repository(_) | ModelsError::Other { .. } | ModelsError::Unnamed => {
                StatusCode::NOT_FOUND
            }
        };
        Self::new(status, error.to_string())
    }
}
