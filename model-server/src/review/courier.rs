//! Tells the router of labels. What it does follows from files alone, so that it goes on where another one ended; a label whose
//! answer was lost is told again, and the router refuses it as told before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use serde::Deserialize;
use serde_json::json;
use sources::{CabinetError, Called, Caller};
use tokio::sync::Notify;

use super::app::token_of;
use super::desk::{Desk, done, waiting};
use super::{Address, Done, ItemId, Told};

/// Between two rounds, if nobody gives a label.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// After so long an announced label will not come any more.
const ANNOUNCED: SignedDuration = SignedDuration::from_hours(1);
/// Announcements that are read at one time.
const PART: usize = 500;
/// Largest answer of a router, in bytes.
const ANSWER: usize = 64 << 10;

/// A router that takes labels.
#[derive(Debug, Clone)]
pub struct Router {
    /// Its feedback port.
    pub address: Address,
    /// The file with its token.
    pub token: PathBuf,
}

/// Takes labels from the desk to the router.
#[derive(Debug)]
pub struct Courier {
    desk: Desk,
    router: Option<Router>,
    caller: Caller,
    wake: Notify,
    told: IntCounterVec,
    untold: IntGauge,
}

/// What became of one announcement.
#[derive(Debug, PartialEq, Eq)]
enum Settled {
    /// Nothing is left to do.
    Yes,
    /// Later.
    No,
    /// Later, and the others too: the router is away.
    Away,
}

/// What the router said.
enum Answer {
    Told(Told),
    Later(String),
    Away(String),
}

#[derive(Debug, Deserialize)]
struct Taken {
    accepted: usize,
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    code: String,
    reason: String,
}

impl Courier {
    /// One for a desk. Without a router labels stay where they are.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn new(
        desk: Desk,
        router: Option<Router>,
        caller: Caller,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let told =
            Opts::new("sluice_review_told_total", "Labels that the router was told of, by what it said.");
        let told = IntCounterVec::new(told, &["outcome"])?;
        for outcome in ["accepted", "refused", "failed"] {
            told.with_label_values(&[outcome]);
        }
        let untold = IntGauge::new(
            "sluice_review_untold",
            "Labels that the router is still to be told of, at the last look.",
        )?;
        registry.register(Box::new(told.clone()))?;
        registry.register(Box::new(untold.clone()))?;
        Ok(Self { desk, router, caller, wake: Notify::new(), told, untold })
    }

    /// There is a new label.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Goes its rounds until it is dropped.
    pub async fn work(self: Arc<Self>) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "labels could not be told; trying again in {PAUSE:?}");
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Tells all that can be told. How many are left.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn round(&self) -> Result<usize, CabinetError> {
        let (mut after, mut left, mut is_away) = (String::new(), 0, false);
        loop {
            let names = self.desk.cabinet.list("untold", &after, PART).await?;
            for name in &names {
                let settled = if is_away { Settled::Away } else { self.settle(name).await? };
                is_away |= settled == Settled::Away;
                left += usize::from(settled != Settled::Yes);
            }
            match names.last() {
                Some(last) if names.len() == PART => after.clone_from(last),
                _ => break,
            }
        }
        self.untold.set(left as i64);
        Ok(left)
    }

    /// What is left to do of an announced label.
    async fn settle(&self, name: &str) -> Result<Settled, CabinetError> {
        let marker = format!("untold/{name}");
        let Some((id, nonce)) = name.split_once('-') else { return Ok(Settled::Yes) };
        let Ok(id) = id.parse::<ItemId>() else { return Ok(Settled::Yes) };
        let Some(given) = self.desk.read::<Done>(&done(&id)).await? else {
            let announced: Option<Timestamp> = self.desk.read(&marker).await?;
            if announced.is_some_and(|time| Timestamp::now().duration_since(time) < ANNOUNCED) {
                return Ok(Settled::No);
            }
            self.desk.cabinet.delete(&marker).await?;
            return Ok(Settled::Yes);
        };
        // Who was second has nothing to tell.
        if given.nonce == nonce {
            self.desk.cabinet.delete(&waiting(&id)).await?;
            let settled = self.tell(&given).await?;
            if settled != Settled::Yes {
                return Ok(settled);
            }
        }
        self.desk.cabinet.delete(&marker).await?;
        Ok(Settled::Yes)
    }

    async fn tell(&self, given: &Done) -> Result<Settled, CabinetError> {
        let Some(router) = &self.router else { return Ok(Settled::Yes) };
        let item = &given.item;
        // Of an answer without a class no router has a name.
        let (Some(ticket), Some(class)) = (&item.ticket, &item.prediction) else { return Ok(Settled::Yes) };
        if self.desk.told(&item.id).await?.is_some() {
            return Ok(Settled::Yes);
        }
        let label =
            json!({"ticket": ticket, "class": class, "confidence": item.confidence, "label": given.label});
        let body = json!({"labels": [label]}).to_string();
        match self.ask(router, body.into(), &item.id).await {
            Answer::Told(told) => {
                self.desk.write_told(&told).await?;
                self.told.with_label_values(&[told.outcome()]).inc();
                Ok(Settled::Yes)
            }
            Answer::Later(reason) => {
                self.told.with_label_values(&["failed"]).inc();
                tracing::warn!(id = %item.id, reason, "the router does not understand a label; it is told again");
                Ok(Settled::No)
            }
            Answer::Away(reason) => {
                self.told.with_label_values(&["failed"]).inc();
                tracing::warn!(reason, "the router takes no labels now; they are told in {PAUSE:?}");
                Ok(Settled::Away)
            }
        }
    }

    async fn ask(&self, router: &Router, body: Bytes, id: &ItemId) -> Answer {
        let token = match token_of(&router.token).await {
            Ok(token) => token,
            Err(error) => return Answer::Away(format!("--feedback-token-file: {error}")),
        };
        let at = router.address.at(wire::endpoint::FEEDBACK);
        match self.caller.post(&at, Some(&token), body, ANSWER).await {
            Ok(called) => answer(&called, id),
            Err(error) => Answer::Away(error.to_string()),
        }
    }
}

/// What an answer means. Only what a router says of the label itself is final.
fn answer(called: &Called, id: &ItemId) -> Answer {
    let status = called.status;
    if status.is_server_error() || [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status)
    {
        return Answer::Away(format!("it answers {status}"));
    }
    let taken: Taken = match serde_json::from_slice(&called.body) {
        Ok(taken) if status == StatusCode::OK => taken,
        _ => return Answer::Later(format!("it answers {status} to a label")),
    };
    let told = |code, reason| Answer::Told(Told { id: id.clone(), time: Timestamp::now(), code, reason });
    match taken.refused.into_iter().next() {
        None if taken.accepted == 1 => told(None, None),
        None => Answer::Later("it neither took nor refused a label".to_owned()),
        // It was told before, and the answer was lost.
        Some(refused) if refused.code == "replayed" => told(None, Some(refused.reason)),
        Some(Refused { code, reason }) => told(Some(code), Some(reason)),
    }
}
