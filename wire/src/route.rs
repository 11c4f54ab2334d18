//! What a router says of the table that it serves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Trip;

/// Slots that shares are counted in (R3): one is a hundredth of a percent.
pub const SLOTS: u16 = 10_000;

/// One state of a route table (R1). An annotation does not change the generation, and a recreated object
/// starts at 1 again, so all three parts are needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RouteState {
    /// `metadata.uid` of the ModelRoute.
    pub uid: String,
    /// `metadata.generation` of the ModelRoute.
    pub generation: i64,
    /// The pinned revision; absent without a pin, and for a pin to an unknown revision (R8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
}

/// Where the table came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableSource {
    /// From a watch that is connected.
    Live,
    /// The last one seen; the API server does not answer at present.
    Stale,
    /// From the disk: the API server has not answered since this process began. It acknowledges no state.
    Cached,
}

/// Endpoints of a revision as this router sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointCounts {
    /// Ready to take requests.
    pub ready: u32,
    /// Terminating (and therefore not ready).
    pub terminating: u32,
    /// Neither.
    pub unready: u32,
}

/// `GET /route`: what *served* and *acknowledged* (R2) are decided from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// The state that new requests are assigned under.
    pub state: RouteState,
    /// Where it came from.
    pub source: TableSource,
    /// Endpoints per revision of the table.
    pub endpoints: BTreeMap<String, EndpointCounts>,
    /// A pin that names no revision of the table, and is therefore ignored (R8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_pin: Option<String>,
    /// Candidates that it has stopped sending to by itself (R7).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tripped: BTreeMap<String, Trip>,
    /// Names the process: changes when its counters restart from zero.
    pub instance: String,
}
