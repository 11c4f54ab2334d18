//! A router that has stopped sending to a plainly broken candidate by itself (R7).

use serde::{Deserialize, Serialize};

/// What a trip-wire saw when it tripped: the last requests of both, at most [`Trip::MEMORY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trip {
    /// Requests of the candidate that failed ([`crate::Outcome::is_error`]).
    pub failures: u32,
    /// Of so many.
    pub requests: u32,
    /// Requests of stable that failed.
    pub stable_failures: u32,
    /// Of so many.
    pub stable_requests: u32,
}

impl Trip {
    /// How many of its last requests a router remembers of each revision.
    pub const MEMORY: u32 = 56;
}
