//! What requests of images and of tensors have in common: their heads, the model, the log, and what routers count.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use wire::{Automation, automation, header, timeout};

use super::text::short;
use super::{Problem, Service};
use crate::predictions::{About, Prediction};
use crate::queue::{Order, Priority};
use crate::review::{ItemId, Kept};
use crate::served::{Identity, Said, Served};
use crate::{Answer, stats};

/// How clients and routers call a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request's head says of how it is to be answered.
#[derive(Debug)]
pub(super) struct Asking {
    since: Instant,
    request_id: Option<String>,
    ticket: Option<String>,
    priority: Priority,
    deadline: Option<Instant>,
    /// How much the model decides, as the ModelDeployment says.
    pub(super) automation: Automation,
}

impl Asking {
    /// # Errors
    /// If its time cannot be read.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let is_copy = headers.get(header::SHADOW).is_some_and(|value| value == "1");
        let priority = if is_copy { Priority::Shadow } else { Priority::Live };
        let mut times = headers.get_all(timeout::HEADER).iter();
        let (time, other) = (times.next(), times.next());
        if other.is_some() {
            return Err(Problem::bad(format!("{} is there twice, allowed: once", timeout::HEADER)));
        }
        let time = time.map(|value| {
            let text = value.to_str().unwrap_or("not text").trim();
            let wrong =
                || Problem::bad(format!("{} is {:?}, it {}", timeout::HEADER, short(text), timeout::MUST));
            timeout::parse(text).ok_or_else(wrong)
        });
        let since = Instant::now();
        // One that ends after the end of all times is none.
        let deadline = time.transpose()?.and_then(|time| since.checked_add(time));
        let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let ticket = headers.get(header::TICKET).and_then(|ticket| ticket.to_str().ok());
        let ticket =
            ticket.filter(|text| (1..=header::TICKET_LENGTH).contains(&text.len())).map(str::to_owned);
        // A policy that is newer than this server may say anything but that the model decides all.
        let automation = headers.get(automation::HEADER).map_or(Automation::Full, |value| {
            value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(Automation::Assist)
        });
        Ok(Self { since, request_id, ticket, priority, deadline, automation })
    }

    /// Once the body is read: who is refused keeps its connection.
    ///
    /// # Errors
    /// If the model has no room now.
    pub(super) fn admitted(&self, served: &Served) -> Result<(), Problem> {
        Ok(served.admit(self.priority)?)
    }

    /// When nobody waits any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The same, within this time from now at most.
    pub(super) fn within(self, time: Duration) -> Self {
        let end = self.since.checked_add(time);
        Self { deadline: self.deadline.into_iter().chain(end).min(), ..self }
    }
}

impl Service {
    /// What tells equal images, where a log asks for it.
    pub(super) fn hashes(&self, hashes: impl Iterator<Item = u64>) -> Vec<u64> {
        if self.log.is_some() { hashes.collect() } else { vec![] }
    }

    /// Asks the model, and writes down what it said of images of these hashes.
    ///
    /// # Errors
    /// If there is no room, no time, or the model fails.
    pub(super) async fn ask(
        &self,
        served: &Served,
        asking: &Asking,
        inputs: Vec<f32>,
        images: usize,
        hashes: &[u64],
    ) -> Result<Said, Problem> {
        let Asking { priority, deadline, .. } = *asking;
        let said = served.ask(Order { inputs, images, priority, deadline }).await?;
        for answer in &said.answers {
            let decision = answer.best.map_or("null", |(_, p)| asking.automation.decide(Some(p)).name());
            self.metrics.answers.with_label_values(&[decision]).inc();
        }
        self.write_down(served, asking, hashes, &said.answers);
        Ok(said)
    }

    /// The images of a request, if some of them may be kept: not of copies, which nobody gets an answer to.
    pub(super) fn held(&self, asking: &Asking, images: &[Bytes]) -> Vec<Bytes> {
        let is_live = asking.priority == Priority::Live;
        if is_live && self.keeping.wants(asking.automation) { images.to_vec() } else { vec![] }
    }

    /// Keeps of the held images those that are to be kept. Of each that people will look at, its id.
    pub(super) fn keep(
        &self,
        served: &Served,
        asking: &Asking,
        images: &[Bytes],
        answers: &[Answer],
    ) -> Vec<Option<ItemId>> {
        self.keeping.keep(&Kept {
            identity: served.identity(),
            request_id: asking.request_id.as_deref(),
            ticket: asking.ticket.as_deref(),
            automation: asking.automation,
            images,
            answers,
        })
    }

    fn write_down(&self, served: &Served, asking: &Asking, hashes: &[u64], answers: &[Answer]) {
        let Some(log) = &self.log else { return };
        let Identity { metadata, revision, .. } = served.identity();
        let about = About {
            version: &metadata.version,
            revision,
            request_id: asking.request_id.as_deref(),
            latency: asking.since.elapsed(),
        };
        for (i, (hash, answer)) in hashes.iter().zip(answers).enumerate() {
            let said = answer.best.map(|(class, confidence)| (&*metadata.classes[class], confidence));
            log.push(Prediction::new(&about, i, *hash, said));
        }
    }
}

/// The headers that the router counts (design §4), of what the model said.
pub(super) fn predicted(served: &Served, answers: &[Answer]) -> HeaderMap {
    let of = |answer: &Answer| match answer.best {
        Some((class, p)) => (header::encode_class(&served.metadata().classes[class]), format!("{p:.9}")),
        None => ("-".to_owned(), "NaN".to_owned()),
    };
    let (predictions, confidences): (Vec<String>, Vec<String>) = answers.iter().map(of).unzip();
    let lists = [(header::PREDICTION, predictions), (header::CONFIDENCE, confidences)];
    let mut headers: HeaderMap =
        lists.into_iter().map(|(name, list)| (HeaderName::from_static(name), listed(&list))).collect();
    let stats: Vec<String> = answers.iter().map(|a| header::encode_stats(stats::of_answer(a))).collect();
    if stats.iter().any(|said| !said.is_empty()) {
        headers.insert(header::OUTPUT_STATS, listed(&stats));
    }
    headers.insert(header::MODEL_VERSION, served.version_header().clone());
    headers
}

/// One value of each image.
pub(super) fn listed(values: &[String]) -> HeaderValue {
    HeaderValue::from_str(&values.join(",")).expect("class names are encoded, numbers are ASCII")
}
