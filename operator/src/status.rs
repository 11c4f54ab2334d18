//! What people and scripts are told: the status of a ModelDeployment from a plan. Pure.

mod conditions;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use api::{
    CandidateStatus, Decision, ModelDeploymentStatus, Phase, ServedModel, StableStatus, StageStatus, Traffic,
    names,
};
use evidence::{Layer, Verdict};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use rollout::{Kind, Observed, Plan, StageEvidence, Summary};

pub use conditions::{TROUBLES, set, trouble};

use crate::judge::digests;
use crate::observe::{Seen, is_ready};
use crate::sampler::{Snapshot, running_routers};
use crate::validate::Valid;

/// Everything that the status tells of.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// What is the case.
    pub seen: &'a Seen,
    /// What is wanted.
    pub valid: &'a Valid,
    /// What it was decided from.
    pub observed: &'a Observed,
    /// What pods say of themselves.
    pub snapshot: &'a Snapshot,
    /// What was decided.
    pub plan: &'a Plan,
    /// A write of the plan that one object is in the way of: reason and message.
    pub trouble: Option<(&'static str, &'a str)>,
    /// When.
    pub now: Timestamp,
}

/// The status that the plan leads to.
#[must_use]
pub fn status(picture: Picture<'_>) -> ModelDeploymentStatus {
    let Picture { seen, plan, observed, .. } = picture;
    let state = &plan.state;
    let previous = seen.deployment.status.clone().unwrap_or_default();
    let stable = state.stable.as_deref();
    let existing = stable.and_then(|s| observed.workloads.get(s)).map_or(0, |p| p.existing);
    ModelDeploymentStatus {
        observed_generation: seen.deployment.metadata.generation,
        replicas: existing,
        selector: stable.map(|s| selector(&seen.owner.name, s)).unwrap_or_default(),
        phase: Some(phase(plan.summary)),
        stage: stage(plan),
        traffic: traffic(picture),
        stable: stable.and_then(|s| served(picture, s)),
        candidate: candidates(picture).next(),
        challengers: candidates(picture).skip(1).collect(),
        rollout: (state.sequence > 0).then(|| names::rollout(&seen.owner.name, state.sequence)),
        verdict: verdict(picture, previous.verdict),
        conditions: conditions::all(picture, previous.conditions),
        autoscaling: previous.autoscaling,
        retraining: previous.retraining,
        decisions: decisions(picture),
        state: Some(serde_json::to_value(state).expect("the state is JSON")),
    }
}

/// Whether nothing but the number of requests is new.
#[must_use]
pub fn only_counts_differ(before: &ModelDeploymentStatus, after: &ModelDeploymentStatus) -> bool {
    let uncounted = |status: &ModelDeploymentStatus| {
        let mut status = status.clone();
        let candidates = status.candidate.iter_mut().chain(&mut status.challengers);
        candidates.for_each(|candidate| candidate.requests = candidate.requests.min(1));
        status
    };
    uncounted(before) == uncounted(after)
}

/// What was decided last, see [`crate::decisions`].
#[must_use]
pub fn decisions(picture: Picture<'_>) -> Vec<Decision> {
    let before = picture.seen.deployment.status.as_ref().map_or(&[][..], |status| &status.decisions);
    crate::decisions::held(before, &picture.seen.rollouts, picture.plan, picture.now)
}

/// The numbers of each candidate in the stage that is judged now, as far as there are any yet; on the way back, those
/// that led to it.
#[must_use]
pub fn judged(picture: Picture<'_>) -> Vec<(&str, &StageEvidence)> {
    let state = &picture.plan.state;
    let judged = |evidence: &StageEvidence| match (state.judged_stage(), &state.phase) {
        (Some((key, _)), _) => evidence.key == key,
        (None, rollout::Phase::Rolling(r)) => r.kind != Kind::Rollout,
        (None, _) => true,
    };
    let all = picture.observed.evidence.iter().map(|(name, evidence)| (name.as_str(), evidence));
    all.filter(|(_, evidence)| judged(evidence)).collect()
}

fn selector(deployment: &str, revision: &str) -> String {
    format!(
        "{}={deployment},{}={revision},{}={}",
        names::DEPLOYMENT,
        names::REVISION,
        names::ROLE,
        names::ROLE_SERVER
    )
}

fn phase(summary: Summary) -> Phase {
    match summary {
        Summary::Pending => Phase::Pending,
        Summary::Progressing => Phase::Progressing,
        Summary::Paused => Phase::Paused,
        Summary::Healthy => Phase::Healthy,
        Summary::RollingBack => Phase::RollingBack,
        Summary::RolledBack => Phase::RolledBack,
        Summary::Degraded => Phase::Degraded,
    }
}

/// The promotion is the last stage: a canary of two steps has three.
fn stage(plan: &Plan) -> Option<StageStatus> {
    let rollout::Phase::Rolling(rolling) = &plan.state.phase else { return None };
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let (index, of) = (number(rolling.index), number(rolling.stages.len()));
    Some(StageStatus { index, of, text: format!("{index}/{of}"), since: rolling.since().map(MicroTime) })
}

fn traffic(picture: Picture<'_>) -> Vec<Traffic> {
    let desired = &picture.plan.route.shares;
    let live = picture.observed.route.as_ref();
    let acknowledged = live.filter(|route| route.served).map(|route| &route.shares);
    let mut revisions: BTreeSet<&String> = desired.iter().filter(|(_, w)| **w > 0).map(|(r, _)| r).collect();
    revisions.extend(live.iter().flat_map(|route| route.shares.keys()));
    revisions
        .into_iter()
        .map(|revision| Traffic {
            revision: revision.clone(),
            desired: desired.get(revision).copied().unwrap_or(0),
            acknowledged: acknowledged.map(|shares| shares.get(revision).copied().unwrap_or(0)),
        })
        .collect()
}

fn served(picture: Picture<'_>, revision: &str) -> Option<StableStatus> {
    let known = picture.seen.revisions.get(revision)?;
    let reported = || {
        let mut all = digests(picture.seen, picture.snapshot, revision).into_iter();
        all.next().filter(|_| all.next().is_none())
    };
    let model = &known.asked.model;
    Some(StableStatus {
        revision: revision.to_owned(),
        model: ServedModel {
            version: model.version.clone(),
            uri: model.uri.clone(),
            // Only what its pods verified: a digest that is merely asked for is no fact.
            sha256: known.digest.clone().or_else(|| {
                picture
                    .snapshot
                    .servers
                    .get(revision)
                    .filter(|s| !s.digests.is_empty())
                    .and_then(|_| reported())
            }),
        },
    })
}

fn candidates(picture: Picture<'_>) -> impl Iterator<Item = CandidateStatus> {
    let revisions: Vec<&String> = match &picture.plan.state.phase {
        rollout::Phase::Rolling(r) if r.kind == Kind::Rollout => r.arms().collect(),
        rollout::Phase::Returning(r) => r.candidates().collect(),
        _ => Vec::new(),
    };
    revisions.into_iter().map(move |revision| candidate(picture, revision))
}

fn candidate(picture: Picture<'_>, revision: &str) -> CandidateStatus {
    let Picture { seen, plan, observed, .. } = picture;
    let version = seen.revisions.get(revision).map(|r| r.asked.model.version.clone());
    let copies = plan.route.mirror.as_ref().filter(|mirror| mirror.revision == revision);
    let requests =
        judged(picture).into_iter().find(|(name, _)| *name == revision).map_or(0, |(_, e)| e.requests);
    CandidateStatus {
        revision: revision.to_owned(),
        version: version.unwrap_or_default(),
        weight: plan.route.shares.get(revision).copied().unwrap_or(0),
        ready: observed.workloads.get(revision).map_or(0, |p| p.ready),
        needed: plan.workloads.get(revision).map_or(0, |w| w.replicas),
        copies: copies.map(|mirror| mirror.percent),
        requests,
    }
}

/// The worst verdict of the metrics. While nothing is judged, or not yet in this stage, the last one stays, so
/// that people see why a candidate was taken back.
fn verdict(picture: Picture<'_>, previous: Option<String>) -> Option<String> {
    let judged = judged(picture);
    if judged.is_empty() {
        let begins =
            matches!(&picture.plan.state.phase, rollout::Phase::Rolling(r) if r.kind == Kind::Rollout);
        return previous.filter(|_| !begins || picture.plan.sampling.is_some());
    }
    // A sequential test that has nothing to look at says nothing.
    let says = |r: &&evidence::Reading| r.layer == Layer::Threshold || r.verdict != Verdict::NoData;
    let readings = judged.iter().flat_map(|(_, evidence)| &evidence.readings);
    let worst = readings.filter(says).map(|r| r.verdict).max_by_key(|v| severity(*v))?;
    Some(spell(worst).to_owned())
}

/// Whether the numbers say nothing, and said something before.
#[must_use]
pub fn is_unread(picture: Picture<'_>) -> bool {
    let before = picture.seen.deployment.status.as_ref().and_then(|status| status.verdict.clone());
    let nothing = spell(Verdict::NoData);
    before.as_deref().is_some_and(|told| told != nothing)
        && verdict(picture, before).as_deref() == Some(nothing)
}

fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::NoData => 2,
        Verdict::Error => 3,
        Verdict::Fail => 4,
    }
}

/// A verdict in one word.
#[must_use]
pub fn spell(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "Pass",
        Verdict::Fail => "Fail",
        Verdict::Inconclusive => "Inconclusive",
        Verdict::NoData => "NoData",
        Verdict::Error => "Error",
    }
}

/// Whether the strategy was edited since the rollout that runs was opened (I3).
fn strategy_edited(picture: Picture<'_>) -> bool {
    let rollout::Phase::Rolling(rolling) = &picture.plan.state.phase else { return false };
    !rolling.stages.is_empty()
        && picture.valid.refused().is_none()
        && rolling.stages != picture.valid.wanted.stages
}

/// Whether there are pods that this process has not asked yet what they serve, or what they loaded.
#[must_use]
pub fn is_unheard(seen: &Seen, snapshot: &Snapshot) -> bool {
    let mut revisions = seen.running_revisions();
    running_routers(&seen.pods).any(|router| !snapshot.reports.contains_key(&router.name_any()))
        || revisions
            .any(|(name, _)| seen.servers(name).any(|pod| is_ready(pod) && !snapshot.has_heard(name, pod)))
}

/// Pods of routers that are ready.
fn ready_routers(seen: &Seen) -> usize {
    let router = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(names::ROLE).map(String::as_str) == Some(names::ROLE_ROUTER)
    };
    seen.pods.iter().filter(|p| router(p.labels()) && is_ready(p)).count()
}
