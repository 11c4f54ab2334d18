//! The Open Inference Protocol, whichever way it is spoken: what a model takes and gives, and asking it.

use std::sync::atomic::Ordering;

use axum::http::{HeaderMap, StatusCode};

use super::asking::{Asking, predicted};
use super::tensors::Signature;
use super::{Problem, Service};
use crate::served::{Identity, Said, Served};
use crate::{Output, predictions};

/// Name and version of the server.
pub(super) const SERVER: (&str, &str) = ("sluice", env!("CARGO_PKG_VERSION"));
/// The name of every model's input.
pub(super) const INPUT: &str = "input";
/// What a number of an input needs at most as JSON, in bytes.
const NUMBER: usize = 16;

/// Of an input's bytes, as they are sent.
fn hash_of(input: &[f32]) -> u64 {
    predictions::hash(&input.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

impl Service {
    /// Numbers of `/v2`, and the headers that routers count.
    ///
    /// # Errors
    /// If there is no room, no time, or the model fails.
    pub(super) async fn infer(
        &self,
        served: &Served,
        asking: &Asking,
        inputs: Vec<f32>,
        images: usize,
    ) -> Result<(Vec<f32>, HeaderMap), Problem> {
        let hashes = self.hashes(inputs.chunks(inputs.len() / images).map(hash_of));
        let Said { outputs, answers } = self.ask(served, asking, inputs, images, &hashes).await?;
        let numbers: Vec<f32> = match served.identity().infer_output {
            Output::Logits => outputs,
            Output::Probabilities => {
                answers.iter().flat_map(|answer| answer.probabilities.iter().map(|p| *p as f32)).collect()
            }
        };
        if !numbers.iter().all(|number| number.is_finite()) {
            // The protocol has no word for it, and JSON none either.
            let message = "the model gave a number that is none";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        }
        Ok((numbers, predicted(served, &answers)))
    }

    /// Extensions of the protocol.
    pub(super) fn extensions(&self) -> Vec<&'static str> {
        match self.models.only() {
            Some(_) => vec!["binary_tensor_data"],
            None => vec!["binary_tensor_data", "model_repository"],
        }
    }

    /// Versions of a model that one may ask for.
    pub(super) fn versions(&self, served: &Served) -> Vec<String> {
        let Identity { name, metadata, .. } = served.identity();
        let lines = self.models.index().into_iter().filter(|line| line.name == *name);
        let versions: Vec<String> = lines.map(|line| line.version).collect();
        // Its folder may be gone by now.
        if versions.is_empty() { vec![metadata.version.clone()] } else { versions }
    }

    /// Whether it takes requests, and the status that says so.
    pub(super) fn readiness(&self) -> (StatusCode, bool) {
        if self.activity.draining.load(Ordering::Relaxed) {
            (StatusCode::SERVICE_UNAVAILABLE, false)
        } else {
            (StatusCode::OK, true)
        }
    }

    pub(super) fn signature(&self, served: &Served) -> Signature<'static> {
        Signature {
            input: INPUT,
            output: match served.identity().infer_output {
                Output::Logits => "logits",
                Output::Probabilities => "probabilities",
            },
            shape: served.metadata().preprocessing.shape(),
            images: self.limits.images,
        }
    }

    /// Largest message of gRPC, of which the model is not known before it is read.
    pub(super) fn message_bytes(&self) -> usize {
        self.models.only().map_or(self.limits.buffered_bytes, |served| self.tensor_bytes(served))
    }

    /// Largest body of tensors: room for as many images as a request may have, within the memory for bodies.
    pub(super) fn tensor_bytes(&self, served: &Served) -> usize {
        let Signature { shape, images, .. } = self.signature(served);
        let numbers = images * shape.iter().product::<usize>();
        let wanted = numbers.saturating_mul(NUMBER).saturating_add(64 << 10);
        wanted.max(self.limits.body_bytes).min(self.limits.buffered_bytes)
    }
}
