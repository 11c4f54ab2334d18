//! Which models a server answers with: one, or those of a repository.

use std::sync::Arc;

use crate::repository::{Line, Repository, RepositoryError};
use crate::served::Served;

/// The models of a server.
#[derive(Debug)]
pub enum Models {
    /// One, from start to end: what a revision serves.
    One(Arc<Served>),
    /// Those of a folder.
    Many {
        /// The folder.
        repository: Arc<Repository>,
        /// The model of paths that name none, such as `/predict`.
        unnamed: Option<String>,
        /// Whether clients may load and unload models.
        control: bool,
    },
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelsError {
    /// The server has one model, of another name or version.
    #[error("there is no {what} {found:?}, known: {known:?}")]
    Other {
        /// Model or version.
        what: &'static str,
        /// What was asked for.
        found: String,
        /// What there is.
        known: String,
    },
    /// The path has to name one.
    #[error("this server has several models: name one, as in /v2/models/{{name}}/predict")]
    Unnamed,
    /// Of a repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl Models {
    /// The model of paths that name none.
    ///
    /// # Errors
    /// If there are several, or it does not load.
    pub async fn unnamed(&self) -> Result<Arc<Served>, ModelsError> {
        match self {
            Self::One(served) => Ok(served.clone()),
            Self::Many { repository, unnamed, .. } => {
                let name = unnamed.as_deref().ok_or(ModelsError::Unnamed)?;
                Ok(repository.find(name, None).await?)
            }
        }
    }

    /// The model of this name, and of this version if one is named.
    ///
    /// # Errors
    /// If there is none, or it does not load.
    pub async fn named(&self, name: &str, version: Option<&str>) -> Result<Arc<Served>, ModelsError> {
        match self {
            Self::One(served) => expect(served, name, version).map(|()| served.clone()),
            Self::Many { repository, .. } => Ok(repository.find(name, version).await?),
        }
    }

    /// Whether one may ask for it: a model that is not loaded will be. Loads nothing.
    ///
    /// # Errors
    /// If there is none, or it did not load.
    pub fn check(&self, name: &str, version: Option<&str>) -> Result<(), ModelsError> {
        match self {
            Self::One(served) => expect(served, name, version),
            Self::Many { repository, .. } => Ok(repository.check(name, version)?),
        }
    }

    /// What there is, and in which state.
    #[must_use]
    pub fn index(&self) -> Vec<Line> {
        match self {
            Self::One(served) => {
                let identity = served.identity();
                let (name, version) = (identity.name.clone(), identity.metadata.version.clone());
                vec![Line { name, version, state: "READY", reason: String::new() }]
            }
            Self::Many { repository, .. } => repository.index(),
        }
    }

    /// The only model, if it is the only one for all time.
    pub(crate) fn only(&self) -> Option<&Arc<Served>> {
        match self {
            Self::One(served) => Some(served),
            Self::Many { .. } => None,
        }
    }
}

/// Refuses other models than the only one.
fn expect(served: &Served, name: &str, version: Option<&str>) -> Result<(), ModelsError> {
    let other = |what, found: &str, known: &str| {
        let found = found.chars().take(60).collect();
        Err(ModelsError::Other { what, found, known: known.to_owned() })
    };
    let identity = served.identity();
    if name != identity.name {
        return other("model", name, &identity.name);
    }
    match version {
        Some(version) if version != identity.metadata.version => {
            other("version", version, &identity.metadata.version)
        }
        _ => Ok(()),
    }
}
