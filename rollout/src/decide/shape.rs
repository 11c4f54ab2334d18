//! The desired workloads and shares of a state: everything below is derived, nothing is remembered.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Draw;
use jiff::Timestamp;

use super::returning::PATIENCE;
use super::traffic::Traffic;
use super::{Turn, later};
use crate::{Kind, Outcome, Phase, Plan, Rolling, RoutePlan, Sampling, Stage, Summary, Until, Workload};

/// Pods for a share of traffic: as many as the share of `replicas`, rounded up, at least one.
pub(super) fn needed(weight: u8, replicas: u32) -> u32 {
    (replicas * u32::from(weight)).div_ceil(100).max(1)
}

impl Turn<'_> {
    pub(super) fn into_plan(self) -> Plan {
        let traffic = self.traffic();
        let workloads = self.workloads(&traffic);
        Plan {
            evict: self.evicted(),
            summary: self.summary(),
            sampling: self.sampling(),
            check_again: self.check_again(),
            route: self.route(traffic, &workloads),
            workloads,
            notes: self.notes,
            state: self.state,
        }
    }

    fn route(&self, traffic: Traffic, workloads: &BTreeMap<String, Workload>) -> RoutePlan {
        let Traffic { mut shares, mirror, candidate } = traffic;
        // Revisions with pods are in the table, so that a pin can name them.
        for revision in workloads.keys() {
            shares.entry(revision.clone()).or_insert(0);
        }
        let undo = match &self.state.phase {
            Phase::Returning(r) => Some(r.undo.clone()),
            Phase::Rolling(r) => r.undo.clone(),
            _ => None,
        };
        RoutePlan {
            shares,
            mirror,
            candidate,
            wired: self.wired(),
            stable: self.state.stable.clone(),
            salt: self.salt(),
            undo,
        }
    }

    /// rule: R7. The candidates that stable can take over for.
    fn wired(&self) -> BTreeSet<String> {
        match &self.state.phase {
            Phase::Rolling(r) if r.kind == Kind::Rollout && r.from.is_some() && self.wanted.trip_wire => {
                r.arms().cloned().collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Each rollout has its own salt. It comes with the table that gives stable everything, and stays until
    /// the next rollout: whoever goes back moves no other user (R3).
    pub(super) fn salt(&self) -> String {
        match (&self.state.phase, &self.observed.route) {
            (Phase::Rolling(r), _) if r.kind == Kind::Rollout => r.sequence.to_string(),
            (_, Some(route)) if !route.salt.is_empty() => route.salt.clone(),
            _ => self.state.sequence.to_string(),
        }
    }

    /// Pods for all users.
    pub(super) fn capacity(&self) -> u32 {
        match self.state.phase {
            Phase::Idle => self.wanted.replicas,
            _ => self.wanted.replicas.max(self.state.floor),
        }
    }

    fn workloads(&self, traffic: &Traffic) -> BTreeMap<String, Workload> {
        let full = self.capacity();
        let mut pods: BTreeMap<String, u32> = BTreeMap::new();
        for warm in &self.state.warm {
            pods.insert(warm.revision.clone(), self.wanted.replicas);
        }
        match &self.state.phase {
            Phase::Idle | Phase::Returning(_) => {}
            Phase::Watching(w) => {
                pods.insert(w.old.clone(), full);
            }
            Phase::Rolling(r) => {
                pods.extend(r.arms().map(|arm| (arm.clone(), self.pods_of(r, arm))));
            }
        }
        if let Some(stable) = &self.state.stable {
            // rule: R4
            pods.insert(stable.clone(), full);
        }
        self.linger(traffic, &mut pods);
        pods.into_iter().map(|(revision, replicas)| (revision, Workload { replicas })).collect()
    }

    /// Pods that a candidate must have for the present stage, ahead of its share.
    pub(super) fn pods_of(&self, rolling: &Rolling, arm: &str) -> u32 {
        if rolling.kind == Kind::Rollback {
            return self.capacity();
        }
        let stage = rolling.stage().copied().unwrap_or_default();
        let copies = if arm == rolling.to { stage.mirror } else { 0 };
        needed(self.target(rolling, arm).max(copies).max(stage.capacity), self.capacity())
    }

    /// The candidates that routers do not let go of (R5).
    fn evicted(&self) -> Vec<String> {
        let named: Vec<&String> = match &self.state.phase {
            Phase::Returning(r) if r.evicting => r.candidates().collect(),
            Phase::Rolling(r) => r.evicting.iter().collect(),
            _ => Vec::new(),
        };
        let goes = |r: &&&String| self.pods(r).existing > 0 && self.pin() != Some(r.as_str());
        named.iter().filter(goes).map(|r| (*r).clone()).collect()
    }

    /// Nothing is shrunk before every running router serves a table without it, nor while it has a share or
    /// a person's pin (R2, R4, R8). The one exception is a candidate that routers do not let go of (R5).
    fn linger(&self, traffic: &Traffic, pods: &mut BTreeMap<String, u32>) {
        let shares = &traffic.shares;
        let settled = self.observed.route.as_ref().is_some_and(|r| r.served) && self.gives(traffic);
        let evicted = self.evicted();
        for (revision, seen) in &self.observed.workloads {
            let kept = self.pin() == Some(revision)
                || (shares.contains_key(revision) && !pods.contains_key(revision));
            if evicted.contains(revision) {
                pods.insert(revision.clone(), 0);
            } else if (!settled || kept) && seen.replicas > 0 {
                let wanted = pods.entry(revision.clone()).or_insert(0);
                *wanted = (*wanted).max(seen.replicas);
            }
        }
    }

    fn summary(&self) -> Summary {
        match &self.state.phase {
            Phase::Returning(r) if r.undo.outcome == Outcome::Reported => Summary::Progressing,
            Phase::Returning(_) => Summary::RollingBack,
            Phase::Rolling(r) if r.missed => Summary::Degraded,
            Phase::Rolling(r) if r.kind == Kind::Rollback => Summary::RollingBack,
            Phase::Rolling(_) if self.halted().is_some() => Summary::Paused,
            Phase::Rolling(r) if r.from.is_none() && !(r.is_alone() && r.served.is_some()) => {
                Summary::Pending
            }
            Phase::Rolling(_) => Summary::Progressing,
            Phase::Idle | Phase::Watching(_) => self.at_rest(),
        }
    }

    fn at_rest(&self) -> Summary {
        let Some(stable) = &self.state.stable else { return self.at_rest_alone() };
        if self.pods(stable).ready == 0 {
            Summary::Degraded
        } else if self.wanted.names(stable) {
            Summary::Healthy
        } else if self.state.acted.as_ref() == Some(&self.wanted.intent()) {
            let reported = self.state.last.as_ref().is_some_and(|l| l.outcome == Outcome::Reported);
            if reported { Summary::Healthy } else { Summary::RolledBack }
        } else {
            // The spec waits: paused, or pinned.
            Summary::Paused
        }
    }

    fn sampling(&self) -> Option<Sampling> {
        let (key, since) = self.state.judged_stage()?;
        let (candidates, stable, stage) = match &self.state.phase {
            Phase::Rolling(r) => {
                (r.arms().cloned().collect(), r.from.clone(), r.stages.get(key.index).copied())
            }
            Phase::Watching(w) => (vec![self.state.stable.clone()?], Some(w.old.clone()), None),
            Phase::Idle | Phase::Returning(_) => return None,
        };
        let stage = stage.unwrap_or_default();
        let ends = match &self.state.phase {
            Phase::Watching(watch) => Some(self.wanted.kept_until(watch.since)),
            _ => None,
        };
        let draw = match stage {
            Stage { preview: true, .. } => Draw::Preview,
            Stage { mirror: 1.., .. } => Draw::Shadow,
            _ => Draw::Split,
        };
        let wanted = self.wanted.judged || self.wants_requests() || stage.until != Until::Passed;
        wanted.then_some(Sampling {
            key,
            since,
            candidates,
            stable,
            draw,
            accept: stage.accept,
            until: stage.until,
            ends,
        })
    }

    fn wants_requests(&self) -> bool {
        match &self.state.phase {
            Phase::Rolling(r) => r.stage().is_some_and(|s| s.min_requests > 0),
            _ => false,
        }
    }

    /// The next instant at which time alone changes something.
    fn check_again(&self) -> Option<Timestamp> {
        let kept = |since| self.wanted.kept_until(since);
        let mut times: Vec<Timestamp> = self.state.warm.iter().map(|w| kept(w.since)).collect();
        match &self.state.phase {
            Phase::Idle => {}
            Phase::Watching(w) => times.push(kept(w.since)),
            Phase::Returning(r) => times.push(later(r.since, PATIENCE)),
            Phase::Rolling(r) => {
                times.extend(r.blocked.map(|b| later(b, self.wanted.progress_deadline)));
                times.extend(r.blocked.filter(|_| r.kind == Kind::Rollback).map(|b| later(b, PATIENCE)));
                times.extend(r.since().zip(r.stage()).map(|(since, stage)| later(since, stage.hold)));
                times.extend(self.limit(r).filter(|_| !r.overdue && r.still.is_none()).map(|(at, _)| at));
            }
        }
        times.into_iter().filter(|t| *t > self.now).min()
    }
}
