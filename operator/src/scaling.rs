//! How many model servers a deployment has, from the requests that its routers count. Pure; the counters are read by
//! the sampler, which keeps a [`Meter`].
//!
//! There are as many as the requests need (rate over target, rounded up), at once when that is more, and when it is
//! fewer only after that was certainly so for the whole `scaleInCooldown`, as in the stabilisation of Kubernetes' own
//! autoscaler.
//! What is not known can only ask for more: a missing page, a restart or a silent router never takes a pod away. There
//! is no largest step, since `max` bounds it, and a burst that needs five times the pods needs them now.

mod meter;
mod tell;

#[cfg(test)]
mod tests;

use std::time::Duration;

use api::AutoscalingStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use rollout::Observed;

use crate::observe::Seen;
use crate::sampler::Snapshot;
use crate::validate::Valid;

pub use meter::{Load, Meter};
pub use tell::{SCALED_IN, SCALED_OUT, tell};

/// Time without the counters of every router before people are told: pods of routers come and go.
const SILENT: Duration = Duration::from_secs(120);
/// What a quotient may be above a whole number and still count as it: counts over times are not exact.
const ROUNDING: f64 = 1e-9;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Fewest model servers, at least 1.
    pub min: u32,
    /// Most, not below `min`.
    pub max: u32,
    /// Requests per second of each, above 0.
    pub target: f64,
    /// Least time between two steps out.
    pub scale_out: Duration,
    /// How long fewer must have been enough.
    pub scale_in: Duration,
    /// The number stays.
    pub suspended: bool,
}

impl Settings {
    /// The most that a spec may ask for.
    pub const MOST: u32 = 1000;

    /// Keeps whatever there is.
    pub const HELD: Self = Self {
        min: 1,
        max: Self::MOST,
        target: 1.0,
        scale_out: Duration::ZERO,
        scale_in: Duration::from_secs(300),
        suspended: true,
    };

    /// Model servers for a rate, at most [`Settings::MOST`]; `min` and `max` play no part in it.
    #[must_use]
    pub fn wish(&self, rate: f64) -> u32 {
        (rate / self.target - ROUNDING).ceil().clamp(0.0, f64::from(Self::MOST)) as u32
    }
}

/// What it is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// What is wanted.
    pub settings: &'a Settings,
    /// What was decided last; absent at the first look.
    pub memory: Option<&'a AutoscalingStatus>,
    /// `spec.replicas`.
    pub start: u32,
    /// Pods that stable's workload asks for.
    pub running: u32,
    /// Pods of stable that are ready.
    pub ready: u32,
    /// What the routers counted; absent until this process has read them twice.
    pub load: Option<Load>,
    /// When.
    pub now: Timestamp,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// What is to be remembered, the number in it.
    pub status: AutoscalingStatus,
    /// The step that was just decided.
    pub step: Option<Step>,
    /// What people are told; absent when it is not known yet, and what they were told before stays.
    pub standing: Option<Standing>,
    /// `spec.replicas`, if somebody set it since and so may expect that it acts.
    pub ignored: Option<u32>,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More.
    Out,
    /// Fewer.
    In,
}

/// Whether the number follows the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Following,
    /// By wish it does not.
    Suspended,
    /// The counters of some router are missing: it can only rise.
    NoData,
}

/// Another number than before, and why.
struct Change {
    replicas: u32,
    rate: Option<f64>,
    reason: String,
    step: Option<Step>,
}

/// How many model servers there shall be.
#[must_use]
pub fn decide(moment: Moment<'_>) -> Scaled {
    let Moment { settings, memory, start, now, load, .. } = moment;
    let change = adopt(moment).or_else(|| {
        let present = memory?.replicas;
        (!settings.suspended).then(|| follow(moment, present, &load?)).flatten()
    });
    let mut status = memory.cloned().unwrap_or(AutoscalingStatus { start, ..AutoscalingStatus::default() });
    let step = change.as_ref().and_then(|change| change.step);
    if let Some(Change { replicas, rate, reason, .. }) = change {
        (status.replicas, status.rate, status.reason) = (replicas, rate, reason);
    }
    if step == Some(Step::Out) {
        status.scaled_out = Some(MicroTime(now));
    }
    let standing = match load {
        _ if settings.suspended => Some(Standing::Suspended),
        None => None,
        Some(load) if load.silent.is_some_and(|silent| silent >= SILENT) => Some(Standing::NoData),
        Some(_) => Some(Standing::Following),
    };
    Scaled { ignored: (start != status.start).then_some(start), status, step, standing }
}

/// The number to go on from, if it is another than the one that is remembered.
fn adopt(moment: Moment<'_>) -> Option<Change> {
    let Moment { settings: Settings { min, max, .. }, memory, start, running, load, .. } = moment;
    let before = memory.map_or(start, |memory| memory.replicas);
    // A crash may have come between the pods and the memory of them: a restart takes none away.
    let fresh = memory.is_none() || load.is_none();
    let held = if fresh { before.max(running) } else { before };
    let replicas = held.clamp(*min, *max);
    let reason = if replicas != held {
        format!("{held} model servers are not within min {min} and max {max}: {replicas}")
    } else if memory.is_none() {
        format!("{replicas} to begin with: spec.replicas is {start}, and {running} are there")
    } else {
        format!("{replicas} are there, not the {before} that were remembered")
    };
    (memory.is_none() || replicas != before).then_some(Change { replicas, rate: None, reason, step: None })
}

/// The number that the requests ask for, if it is another and may be taken now.
fn follow(moment: Moment<'_>, present: u32, load: &Load) -> Option<Change> {
    let Moment { settings, memory, ready, now, .. } = moment;
    let Settings { min, max, target, scale_out, scale_in, .. } = *settings;
    // Three digits: it is for people.
    let rate = Some((load.rate * 1e3).round() / 1e3);
    let wish = settings.wish(load.rate);
    let out = wish.clamp(min, max);
    if out > present {
        let last = memory.and_then(|memory| memory.scaled_out.as_ref()).map(|at| at.0);
        if last.is_some_and(|last| is_within(last, scale_out, now)) {
            return None;
        }
        let least = if load.complete { "" } else { "at least " };
        let bound = if wish > max { ", the most that are allowed" } else { "" };
        let reason = format!(
            "{least}{:.1} requests per second at {target} each need {wish}: from {present} to {out}{bound}",
            load.rate
        );
        return Some(Change { replicas: out, rate, reason, step: Some(Step::Out) });
    }
    let to = load.highest?.clamp(min, max);
    // Nothing is taken away before what stays is ready: callers who are turned away ask for less.
    let may = to < present && ready >= to;
    let reason = format!("{to} were enough in all of the last {scale_in:?}: from {present} to {to}");
    may.then_some(Change { replicas: to, rate, reason, step: Some(Step::In) })
}

/// Whether less than `time` has passed since; not if the clock was set back meanwhile.
fn is_within(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    let passed = now.duration_since(since);
    !passed.is_negative() && SignedDuration::try_from(time).is_ok_and(|time| passed < time)
}

/// How many model servers there shall be, of what is seen; `None` where the spec says the number itself.
#[must_use]
pub fn scale(
    seen: &Seen,
    valid: &Valid,
    observed: &Observed,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Scaled> {
    let settings = valid.scaling.as_ref()?;
    let stable = seen.state.stable.as_ref().and_then(|stable| observed.workloads.get(stable));
    let pods = stable.copied().unwrap_or_default();
    Some(decide(Moment {
        settings,
        memory: seen.deployment.status.as_ref().and_then(|status| status.autoscaling.as_ref()),
        start: seen.deployment.spec.replicas.max(1),
        running: pods.replicas,
        ready: pods.ready,
        load: snapshot.load,
        now,
    }))
}
