//! What the program `limits` (bench/limits) says.

use serde::{Deserialize, Serialize};

/// Images of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Images in all.
    pub images: u64,
    /// For how long.
    pub seconds: f64,
    /// Processor time of all threads, in seconds.
    pub cpu: f64,
}

impl Figures {
    /// Images per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    /// Processor time of one image, in microseconds.
    #[must_use]
    pub fn micros(&self) -> f64 {
        1e6 * self.cpu / self.images as f64
    }
}
