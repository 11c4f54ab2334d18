//! From the bytes of images to what a model is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use axum::http::StatusCode;
use bytes::Bytes;
use image::RgbImage;
use wire::Feature;

use super::{Problem, Service};
use crate::decode::{self, Header};
use crate::{Metrics, PreprocessError, Preprocessing, stats};

/// Images up to this many pixels are decoded in place: handing them to another thread costs more.
const SMALL_PIXELS: u64 = 64 << 10;

/// An image made ready for the model.
pub(super) struct Input {
    pub(super) numbers: Vec<f32>,
    pub(super) stats: [(Feature, f64); 5],
}

impl Input {
    /// Of an image in the size of the model's input, that had so many pixels when it came.
    pub(super) fn of(contract: &Preprocessing, image: &RgbImage, pixels: u64) -> Self {
        Self { numbers: contract.normalise(image), stats: stats::of_image(image, pixels) }
    }
}

impl Service {
    /// Decodes and resizes images, and makes something of each: small ones here, others on one of few threads.
    pub(super) async fn decode<T: Send + 'static>(
        &self,
        contract: &Preprocessing,
        bytes: Vec<Bytes>,
        list: bool,
        finish: fn(&Preprocessing, &RgbImage, u64) -> T,
    ) -> Result<Vec<T>, Problem> {
        let max = self.limits.pixels;
        let mut total = 0;
        for (i, bytes) in bytes.iter().enumerate() {
            let pixels =
                decode::header(bytes, max).map_err(|e| Problem::from(e).of(list.then_some(i)))?.pixels;
            total += pixels;
        }
        if total > max {
            let message = format!("the images have {total} pixels together, allowed: {max}");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        if total <= SMALL_PIXELS {
            return each(&bytes, contract, &self.metrics, max, list, finish);
        }
        let (contract, metrics) = (contract.clone(), self.metrics.clone());
        let Ok(permit) = self.decoders.clone().try_acquire_owned() else {
            self.metrics.refused.with_label_values(&["decoders"]).inc();
            return Err(Problem::busy("too many large images at a time"));
        };
        let decoded = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            each(&bytes, &contract, &metrics, max, list, finish)
        });
        decoded.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the decoding task is gone");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "decoding failed; the server's log says why"))
        })
    }
}

fn each<T>(
    images: &[Bytes],
    contract: &Preprocessing,
    metrics: &Metrics,
    max_pixels: u64,
    list: bool,
    finish: fn(&Preprocessing, &RgbImage, u64) -> T,
) -> Result<Vec<T>, Problem> {
    let one = |bytes: &Bytes| -> Result<T, Problem> {
        let start = Instant::now();
        let image = decode::header(bytes, max_pixels).and_then(|header: Header<'_>| header.decode())?;
        let decoded = Instant::now();
        metrics.decode_seconds.observe((decoded - start).as_secs_f64());
        let unusable = |e: PreprocessError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, e.to_string());
        let pixels = u64::from(image.width()) * u64::from(image.height());
        let finished = finish(contract, &contract.resize(image).map_err(unusable)?, pixels);
        metrics.preprocess_seconds.observe(decoded.elapsed().as_secs_f64());
        Ok(finished)
    };
    let guarded = |(i, bytes)| guarded(|| one(bytes)).map_err(|p: Problem| p.of(list.then_some(i)));
    images.iter().enumerate().map(guarded).collect()
}

/// What works on a stranger's image may give up, but not cut the connection and leave no answer.
fn guarded<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "the image cannot be processed; the server's log says why";
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_is_an_answer() {
        let problem = guarded::<()>(|| panic!("a resizer's invariant")).unwrap_err();
        assert_eq!(problem.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(guarded(|| Ok(7)), Ok(7));
    }
}
