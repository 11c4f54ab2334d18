//! The shares of a bandit, from what its arms counted.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Allotted, BanditState, Rewards};
use jiff::Timestamp;
use rollout::{Allotment, Sampling};
use wire::{Counts, RouteState};

/// States of the route whose rewards may still arrive: a router's page keeps the last two of them anyway.
const STATES: usize = 8;

/// What is known of a bandit in its stage.
#[derive(Debug)]
pub(super) struct Bandit {
    state: BanditState,
    /// States of the route since the stage began. Shares change from one to the next; a reward counts under all.
    states: Vec<RouteState>,
    /// Of the newest round.
    newest: Option<(Timestamp, Allotted)>,
}

impl Bandit {
    /// Goes on from what was persisted, or begins with each candidate at the floor.
    pub(super) fn new(rewards: &Rewards, sampling: &Sampling, known: Option<BanditState>) -> Self {
        let fresh = || {
            let floors = sampling.candidates.iter().map(|name| (name.clone(), rewards.floor));
            let mut shares: BTreeMap<String, u32> = floors.collect();
            let given: u32 = shares.values().sum();
            shares.insert(sampling.stable.clone(), 100_u32.saturating_sub(given));
            BanditState::new(&sampling.stable, shares)
        };
        Self { state: known.unwrap_or_else(fresh), states: Vec::new(), newest: None }
    }

    pub(super) fn follow(&mut self, route: Option<&RouteState>) {
        if let Some(route) = route.filter(|route| !self.states.contains(route)) {
            self.states.push(route.clone());
            let surplus = self.states.len().saturating_sub(STATES);
            self.states.drain(..surplus);
        }
    }

    pub(super) fn states(&self) -> &[RouteState] {
        &self.states
    }

    pub(super) fn state(&self) -> &BanditState {
        &self.state
    }

    /// Takes what each arm counted in an interval, stable too.
    pub(super) fn round(
        &mut self,
        rewards: &Rewards,
        sampling: &Sampling,
        counts: &BTreeMap<String, Counts>,
        at: Timestamp,
    ) {
        let is_arm =
            |name: &&str| sampling.stable != **name && !sampling.candidates.iter().any(|c| c == *name);
        let removed: BTreeSet<String> = self.state.arms().filter(is_arm).map(str::to_owned).collect();
        match rewards.advance(&mut self.state, counts, &removed, at) {
            Ok(allotted) => self.newest = Some((at, allotted)),
            // Without an allotment the shares stay as they are.
            Err(error) => tracing::error!(%error, rollout = sampling.key.sequence, "a bandit cannot go on"),
        }
    }

    /// What a decision needs.
    pub(super) fn allotment(&self, sampling: &Sampling) -> Option<Allotment> {
        let (at, allotted) = self.newest.as_ref()?;
        let percent = |share: u32| u8::try_from(share).unwrap_or(100);
        let shares = allotted.shares.iter().filter(|(name, _)| sampling.candidates.contains(name));
        Some(Allotment {
            key: sampling.key,
            at: *at,
            shares: shares.map(|(name, share)| (name.clone(), percent(*share))).collect(),
            best: allotted.winner.clone(),
            reason: allotted.reason.clone(),
        })
    }
}
