//! A model that was loaded, and what it says of inputs.

use axum::http::HeaderValue;
use wire::Profile;

use crate::queue::{Order, Priority, Queue, QueueError};
use crate::{Answer, Metadata, Output};

/// What is served.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its description.
    pub metadata: Metadata,
    /// Digest of the artefact (I5).
    pub digest: String,
    /// Name of the revision.
    pub revision: String,
    /// Name of the model under `/v2`.
    pub name: String,
    /// What runs it, as `/v2` calls it.
    pub platform: &'static str,
    /// What `/v2` answers with.
    pub infer_output: Output,
}

/// A loaded model. Its memory is free once the last request that holds it is answered.
#[derive(Debug)]
pub struct Served {
    identity: Identity,
    queue: Queue,
    profile: Option<Profile>,
    version_header: HeaderValue,
}

/// What the model said.
#[derive(Debug)]
pub(crate) struct Said {
    /// As it said it.
    pub(crate) outputs: Vec<f32>,
    /// What that means, of each image.
    pub(crate) answers: Vec<Answer>,
}

impl Served {
    /// A model behind its queue.
    #[must_use]
    pub fn new(identity: Identity, queue: Queue, profile: Option<Profile>) -> Self {
        let version = &identity.metadata.version;
        let version_header = HeaderValue::from_str(version).expect("a semantic version is visible ASCII");
        Self { identity, queue, profile, version_header }
    }

    /// What it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its reference profile, with the digest of what was loaded.
    #[must_use]
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.identity.metadata
    }

    pub(crate) fn version_header(&self) -> &HeaderValue {
        &self.version_header
    }

    /// # Errors
    /// If there is no room for an image now.
    pub(crate) fn admit(&self, priority: Priority) -> Result<(), QueueError> {
        self.queue.admit(priority)
    }

    /// # Errors
    /// If there is no room, no time, or the model fails.
    pub(crate) async fn ask(&self, order: Order) -> Result<Said, QueueError> {
        let outputs = self.queue.run(order).await?;
        let Metadata { classes, output, .. } = self.metadata();
        let answers = outputs.chunks(classes.len()).map(|o| Answer::from_outputs(o, *output)).collect();
        Ok(Said { outputs, answers })
    }
}
