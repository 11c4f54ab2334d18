//! The desired workloads and shares of a state: everything below is derived, nothing is remembered.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::returning::PATIENCE;
use super::{Turn, later};
use crate::{Kind, Phase, Plan, Rolling, RoutePlan, Sampling, Shares, Summary, Workload};

/// Pods for a share of traffic: as many as the share of `replicas`, rounded up, at least one.
pub(super) fn needed(weight: u8, replicas: u32) -> u32 {
    (replicas * u32::from(weight)).div_ceil(100).max(1)
}

impl Turn<'_> {
    pub(super) fn into_plan(self) -> Plan {
        let shares = self.shares();
        let workloads = self.workloads(&shares);
        Plan {
            evict: self.evicted().cloned(),
            summary: self.summary(),
            sampling: self.sampling(),
            check_again: self.check_again(),
            route: self.route(shares, &workloads),
            workloads,
            notes: self.notes,
            state: self.state,
        }
    }

    fn route(&self, mut shares: Shares, workloads: &BTreeMap<String, Workload>) -> RoutePlan {
        // Revisions with pods are in the table, so that a pin can name them.
        for revision in workloads.keys() {
            shares.entry(revision.clone()).or_insert(0);
        }
        let undo = match &self.state.phase {
            Phase::Returning(r) => Some(r.undo.clone()),
            Phase::Rolling(r) => r.undo.clone(),
            _ => None,
        };
        RoutePlan { shares, stable: self.state.stable.clone(), salt: self.salt(), undo }
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

    /// Shares with zeros left out.
    fn shares(&self) -> Shares {
        match &self.state.phase {
            Phase::Idle | Phase::Returning(_) => self.stable_only(),
            Phase::Watching(w) => self.split(self.state.stable.as_ref(), &w.old, self.holdback(&w.old)),
            Phase::Rolling(rolling) => {
                let target = self.target(rolling);
                let seen = self.earned(rolling);
                // Down at once; up only when nothing speaks against it.
                let weight = if target <= seen || self.may_raise(rolling) { target } else { seen };
                self.shares_of(rolling, weight)
            }
        }
    }

    /// What the present stage shall give to the new revision.
    pub(super) fn target(&self, rolling: &Rolling) -> u8 {
        match rolling.stage() {
            Some(stage) => stage.weight,
            None if self.watches(rolling) => 100 - self.wanted.holdback,
            None => 100,
        }
    }

    fn may_raise(&self, rolling: &Rolling) -> bool {
        let route = self.observed.route.as_ref();
        // A person's or a breach's way back is not held up by a pause.
        let free = rolling.kind == Kind::Rollback || self.halted().is_none();
        // rule: R3. The new salt is written first, while stable has everything.
        free && route.is_some_and(|r| r.salt == self.salt()) && self.not_ready(rolling).is_none()
    }

    /// The old revision's share after a promotion; an edited one is not raised onto a revision without pods.
    fn holdback(&self, old: &str) -> u8 {
        let seen = self.weight_of(old);
        let may_raise = self.halted().is_none() && self.pods(old).ready > 0;
        if self.wanted.holdback <= seen || may_raise { self.wanted.holdback } else { seen }
    }

    /// The share that the new revision has by this rollout. One from before, such as a holdback, does not
    /// count: it ends when the rollout begins (I4).
    fn earned(&self, rolling: &Rolling) -> u8 {
        let ours = self.observed.route.as_ref().is_some_and(|r| r.salt == self.salt());
        if ours { self.weight_of(&rolling.to) } else { 0 }
    }

    /// Whether the route gives the stage's share already.
    pub(super) fn granted(&self, rolling: &Rolling) -> bool {
        self.earned(rolling) == self.target(rolling)
    }

    pub(super) fn weight_of(&self, revision: &str) -> u8 {
        self.observed.route.as_ref().and_then(|r| r.shares.get(revision)).copied().unwrap_or(0)
    }

    /// The shares when the new revision has `weight`.
    pub(super) fn shares_of(&self, rolling: &Rolling, weight: u8) -> Shares {
        match &rolling.from {
            Some(from) => self.split(Some(&rolling.to), from, 100 - weight),
            None if weight > 0 => Shares::from([(rolling.to.clone(), 100)]),
            None => self.stable_only(),
        }
    }

    /// Stable has everything. Without a stable, whoever answers users by now goes on: a first deployment may
    /// be replaced after its share was granted.
    pub(super) fn stable_only(&self) -> Shares {
        match (&self.state.stable, &self.observed.route) {
            (Some(stable), _) => Shares::from([(stable.clone(), 100)]),
            (None, Some(route)) => route.shares.clone(),
            (None, None) => Shares::new(),
        }
    }

    /// Pods for all users.
    pub(super) fn capacity(&self) -> u32 {
        match self.state.phase {
            Phase::Idle => self.wanted.replicas,
            _ => self.wanted.replicas.max(self.state.floor),
        }
    }

    fn split(&self, main: Option<&String>, other: &str, percent: u8) -> Shares {
        let mut shares = Shares::new();
        if percent > 0 {
            shares.insert(other.to_owned(), percent);
        }
        if let Some(main) = main.filter(|_| percent < 100) {
            shares.insert(main.clone(), 100 - percent);
        }
        shares
    }

    fn workloads(&self, shares: &Shares) -> BTreeMap<String, Workload> {
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
                pods.insert(r.to.clone(), self.pods_of(r));
            }
        }
        if let Some(stable) = &self.state.stable {
            // rule: R4
            pods.insert(stable.clone(), full);
        }
        self.linger(shares, &mut pods);
        pods.into_iter().map(|(revision, replicas)| (revision, Workload { replicas })).collect()
    }

    fn pods_of(&self, rolling: &Rolling) -> u32 {
        match rolling.kind {
            Kind::Rollout => needed(self.target(rolling), self.capacity()),
            Kind::Rollback => self.capacity(),
        }
    }

    /// The candidate that routers do not let go of (R5).
    fn evicted(&self) -> Option<&String> {
        match &self.state.phase {
            Phase::Returning(r) if r.evicting => Some(&r.candidate),
            Phase::Rolling(r) => r.evicting.as_ref(),
            _ => None,
        }
        .filter(|candidate| self.pods(candidate).existing > 0 && self.pin() != Some(candidate.as_str()))
    }

    /// Nothing is shrunk before every running router serves a table without it, nor while it has a share or
    /// a person's pin (R2, R4, R8). The one exception is a candidate that routers do not let go of (R5).
    fn linger(&self, shares: &Shares, pods: &mut BTreeMap<String, u32>) {
        let route = self.observed.route.as_ref();
        let settled = route.is_some_and(|r| r.served && r.shares == *shares);
        let evicted = self.evicted();
        for (revision, seen) in &self.observed.workloads {
            let kept = self.pin() == Some(revision)
                || (shares.contains_key(revision) && !pods.contains_key(revision));
            if Some(revision) == evicted {
                pods.insert(revision.clone(), 0);
            } else if (!settled || kept) && seen.replicas > 0 {
                let wanted = pods.entry(revision.clone()).or_insert(0);
                *wanted = (*wanted).max(seen.replicas);
            }
        }
    }

    fn summary(&self) -> Summary {
        match &self.state.phase {
            Phase::Returning(_) => Summary::RollingBack,
            Phase::Rolling(r) if r.missed => Summary::Degraded,
            Phase::Rolling(r) if r.kind == Kind::Rollback => Summary::RollingBack,
            Phase::Rolling(_) if self.halted().is_some() => Summary::Paused,
            Phase::Rolling(r) if r.from.is_none() => Summary::Pending,
            Phase::Rolling(_) => Summary::Progressing,
            Phase::Idle | Phase::Watching(_) => self.at_rest(),
        }
    }

    fn at_rest(&self) -> Summary {
        let Some(stable) = &self.state.stable else { return Summary::Pending };
        let wanted = &self.wanted.revision;
        if self.pods(stable).ready == 0 {
            Summary::Degraded
        } else if stable == wanted {
            Summary::Healthy
        } else if self.state.acted.as_ref() == Some(wanted) {
            Summary::RolledBack
        } else {
            // The spec waits: paused, or pinned.
            Summary::Paused
        }
    }

    fn sampling(&self) -> Option<Sampling> {
        let (key, since) = self.state.judged_stage()?;
        let (candidate, stable) = match &self.state.phase {
            Phase::Rolling(r) => (r.to.clone(), r.from.clone()?),
            Phase::Watching(w) => (self.state.stable.clone()?, w.old.clone()),
            Phase::Idle | Phase::Returning(_) => return None,
        };
        let wanted = self.wanted.judged || self.wants_requests();
        wanted.then_some(Sampling { key, since, candidate, stable })
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
            }
        }
        times.into_iter().filter(|t| *t > self.now).min()
    }
}
