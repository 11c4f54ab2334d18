//! Which answers are kept, and what of them.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rand::Rng;
use wire::Automation;
use wire::automation::Decision;

use super::{Item, ItemId, Media, Outbox, Parcel, Ranked};
use crate::Answer;
use crate::served::Identity;

/// Classes that are kept with an image.
const LISTED: usize = 5;

/// A sample of all answers.
#[derive(Debug)]
pub struct Capturing {
    /// Where it goes.
    pub outbox: Outbox,
    /// How much of them, 1..=100.
    pub percent: u8,
}

/// What a server keeps of its answers.
#[derive(Debug, Default)]
pub struct Keeping {
    /// Those that the model does not decide.
    pub review: Option<Outbox>,
    /// A sample of all.
    pub capture: Option<Capturing>,
}

/// A request of images that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) ticket: Option<&'a str>,
    pub(crate) automation: Automation,
    pub(crate) images: &'a [Bytes],
    pub(crate) answers: &'a [Answer],
}

impl Keeping {
    /// Whether images of such a request may be kept, so that they must be held until it is answered.
    pub(crate) fn wants(&self, automation: Automation) -> bool {
        self.capture.is_some() || (self.review.is_some() && automation != Automation::Full)
    }

    /// Hands over what is to be kept, and waits for nothing. Of each image that people will look at, its id.
    pub(crate) fn keep(&self, kept: &Kept<'_>) -> Vec<Option<ItemId>> {
        let now = Timestamp::now();
        let mut ids = vec![None; kept.answers.len()];
        for (i, (image, answer)) in kept.images.iter().zip(kept.answers).enumerate() {
            let Some(media) = Media::of(image) else { continue };
            let decision = kept.automation.decide(answer.best.map(|(_, confidence)| confidence));
            // The body that it may be a part of is let go.
            let parcel = |media| Parcel {
                item: kept.item(i, answer, decision, media, now),
                image: Bytes::copy_from_slice(image),
            };
            if let Some(outbox) = self.review.as_ref().filter(|_| decision != Decision::Auto) {
                let parcel = parcel(media);
                let id = parcel.item.id.clone();
                ids[i] = outbox.push(parcel).then_some(id);
            }
            if let Some(capture) = &self.capture
                && rand::rng().random_range(0..100) < capture.percent
            {
                capture.outbox.push(parcel(media));
            }
        }
        ids
    }

    /// Waits until all is written, but not longer than `time`.
    pub(crate) async fn flush(&self, time: Duration) {
        let review = async {
            if let Some(outbox) = &self.review {
                outbox.flush(time).await;
            }
        };
        let capture = async {
            if let Some(capture) = &self.capture {
                capture.outbox.flush(time).await;
            }
        };
        tokio::join!(review, capture);
    }
}

impl Kept<'_> {
    fn item(
        &self,
        index: usize,
        answer: &Answer,
        decision: Decision,
        media_type: Media,
        time: Timestamp,
    ) -> Item {
        let metadata = &self.identity.metadata;
        let class = |i: usize| metadata.classes[i].clone();
        let ranked =
            |(i, p): (usize, f64)| Ranked { class: class(i), probability: p.is_finite().then_some(p) };
        // A router knows one answer by its ticket, and not which of several a label would be of.
        let ticket = self.ticket.filter(|_| self.answers.len() == 1);
        Item {
            id: ItemId::new(time),
            time,
            model: self.identity.name.clone(),
            version: metadata.version.clone(),
            revision: self.identity.revision.clone(),
            request_id: self.request_id.map(str::to_owned),
            ticket: ticket.map(str::to_owned),
            decision: decision.name().to_owned(),
            media_type,
            prediction: answer.best.map(|(i, _)| class(i)),
            confidence: answer.best.map(|(_, confidence)| confidence),
            probabilities: answer.top(LISTED).into_iter().map(ranked).collect(),
            index,
            classes: metadata.classes.clone(),
        }
    }
}
