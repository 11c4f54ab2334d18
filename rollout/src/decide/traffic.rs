//! What the table gives to candidates: shares, copies, and whoever asks for them.

use super::Turn;
use crate::{Kind, Mirror, Phase, Rolling, Shares, Until};

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    /// Percent per revision, zeros left out.
    pub(super) shares: Shares,
    pub(super) mirror: Option<Mirror>,
    /// Who is matched and targeted.
    pub(super) candidate: Option<String>,
}

impl Traffic {
    fn split(shares: Shares) -> Self {
        Self { shares, ..Self::default() }
    }
}

impl Turn<'_> {
    /// Where requests shall go now.
    pub(super) fn traffic(&self) -> Traffic {
        match &self.state.phase {
            Phase::Idle | Phase::Returning(_) => self.back(),
            Phase::Watching(w) => {
                Traffic::split(self.split(self.state.stable.as_ref(), &w.old, self.holdback(&w.old)))
            }
            Phase::Rolling(rolling) if self.may_raise(rolling) => self.traffic_of(rolling),
            // Down at once; up only when nothing speaks against it.
            Phase::Rolling(rolling) => self.at_most_as_seen(rolling),
        }
    }

    /// Where requests go while no candidate is on its way.
    pub(super) fn back(&self) -> Traffic {
        Traffic::split(self.stable_only())
    }

    /// What the present stage shall give.
    pub(super) fn traffic_of(&self, rolling: &Rolling) -> Traffic {
        let shares = self.shares_of(rolling, &self.targets(rolling));
        let Some(stage) = rolling.stage() else { return Traffic::split(shares) };
        let mirror = (stage.mirror > 0)
            .then(|| Mirror { revision: rolling.to.clone(), percent: stage.mirror.min(100) });
        // Whoever gets only copies answers nobody, asked for or not.
        let candidate = rolling.from.as_ref().map(|_| rolling.to.clone());
        Traffic { shares, mirror, candidate }
    }

    fn at_most_as_seen(&self, rolling: &Rolling) -> Traffic {
        let mut kept = self.targets(rolling);
        kept.iter_mut().for_each(|(arm, target)| *target = (*target).min(self.earned(arm)));
        // What is not to be raised is not to be lowered either, unless the stage says less.
        for arm in rolling.arms() {
            kept.entry(arm.clone()).or_insert(0);
        }
        let ours = self.observed.route.as_ref().filter(|_| self.is_ours());
        let mirror = ours.and_then(|r| r.mirror.clone()).filter(|m| m.revision == rolling.to);
        let candidate = ours.and_then(|r| r.candidate.clone()).filter(|c| *c == rolling.to);
        Traffic { shares: self.shares_of(rolling, &kept), mirror, candidate }
    }

    /// Percent that the present stage shall give to each candidate; the others are left out.
    pub(super) fn targets(&self, rolling: &Rolling) -> Shares {
        let Some(stage) = rolling.stage() else {
            let kept = if self.watches(rolling) { self.wanted.holdback } else { 0 };
            return Shares::from([(rolling.to.clone(), 100 - kept)]);
        };
        let moved = rolling.shares.as_ref().filter(|_| stage.until == Until::Best);
        let share = |arm: &String| moved.map_or(stage.weight, |shares| shares.get(arm).copied().unwrap_or(0));
        let all = rolling.arms().map(|arm| (arm.clone(), share(arm)));
        let all: Shares = all.filter(|(_, share)| *share > 0).collect();
        // Stable has the rest. A sum beyond all that there is would be no sum of shares.
        if all.values().map(|s| u32::from(*s)).sum::<u32>() <= 100 { all } else { Shares::new() }
    }

    /// What the present stage shall give to this candidate.
    pub(super) fn target(&self, rolling: &Rolling, arm: &str) -> u8 {
        self.targets(rolling).get(arm).copied().unwrap_or(0)
    }

    fn may_raise(&self, rolling: &Rolling) -> bool {
        // A person's or a breach's way back is not held up by a pause.
        let free = rolling.kind == Kind::Rollback || self.halted().is_none();
        // rule: R3. The new salt is written first, while stable has everything.
        free && self.is_ours() && self.not_ready(rolling).is_none()
    }

    /// The old revision's share after a promotion; an edited one is not raised onto a revision without pods.
    fn holdback(&self, old: &str) -> u8 {
        let seen = self.weight_of(old);
        let may_raise = self.halted().is_none() && self.pods(old).ready > 0;
        if self.wanted.holdback <= seen || may_raise { self.wanted.holdback } else { seen }
    }

    /// The share that a candidate has by this rollout. One from before, such as a holdback, does not count: it
    /// ends when the rollout begins (I4).
    fn earned(&self, arm: &str) -> u8 {
        if self.is_ours() { self.weight_of(arm) } else { 0 }
    }

    /// Whether the table was written by the rollout that runs.
    pub(super) fn is_ours(&self) -> bool {
        self.observed.route.as_ref().is_some_and(|r| r.salt == self.salt())
    }

    /// Whether the route gives the stage's traffic already.
    pub(super) fn granted(&self, rolling: &Rolling) -> bool {
        self.is_ours() && self.gives(&self.traffic_of(rolling))
    }

    /// Whether the route gives this.
    pub(super) fn gives(&self, traffic: &Traffic) -> bool {
        self.observed.route.as_ref().is_some_and(|route| {
            route.shares == traffic.shares
                && route.mirror == traffic.mirror
                && route.candidate == traffic.candidate
        })
    }

    pub(super) fn weight_of(&self, revision: &str) -> u8 {
        self.observed.route.as_ref().and_then(|r| r.shares.get(revision)).copied().unwrap_or(0)
    }

    /// The shares of all when the candidates have these.
    fn shares_of(&self, rolling: &Rolling, candidates: &Shares) -> Shares {
        let given: u8 = candidates.values().sum();
        match &rolling.from {
            Some(from) => {
                let mut shares = candidates.clone();
                shares.insert(from.clone(), 100 - given);
                shares.retain(|_, share| *share > 0);
                shares
            }
            None if given > 0 => Shares::from([(rolling.to.clone(), 100)]),
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
}
