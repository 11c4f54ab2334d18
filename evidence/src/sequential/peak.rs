//! How far an e-process ever came.

use serde::{Deserialize, Serialize};

use super::bits;

/// The largest ln E so far: 0 at the start, where E is 1. What it says holds at any time (Ville).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Peak(#[serde(with = "bits")] [f64; 1]);

impl Peak {
    /// A peak that was stored.
    pub(crate) const fn at(log_e: f64) -> Self {
        Self([log_e])
    }

    /// Takes ln E of now.
    pub(crate) fn raise(&mut self, log_e: f64) {
        self.0[0] = self.0[0].max(log_e);
    }

    pub(crate) const fn log_e(self) -> f64 {
        self.0[0]
    }

    /// The always-valid p-value: 1 / the largest E.
    pub(crate) fn p_value(self) -> f64 {
        (-self.0[0]).exp()
    }

    /// Whether E ever reached 1/level.
    pub(crate) fn crossed(self, level: f64) -> bool {
        self.0[0] >= -level.ln()
    }
}
