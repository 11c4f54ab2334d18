//! `POST /predict` and `POST /predict-file`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use serde::Serialize;
use wire::Automation;

use super::asking::{Asking, listed, predicted};
use super::body::expect_type;
use super::form::{self, Form};
use super::images::Input;
use super::paths::Named;
use super::text::not_json;
use super::{Problem, Service};
use super::{ask, base64};
use crate::review::ItemId;
use crate::served::{Identity, Said, Served};
use crate::{Answer, Metadata, predictions};

/// Classes that are listed when a request does not say how many.
const DEFAULT_TOP_K: usize = 3;
const INPUT_STATS: HeaderName = HeaderName::from_static(wire::header::INPUT_STATS);

/// What is answered for one image.
#[derive(Debug, Serialize)]
struct Prediction<'a> {
    prediction: Option<&'a str>,
    confidence: Option<f64>,
    probabilities: Vec<ClassProbability<'a>>,
    /// Who decides, where it is not the model alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    /// Under which it waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<ItemId>,
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

pub(super) async fn json(
    State(service): State<Arc<Service>>,
    named: Named,
    request: Request,
) -> Result<Response, Problem> {
    expect_type(&request, "application/json")?;
    let served = service.find(&named).await?;
    let asking = Asking::of(request.headers())?;
    let body = service.read_request(request, service.limits.body_bytes).await?;
    asking.admitted(&served)?;
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
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let body = service.read_request(request, service.limits.body_bytes).await?;
    asking.admitted(&served)?;
    let form = form::read(content_type.as_ref(), body.bytes.clone(), service.limits.images).await;
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
        let held = self.held(&asking, &bytes);
        let inputs = self.decode(&metadata.preprocessing, bytes, list, Input::of).await?;
        let count = inputs.len();
        let mut numbers = Vec::with_capacity(count * metadata.preprocessing.input_len());
        for input in &inputs {
            numbers.extend_from_slice(&input.numbers);
        }
        let Said { answers, .. } = self.ask(served, &asking, numbers, count, &hashes).await?;
        let mut reviews = self.keep(served, &asking, &held, &answers).into_iter();
        let mut headers = predicted(served, &answers);
        headers.insert(INPUT_STATS, stats_of(&inputs));
        let mut predictions: Vec<Prediction<'_>> =
            answers.iter().map(|a| prediction(metadata, a, top_k, asking.automation)).collect();
        for prediction in &mut predictions {
            prediction.review = reviews.next().flatten();
        }
        let predictions = match predictions.pop() {
            Some(only) if !list => Predictions::One(only),
            last => Predictions::Many { predictions: predictions.into_iter().chain(last).collect() },
        };
        let version = &metadata.version;
        Ok((headers, Json(Answered { predictions, version, revision })).into_response())
    }
}

fn check_top_k(asked: Option<usize>, classes: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(DEFAULT_TOP_K.min(classes)),
        Some(k) if (1..=classes).contains(&k) => Ok(k),
        Some(k) => Err(Problem::bad(format!("top_k is {k}, allowed: 1..={classes}"))),
    }
}

fn prediction<'a>(
    metadata: &'a Metadata,
    answer: &Answer,
    top_k: usize,
    automation: Automation,
) -> Prediction<'a> {
    let class = |i: usize| metadata.classes[i].as_str();
    let top = answer.top(top_k).into_iter();
    Prediction {
        prediction: answer.best.map(|(i, _)| class(i)),
        confidence: answer.best.map(|(_, confidence)| confidence),
        probabilities: top
            .map(|(i, probability)| ClassProbability { class: class(i), probability })
            .collect(),
        decision: (automation != Automation::Full)
            .then(|| automation.decide(answer.best.map(|(_, confidence)| confidence)).name()),
        review: None,
    }
}

/// What the router counts of the images.
fn stats_of(inputs: &[Input]) -> HeaderValue {
    listed(&inputs.iter().map(|input| wire::header::encode_stats(input.stats)).collect::<Vec<_>>())
}
