//! The operator's release binary beside many deployments: time, memory, processor time and requests.
//!
//! Beside a real API server the [`Crowd`](crate::hollow::Crowd) plays the pods. Everything is measured from
//! outside: the process by `/proc` ([`usage`]), its requests by the server's audit log ([`requests`]), its
//! reads of pages by the pods. [`stages`] runs them, [`targets`] compares them with what was promised.

pub mod requests;
pub mod stages;
pub mod targets;
pub mod usage;
pub mod world;

use serde::Serialize;

use crate::hollow::Reads;
use requests::Requests;
use usage::Memory;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// ModelDeployments, with two routers and two servers each.
    pub deployments: usize,
    /// Seconds that a window of measurement lasts.
    pub window: u64,
    /// Requests per second that each router counts.
    pub rate: f64,
}

/// Everything measured with one number of deployments.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// How many there were in the end.
    pub deployments: usize,
    /// Memory before there was one.
    pub empty: Memory,
    /// The first half created at once, then the other.
    pub created: Vec<Created>,
    /// All at rest.
    pub idle: Window,
    /// A new process, nothing changed.
    pub resync: Resync,
    /// All changed to another version.
    pub rollouts: Rollouts,
}

/// Deployments that were created at once. Times are seconds since the first of them was sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Created {
    /// How many.
    pub deployments: usize,
    /// Until the API server had accepted the last one.
    pub accepted: f64,
    /// Until the status of each had been written for what it asks.
    pub reconciled: f64,
    /// Until each was Healthy: pods ready, every router serves.
    pub healthy: f64,
    /// Processor seconds until nothing was written any more.
    pub cpu: f64,
    /// The operator's requests until then.
    pub requests: Requests,
    /// The machine's load at the end.
    pub load: f64,
}

/// A time in which the operator is watched and nobody else acts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Window {
    /// How long.
    pub seconds: f64,
    /// Processor seconds.
    pub cpu: f64,
    /// Memory at the end.
    pub memory: Memory,
    /// Requests to the API server.
    pub requests: Requests,
    /// Pages of pods that were read.
    pub pages: Reads,
    /// The machine's load at the end.
    pub load: f64,
}

impl Window {
    /// Cores in use on average.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.cpu / self.seconds
    }
}

/// A restart.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Resync {
    /// From the start of the process until it had asked every router of every deployment.
    pub seconds: f64,
    /// Processor seconds of the process until it was at rest.
    pub cpu: f64,
    /// Its requests until then.
    pub requests: Requests,
}

/// Rollouts of all deployments at once, to their end.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rollouts {
    /// Seconds from the first change of a spec until all were judged, or until no more were waited for.
    pub began: f64,
    /// How many were judged then.
    pub judging: usize,
    /// They are judged.
    pub judged: Window,
    /// Seconds from the first `promote-full` until all were Healthy, or until no more were waited for.
    pub ended: f64,
    /// How many were Healthy then.
    pub promoted: usize,
    /// The operator's requests from the first change to the end, but those of `judged`.
    pub requests: Requests,
    /// Memory at the end.
    pub memory: Memory,
}
