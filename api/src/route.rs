//! Who gets which share.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{SLOTS, Trip};

use crate::{Duration, Match, Sticky};

/// The route table of one ModelDeployment: written by the operator, obeyed by its routers. The annotation
/// `sluice.dev/pin=<revision>` sends everything to one revision, with the operator down too (R8).
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "ModelRoute",
    doc = "The route table of one ModelDeployment: who gets which share; written by the operator, obeyed by routers.",
    plural = "modelroutes",
    shortname = "mroute",
    namespaced,
    derive = "PartialEq",
    printcolumn(name = "Stable", type_ = "string", json_path = ".spec.stable"),
    printcolumn(name = "Shares", type_ = "string", json_path = ".spec.shares"),
    printcolumn(name = "Pin", type_ = "string", json_path = ".metadata.annotations.sluice\\.dev/pin"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ModelRouteSpec {
    /// The revisions of the table. Those without slots are known (for a pin) and get nothing.
    #[schemars(length(max = 16))]
    pub revisions: Vec<RouteRevision>,
    /// Takes over for a revision without ready endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub stable: Option<String>,
    /// The shares for people, such as `digits-1a2b3c4d=90 digits-5e6f7a8b=10`; routers read the slots.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub shares: String,
    /// The revision that is being judged: what requests are matched and targeted to. Absent: none, and whatever is
    /// matched or targeted to a candidate is split like any other request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub candidate: Option<String>,
    /// Copies of requests that others answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<RouteMirror>,
    /// Requests that go to one revision, ahead of the slots; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<Match>,
    /// Whether a request may name its revision: header `x-sluice-target`, with `stable`, `candidate` or the name of
    /// one of both.
    #[serde(default)]
    pub targeting: bool,
    /// Sticky rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Goes into the sticky hash; changes only at stable 100 % (R3).
    #[schemars(length(max = 64))]
    pub salt: String,
    /// Longest time from a request's head to the end of its answer.
    pub request_timeout: Duration,
    /// Whether a request whose connection breaks before any byte of the answer is sent once more (R6).
    pub retry: bool,
    /// Most requests that one router has at one revision at the same time, at least 1. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_in_flight: Option<u32>,
    /// How much the model decides, told to model servers with each request: `full`, `partial 0.7`, `assist` or `shadow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub automation: Option<String>,
}

/// Copies of requests: sent after the user's answer, compared with it, never answered to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteMirror {
    /// The revision that gets the copies.
    #[schemars(length(min = 1, max = 63))]
    pub revision: String,
    /// Percent of the split requests of stable that are copied, 1..=100.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
}

/// One revision of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRevision {
    /// Name of the revision.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Name of the Service whose EndpointSlices list its pods.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// Slots that are assigned to it, ascending and without overlap; at most 256 ranges.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub slots: Vec<SlotRange>,
    /// When a router stops sending to it by itself, until the operator has decided (R7). Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trip_wire: Option<TripWire>,
}

/// What only a plainly broken candidate does: so many failures among so many of its requests in a row, while of stable's
/// last requests less than 5 % fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TripWire {
    /// So many failures, at least 1.
    #[schemars(range(min = 1, max = Trip::MEMORY))]
    pub failures: u8,
    /// Among the last requests that this router sent to it, at most 56.
    #[schemars(range(min = 1, max = Trip::MEMORY))]
    pub requests: u8,
}

/// Slots `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlotRange {
    /// First slot.
    #[schemars(range(min = 0, max = SLOTS))]
    pub from: u16,
    /// One past the last slot.
    #[schemars(range(min = 0, max = SLOTS))]
    pub to: u16,
}
