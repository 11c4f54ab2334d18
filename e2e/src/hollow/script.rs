//! What the pods of the hollow cluster do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::Trip;

/// Everything that is scripted.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// By model version; others behave like [`Model::default`].
    pub models: BTreeMap<String, Model>,
    /// All routers.
    pub routers: Routers,
}

impl Script {
    pub(super) fn model(&self, version: &str) -> Model {
        self.models.get(version).cloned().unwrap_or_default()
    }
}

/// When a pod is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// This long after its creation.
    After(Duration),
    /// Never.
    Never,
    /// On and off, each for this long, beginning with off.
    Flapping(Duration),
}

/// What the pods of a model version do.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// When they are ready.
    pub ready: Ready,
    /// Share of requests that end in an error.
    pub errors: f64,
    /// Share of requests that are refused because of their input.
    pub rejected: f64,
    /// Median of the latency.
    pub latency: Duration,
    /// Mean and standard deviation of log10(1 - confidence).
    pub doubt: (f64, f64),
    /// Classes and their shares, which need not add up to 1.
    pub classes: Vec<(String, f64)>,
    /// Share of copies whose class is another than the user's.
    pub disagrees: f64,
    /// Share of its labelled answers that are right.
    pub accuracy: f64,
    /// What a router's trip-wire says of it, wherever it has a share.
    pub trips: Option<Trip>,
    /// Digests that its pods report in turn; the first pod the first one.
    pub digests: Vec<String>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            ready: Ready::After(Duration::from_millis(100)),
            errors: 0.0,
            rejected: 0.0,
            latency: Duration::from_millis(5),
            doubt: (-2.0, 0.7),
            classes: (0..10).map(|digit| (digit.to_string(), 1.0)).collect(),
            disagrees: 0.02,
            accuracy: 0.95,
            trips: None,
            digests: Vec::new(),
        }
    }
}

/// What routers do. They are numbered from 0 in the order in which they started.
#[derive(Debug, Clone, PartialEq)]
pub struct Routers {
    /// Requests per second that each of them gets.
    pub rate: f64,
    /// From a change of the ModelRoute to serving it.
    pub delay: Duration,
    /// Those that do not answer the operator; they serve all the same.
    pub silent: BTreeSet<usize>,
    /// Those that see no change of the ModelRoute any more.
    pub deaf: BTreeSet<usize>,
    /// Share of requests that a rule sends to the candidate, while there is one.
    pub matched: f64,
    /// Share of answers whose labels arrive, at once.
    pub labelled: f64,
    /// Mean brightness of the images that clients send; the reference profiles were made with 0.4.
    pub brightness: f64,
}

/// Mean brightness of the images of the reference profiles.
pub(super) const REFERENCE_BRIGHTNESS: f64 = 0.4;

impl Default for Routers {
    fn default() -> Self {
        Self {
            rate: 400.0,
            delay: Duration::from_millis(20),
            silent: BTreeSet::new(),
            deaf: BTreeSet::new(),
            matched: 0.1,
            labelled: 0.0,
            brightness: REFERENCE_BRIGHTNESS,
        }
    }
}
