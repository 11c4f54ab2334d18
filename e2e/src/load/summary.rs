//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wire::Grid;

/// Failures that are kept word by word.
const EXAMPLES: usize = 20;

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke before the end of the answer.
    #[error("the connection broke: {0}")]
    Reset(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// An answer that is not 200, and its beginning.
    #[error("status {0}: {1}")]
    Status(u16, String),
    /// Another answer than the version that gave it gives offline.
    #[error("wrong answer: {0}")]
    Wrong(String),
}

/// Answers of one model version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionSummary {
    /// Right ones: as the version answers offline.
    pub answers: u64,
    /// Those among them whose class is the image's label.
    pub correct: u64,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Requests that came to an end, in whatever way.
    pub requests: u64,
    /// Connections that were asked for.
    pub connects: u64,
    /// Requests without a connection.
    pub refused: u64,
    /// Requests whose connection broke.
    pub resets: u64,
    /// Requests without an answer in time.
    pub timeouts: u64,
    /// Answers that are not 200, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers that are not those of the version that gave them.
    pub wrong: u64,
    /// Right answers, by version.
    pub versions: BTreeMap<String, VersionSummary>,
    /// The first failures, word by word, with seconds since the start.
    pub examples: Vec<String>,
    /// Seconds since the start.
    pub seconds: f64,
    /// Right answers by latency, on [`Grid::Seconds`].
    latency: Vec<u64>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            requests: 0,
            connects: 0,
            refused: 0,
            resets: 0,
            timeouts: 0,
            statuses: BTreeMap::new(),
            wrong: 0,
            versions: BTreeMap::new(),
            examples: Vec::new(),
            seconds: 0.0,
            latency: vec![0; Grid::Seconds.len()],
        }
    }
}

impl Summary {
    /// Requests that failed in any way.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.refused + self.resets + self.timeouts + self.wrong + self.statuses.values().sum::<u64>()
    }

    /// Upper edge of the latency cell that holds this quantile (0..=1) of the right answers, in seconds.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let all: u64 = self.latency.iter().sum();
        let rank = (quantile * all as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let cell = self.latency.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        cell.map(|cell| Grid::Seconds.edge(cell))
    }

    pub(super) fn add(&mut self, took: Duration, verdict: Result<(String, bool), Failure>) {
        self.requests += 1;
        let failure = match verdict {
            Ok((version, correct)) => {
                let version = self.versions.entry(version).or_default();
                version.answers += 1;
                version.correct += u64::from(correct);
                let cell = Grid::Seconds.cell(took.as_secs_f64()).expect("a duration is a number");
                self.latency[cell] += 1;
                return;
            }
            Err(failure) => failure,
        };
        match &failure {
            Failure::Connect(_) => self.refused += 1,
            Failure::Reset(_) => self.resets += 1,
            Failure::Timeout => self.timeouts += 1,
            Failure::Status(status, _) => *self.statuses.entry(*status).or_default() += 1,
            Failure::Wrong(_) => self.wrong += 1,
        }
        if self.examples.len() < EXAMPLES {
            let at = jiff::Timestamp::now();
            self.examples.push(format!("{at:.3}: {failure}"));
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |q| self.quantile(q).map_or_else(|| "-".into(), |s| format!("{:.1}", s * 1000.0));
        write!(
            f,
            "{} requests in {:.0} s, {} failed ({} no connection, {} resets, {} timeouts, {} statuses, {} wrong); \
             {} connections; latency p50 {} ms, p99 {} ms",
            self.requests,
            self.seconds,
            self.failed(),
            self.refused,
            self.resets,
            self.timeouts,
            self.statuses.values().sum::<u64>(),
            self.wrong,
            self.connects,
            ms(0.5),
            ms(0.99),
        )?;
        for (version, answers) in &self.versions {
            let share = 100.0 * answers.correct as f64 / answers.answers.max(1) as f64;
            write!(f, "\n  {version}: {} answers, {share:.1} % correct", answers.answers)?;
        }
        for example in &self.examples {
            write!(f, "\n  failed at {example}")?;
        }
        Ok(())
    }
}
