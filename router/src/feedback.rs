//! True labels of answers: who signs the names of answers, and who takes what is said of them later.
//!
//! ```text
//! answer ─> PredictionId, signed ─> header x-sluice-prediction-id ─> client … hours … ─> POST /feedback
//!                                                                                           │ signature, time,
//! Ledger: correct or wrong, by revision, assignment and confidence <──── Feedback::take <───┘ class, not twice
//! ```
//!
//! Nothing is remembered of an answer: what a label needs is in the id. So any router of a deployment takes a label,
//! also after a restart, as long as they share the keys. Only of what a copy answered beside it ([`Shadows`]) this router
//! alone knows, for a while.

mod id;
mod keys;
mod port;
mod secrets;
mod seen;
mod shadows;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::StatusCode;
use prometheus::{IntCounterVec, Opts};

use id::Unread;
pub(crate) use id::{NO_CONFIDENCE, PredictionId, Said};
use keys::KeyId;
pub use port::serve_feedback;
pub use secrets::SecretError;
use secrets::Secrets;
use seen::Seen;
use shadows::Name;
pub(crate) use shadows::{Named, Shadows};

use crate::Ledger;
use crate::count::Ticket;
use crate::items::AnswerHeaders;
use crate::mirror::Draft;

/// How far ahead the clock of the router that signed may be.
const AHEAD: u32 = 300;

/// Signs the ids of answers and takes their labels.
pub struct Feedback {
    ledger: Arc<Ledger>,
    secrets: ArcSwapOption<Secrets>,
    /// How old an answer may be, in seconds.
    window: u32,
    seen: Mutex<Seen>,
    shadows: Arc<Shadows>,
    refused: IntCounterVec,
    requests: IntCounterVec,
}

/// Which answer a label is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    /// The one with this id.
    Id(&'a str),
    /// The one to the request with this ticket, and what it said.
    Ticket(&'a str, Said<'a>),
}

/// Why a label is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("id: not one that these routers gave")]
    Forged,
    #[error("id: signed with the key {0}, which is not in the Secret, or was not read yet")]
    Key(KeyId),
    #[error("id: the answer is too old")]
    Expired,
    #[error("id: its label was taken before")]
    Replayed,
    #[error("id: its revision is no longer served here")]
    Gone,
    #[error("label: no class of this model")]
    Class,
}

impl Refused {
    /// As metrics and answers spell it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Key(_) => "key",
            Self::Expired => "expired",
            Self::Replayed => "replayed",
            Self::Gone => "gone",
            Self::Class => "class",
        }
    }
}

impl Feedback {
    /// Takes labels for answers that are at most `window` old into `ledger`, which counts them
    /// ([`Ledger::with_feedback`]). It has no key before [`Feedback::load`]: no answer gets an id, no label is taken.
    ///
    /// # Panics
    /// Never: the names are constants.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, window: Duration) -> Self {
        let counter = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).expect("the names are constants")
        };
        Self {
            ledger,
            secrets: ArcSwapOption::empty(),
            window: u32::try_from(window.as_secs()).unwrap_or(u32::MAX),
            seen: Mutex::default(),
            shadows: Arc::new(Shadows::new()),
            refused: counter(
                "sluice_labels_refused_total",
                "Labels that were not counted, by reason.",
                "reason",
            ),
            requests: counter(
                "sluice_feedback_requests_total",
                "Requests that brought labels, by the status of the answer.",
                "code",
            ),
        }
    }

    /// Shows its own numbers to a registry.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.requests.clone()))?;
        self.shadows.register(registry)
    }

    /// Reads the keys, the clients' token and the class list from a folder, as a Secret is mounted. What was read before
    /// stays when it cannot be read.
    ///
    /// # Errors
    /// Names the file and what is wrong with it, never what it holds.
    pub fn load(&self, folder: &Path) -> Result<(), SecretError> {
        self.secrets.store(Some(Arc::new(Secrets::read(folder)?)));
        Ok(())
    }

    /// Reads the folder now and then for ever: a Secret may come late, and its token may change.
    pub async fn follow(self: Arc<Self>, folder: std::path::PathBuf) {
        /// The kubelet brings a change within a minute or so; reading three small files costs nothing.
        const EVERY: Duration = Duration::from_secs(10);
        let mut said = None;
        loop {
            let read = self.load(&folder).map(|()| self.keys()).map_err(|error| error.to_string());
            if said.as_ref() != Some(&read) {
                match &read {
                    Err(error) => tracing::error!(%error, "labels: what was read before stays"),
                    Ok(keys) => tracing::info!(keys, "labels: the Secret was read"),
                }
                said = Some(read);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Which keys it has, by their ids.
    fn keys(&self) -> String {
        self.secrets.load().as_ref().map(|secrets| secrets.keys().to_string()).unwrap_or_default()
    }

    /// What [`wire::header::PREDICTION_ID`] says of an answer; `None` when it says no class, is no evidence, or
    /// there is no key.
    /// A copy of its request is told of the name.
    pub(crate) fn name(
        &self,
        ticket: &Ticket,
        answer: &AnswerHeaders,
        copy: Option<&mut Draft>,
    ) -> Option<HeaderValue> {
        let secrets = self.secrets.load();
        let secrets = secrets.as_ref()?;
        let items = answer.predictions();
        // rule: C3. A request says one thing, whatever its size.
        let drawn = (rand::random::<u32>() as usize).checked_rem(items)?;
        let id = ticket.name(&answer.item(drawn), now())?;
        let text = id.sign(secrets.keys())?;
        let text = format!("{}{text}{}", "-,".repeat(drawn), ",-".repeat(items - 1 - drawn));
        let name = Name { nonce: id.nonce, at: drawn, of: items };
        let header = HeaderValue::try_from(text).ok()?;
        copy.into_iter().for_each(|copy| copy.set_name(self.shadows.named(name)));
        Some(header)
    }

    /// What [`wire::header::TICKET`] says of a request; `None` when it is no evidence, or there is no key.
    pub(crate) fn ticket(&self, ticket: &mut Ticket) -> Option<HeaderValue> {
        let secrets = self.secrets.load();
        let text = ticket.ticket(now())?.sign_ticket(secrets.as_ref()?.keys())?;
        HeaderValue::try_from(text).ok()
    }

    /// Counts a request that brought labels.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.requests.with_label_values(&[status.as_str()]).inc();
    }

    /// Takes one label at a time in seconds since 1970.
    pub(crate) fn take(&self, of: Whose<'_>, label: &str, now: u32) -> Result<(), Refused> {
        let taken = self.check(of, label, now);
        if let Err(why) = taken {
            self.refused.with_label_values(&[why.as_str()]).inc();
        }
        taken
    }

    fn check(&self, of: Whose<'_>, label: &str, now: u32) -> Result<(), Refused> {
        let secrets = self.secrets.load();
        let secrets = secrets.as_ref().ok_or(Refused::Forged)?;
        let read = match of {
            Whose::Id(id) => PredictionId::read(id, secrets.keys()),
            Whose::Ticket(_, said) if !secrets.knows(said.class) => return Err(Refused::Class),
            Whose::Ticket(ticket, said) => PredictionId::of_ticket(ticket, &said, secrets.keys()),
        };
        let id = read.map_err(|unread| match unread {
            Unread::Forged => Refused::Forged,
            Unread::Key(key) => Refused::Key(key),
        })?;
        if id.time > now.saturating_add(AHEAD) || now.saturating_sub(id.time) > self.window {
            return Err(Refused::Expired);
        }
        if !secrets.knows(label) {
            return Err(Refused::Class);
        }
        // Held until it is counted, so that two copies at once are one.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.has(id.nonce) {
            return Err(Refused::Replayed);
        }
        if !self.ledger.label(&id, *id.class == *label) {
            return Err(Refused::Gone);
        }
        seen.insert(id.nonce);
        drop(seen);
        self.ledger.confusion().with(&id.revision, |classes| classes.count([label, &id.class]));
        if let Some(shadow_is_right) = self.shadows.take(id.nonce, label) {
            self.ledger.label_pair(&id, [*id.class == *label, shadow_is_right]);
        }
        Ok(())
    }

    /// Whether a client may send labels; `None` while there is no token.
    pub(crate) fn admits(&self, token: &str) -> Option<bool> {
        Some(self.secrets.load().as_ref()?.admits(token))
    }
}

/// Seconds since 1970; the number ends in 2106.
pub(crate) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
