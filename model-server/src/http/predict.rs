//! `POST /predict` and `POST /predict-file`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use serde::Serialize;

use super::asking::{Asking, listed, predicted};
use super::body::expect_type;
use super::form::{self, Form};
use super::paths::Named;
use super::text::not_json;
use super::{Problem, Service};
use super::{ask, base64};
use crate::decode::{self, Header};
use crate::served::{Identity, Said, Served};
use crate::{Answer, Metadata, Preprocessing, predictions, stats};

/// Classes that are listed when a request does not say how many.
const DEFAULT_TOP_K: usize = 3;
/// Images up to this many pixels are decoded in place: handing them to another thread costs more.
const SMALL_PIXELS: u64 = 64 << 10;
const INPUT_STATS: HeaderName = HeaderName::from_static(wire::header::INPUT_STATS);

/// What is answered for one image.
#[derive(Debug, Serialize)]
struct Prediction<'a> {
    prediction: Option<&'a str>,
    confidence: Option<f64>,
    probabilities: Vec<ClassProbability<'a>>,
}

#[derive(Debug, Serialize)]
struct ClassProbability<'a> {
    class: &'a str,
    /// `null` for a number that is none.
    probability: f64,
}

/// The answer to a request: one prediction, or as many as images were in the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Predictions<'a> {
    One(Prediction<'a>),
    Many { predictions: Vec<Prediction<'a>> },
}

#[derive(Debug, Serialize)]
struct Answered<'a> {
    #[serde(flatten)]
    predictions: Predictions<'a>,
    version: &'a str,
    revision: &'a str,
}

/// Images of a request that is well formed.
struct Images {
    bytes: Vec<Bytes>,
    /// How many classes to list.
    top_k: Option<usize>,
    /// Whether the answer is a list.
    list: bool,
}

/// An image made ready for the model.
struct Input {
    numbers: Vec<f32>,
    stats: [f64; 3],
}

pub(super) async fn json(
    State(service): State<Arc<Service>>,
    named: Named,
    request: Request,
) -> Result<Response, Problem> {
    expect_type(&request, "application/json")?;
    let served = service.find(&named).await?;
    let asking = Asking::of(request.headers())?;
    let body = service.read(request.into_body(), service.limits.body_bytes).await?;
    let ask = ask::read(&body.bytes, service.limits.images).map_err(|e| Problem::bad(not_json(&e)))?;
    let (images, list) = match (ask.image, ask.images) {
        (Some(image), None) => (vec![image], false),
        (None, Some(images)) => {
            service.check_count(images.count)?;
            (images.first, true)
        }
        (Some(_), Some(_)) => {
            return Err(Problem::bad("image and images are both there, allowed: one of them"));
        }
        (None, None) => {
            return Err(Problem::bad("image is missing: {\"image\": base64} or {\"images\": [base64, ...]}"));
        }
    };
    let read = |(i, text)| base64::decode(text).map_err(|e| Problem::bad(e).of(list.then_some(i)));
    let bytes = images.into_iter().enumerate().map(read);
    let bytes = bytes.collect::<Result<_, _>>()?;
    service.answer(&served, Images { bytes, top_k: ask.top_k, list }, asking).await
}

pub(super) async fn files(
    State(service): State<Arc<Service>>,
    named: Named,
    request: Request,
) -> Result<Response, Problem> {
    expect_type(&request, "multipart/form-data")?;
    let served = service.find(&named).await?;
    let asking = Asking::of(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = service.read(body, service.limits.body_bytes).await?;
    let form = form::read(parts.headers.get(CONTENT_TYPE), body.bytes.clone(), service.limits.images).await;
    let Form { files, count, top_k } = form.map_err(Problem::bad)?;
    service.check_count(count)?;
    service.answer(&served, Images { list: count > 1, bytes: files, top_k }, asking).await
}

impl Service {
    fn check_count(&self, images: usize) -> Result<(), Problem> {
        let max = self.limits.images;
        if (1..=max).contains(&images) {
            return Ok(());
        }
        Err(Problem::bad(format!("the request has {images} images, allowed: 1..={max}")))
    }

    async fn answer(&self, served: &Served, images: Images, asking: Asking) -> Result<Response, Problem> {
        let Images { bytes, top_k, list } = images;
        let Identity { metadata, revision, .. } = served.identity();
        let top_k = check_top_k(top_k, metadata.classes.len())?;
        let hashes = self.hashes(bytes.iter().map(|bytes| predictions::hash(bytes)));
        let inputs = self.prepare(&metadata.preprocessing, bytes, list).await?;
        let count = inputs.len();
        let mut numbers = Vec::with_capacity(count * metadata.preprocessing.input_len());
        for input in &inputs {
            numbers.extend_from_slice(&input.numbers);
        }
        let Said { answers, .. } = self.ask(served, &asking, numbers, count, &hashes).await?;
        let mut headers = predicted(served, &answers);
        headers.insert(INPUT_STATS, stats_of(&inputs));
        let mut predictions: Vec<Prediction<'_>> =
            answers.iter().map(|a| prediction(metadata, a, top_k)).collect();
        let predictions = match predictions.pop() {
            Some(only) if !list => Predictions::One(only),
            last => Predictions::Many { predictions: predictions.into_iter().chain(last).collect() },
        };
        let version = &metadata.version;
        Ok((headers, Json(Answered { predictions, version, revision })).into_response())
    }

    /// Decodes, resizes and normalises the images: small ones here, others on one of few threads.
    async fn prepare(
        &self,
        contract: &Preprocessing,
        bytes: Vec<Bytes>,
        list: bool,
    ) -> Result<Vec<Input>, Problem> {
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
            return inputs(&bytes, contract, max, list);
        }
        let contract = contract.clone();
        let Ok(permit) = self.decoders.clone().try_acquire_owned() else {
            self.metrics.refused.with_label_values(&["decoders"]).inc();
            return Err(Problem::busy("too many large images at a time"));
        };
        let decoded = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            inputs(&bytes, &contract, max, list)
        });
        decoded.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the decoding task is gone");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "decoding failed; the server's log says why"))
        })
    }
}

fn check_top_k(asked: Option<usize>, classes: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(DEFAULT_TOP_K.min(classes)),
        Some(k) if (1..=classes).contains(&k) => Ok(k),
        Some(k) => Err(Problem::bad(format!("top_k is {k}, allowed: 1..={classes}"))),
    }
}

fn prediction<'a>(metadata: &'a Metadata, answer: &Answer, top_k: usize) -> Prediction<'a> {
    let class = |i: usize| metadata.classes[i].as_str();
    let top = answer.top(top_k).into_iter();
    Prediction {
        prediction: answer.best.map(|(i, _)| class(i)),
        confidence: answer.best.map(|(_, confidence)| confidence),
        probabilities: top
            .map(|(i, probability)| ClassProbability { class: class(i), probability })
            .collect(),
    }
}

/// What the router counts of the images.
fn stats_of(inputs: &[Input]) -> HeaderValue {
    listed(&inputs.iter().map(|input| wire::header::encode_stats(&input.stats)).collect::<Vec<_>>())
}

fn inputs(
    images: &[Bytes],
    contract: &Preprocessing,
    max_pixels: u64,
    list: bool,
) -> Result<Vec<Input>, Problem> {
    let input = |bytes: &Bytes| -> Result<Input, Problem> {
        let image = decode::header(bytes, max_pixels).and_then(|header: Header<'_>| header.decode())?;
        let unusable =
            |e: crate::PreprocessError| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, e.to_string());
        let resized = contract.resize(image).map_err(unusable)?;
        Ok(Input { numbers: contract.normalise(&resized), stats: stats::of_image(&resized) })
    };
    let guarded = |(i, bytes)| guarded(|| input(bytes)).map_err(|p: Problem| p.of(list.then_some(i)));
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
