//! The shares of a bandit, from what its arms counted.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Allotted, BanditState, Rewards, Share};
use jiff::Timestamp;
use rollout::{Allotment, Sampling};
use wire::RouteState;

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
    pub(super) fn new(
        rewards: &Rewards,
        stable: &str,
        sampling: &Sampling,
        known: Option<BanditState>,
    ) -> Self {
        let fresh = || {
            let floors = sampling.candidates.iter().map(|name| (name.clone(), rewards.floor));
            let mut shares: BTreeMap<String, u32> = floors.collect();
            let given: u32 = shares.values().sum();
            shares.insert(stable.to_owned(), 100_u32.saturating_sub(given));
            BanditState::new(stable, shares)
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

    /// Takes what each arm earned in an interval, stable too.
    pub(super) fn round(
        &mut self,
        rewards: &Rewards,
        sampling: &Sampling,
        earned: &BTreeMap<String, Share>,
        at: Timestamp,
    ) {
        let is_gone = |name: &&str| {
            sampling.stable.as_deref() != Some(*name) && !sampling.candidates.iter().any(|c| c == name)
        };
        let removed: BTreeSet<String> = self.state.arms().filter(is_gone).map(str::to_owned).collect();
        match rewards.advance(&mut self.state, earned, &removed, at) {
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

#[cfg(test)]
mod tests {
    use evidence::{Draw, Measure};
    use jiff::SignedDuration;
    use rollout::{StageKey, Until};

    use super::*;

    const REWARDS: Rewards =
        Rewards { measure: Measure::SuccessRate, floor: 5, max_step: 20, half_life: None, stop_at: 0.95 };

    fn sampling(candidates: &[&str]) -> Sampling {
        Sampling {
            key: StageKey { sequence: 2, index: 0 },
            since: Timestamp::UNIX_EPOCH,
            candidates: candidates.iter().map(|c| (*c).to_owned()).collect(),
            stable: Some("a".into()),
            draw: Draw::Split,
            accept: false,
            until: Until::Best,
            ends: None,
        }
    }

    #[test]
    fn shares_follow_the_rewards_and_stay_without_any() {
        let all = sampling(&["b", "c"]);
        let mut bandit = Bandit::new(&REWARDS, "a", &all, None);
        let at = |n| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(n);
        let rewards = BTreeMap::from([
            ("a".to_owned(), Share::new(900, 1_000)),
            ("b".to_owned(), Share::new(50, 50)),
            ("c".to_owned(), Share::new(25, 50)),
        ]);
        bandit.round(&REWARDS, &all, &rewards, at(1));
        let first = bandit.allotment(&all).unwrap();
        assert!(
            first.shares["b"] > 5 && first.shares["b"] <= 25,
            "one step towards the better one: {first:?}"
        );
        assert_eq!((first.shares["c"], first.best), (5, None), "never below the floor");
        bandit.round(&REWARDS, &all, &BTreeMap::new(), at(2));
        let frozen = bandit.allotment(&all).unwrap();
        assert_eq!(frozen.shares, first.shares, "{}", frozen.reason);

        // c was dropped: it gets nothing, and what was learned of the others stays after a restart.
        let two = sampling(&["b"]);
        let mut bandit = Bandit::new(&REWARDS, "a", &two, Some(bandit.state().clone()));
        bandit.round(&REWARDS, &two, &rewards, at(3));
        let last = bandit.allotment(&two).unwrap();
        assert_eq!(last.shares.keys().collect::<Vec<_>>(), ["b"]);
        assert!(last.shares["b"] > first.shares["b"], "{last:?}");
    }
}
