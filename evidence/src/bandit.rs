//! A bandit: shares of several revisions that follow what their rewards say (Thompson sampling, in batches).
//!
//! Once per interval each arm's share becomes the probability that it is the best arm ([`probability_best`]),
//! within a floor, a ceiling and a largest step. A share depends on past rewards only, never on the requests
//! that it will split: sequential tests of harm stay valid beside it (`research/drift.md` §2.4, §4).
//!
//! Rewards count when they arrive. A request without a reward yet is pending: it is no failure, and is in no
//! number here. (If bad rewards come later than good ones, new arms look too good for a while: give rewards a
//! deadline where they are made.)

mod best;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use best::{Posterior, probability_best};
use shares::{Limits, fit};

/// Most arms of a bandit.
pub const MAX_ARMS: usize = 16;
/// Most rewards of one arm in one interval, so that the fixed-point sums of a state do not overflow.
const MAX_REWARDS: u64 = 1_000_000_000;
/// Counts are kept in millionths: whole numbers come back from JSON as they were, whatever parser reads them.
const PARTS: f64 = 1e6;

/// How a bandit allots traffic. Shares are whole numbers out of `total`: 100 for percent, 10,000 for slots.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandit {
    /// What all shares sum to, 100..=10,000.
    pub total: u32,
    /// Lowest share of an arm that is not removed; all floors together are at most `total`. What is never
    /// asked is never learned: 0 lets an arm starve.
    pub floor: u32,
    /// Highest share of an arm; `floor` at least, and all ceilings together `total` at least.
    pub ceiling: u32,
    /// Most by which a share changes in one interval, 1 at least.
    pub max_step: u32,
    /// After which a reward counts half; `None` if all count alike for ever.
    pub half_life: Option<HalfLife>,
    /// An arm that is the best with this probability leads, above 0.5 and below 1.
    ///
    /// This is a stopping rule and no test: over many intervals one of two equal arms reaches 0.95 often.
    /// What bounds false alarms is the guard rail (`removed` of [`BanditState::advance`]).
    pub stop_at: f64,
}

/// How fast rewards age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HalfLife {
    /// After so many further rewards of all arms together, above 0. Rewards that arrive in one interval are
    /// of the same age.
    Rewards(f64),
    /// After this time, above 0. It passes without rewards, too, and shows when the next one arrives.
    Time(SignedDuration),
}

/// The rewards of one arm that arrived in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Requests whose reward arrived, whenever they were sent; at most 1e9.
    pub trials: u64,
    /// Those of them whose reward was 1; at most `trials`.
    pub successes: u64,
}

/// Why a bandit cannot go on. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BanditError {
    /// A setting, or a number that was handed in, is out of its range.
    #[error("{field} is {found}, allowed: {allowed}")]
    Field {
        /// Which one.
        field: String,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: String,
    },
}

/// What must outlive the process. Below 1 KiB as JSON for 8 arms with names of up to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BanditState {
    stable: String,
    arms: BTreeMap<String, Arm>,
    /// When rewards arrived last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rewarded: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lead: Option<Lead>,
}

/// One arm's part of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Arm {
    share: u32,
    /// Discounted successes, in millionths.
    won: u64,
    /// Discounted failures, in millionths.
    lost: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// The arm that has been the best with probability `stop_at` without a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    /// Name of the arm.
    pub arm: String,
    /// Since when.
    pub since: Timestamp,
    /// Intervals with rewards for which it held, this one among them.
    pub intervals: u32,
}

/// What an interval changed.
#[derive(Debug, Clone, PartialEq)]
pub struct BanditReading {
    /// The next shares of all arms; removed ones have 0. They sum to `total`.
    pub shares: BTreeMap<String, u32>,
    /// The probability of being the best, of all arms that are not removed.
    pub best: BTreeMap<String, f64>,
    /// The posterior of each of them.
    pub posteriors: BTreeMap<String, Posterior>,
    /// Whether no reward arrived, so that nothing was learned or forgotten: shares change only if they are
    /// outside floor and ceiling, or an arm was removed.
    pub frozen: bool,
    /// Who leads. The bandit may stop when this has held for long enough.
    pub lead: Option<Lead>,
}

fn wrong<T>(field: &str, found: &impl ToString, allowed: &str) -> Result<T, BanditError> {
    let (field, found, allowed) = (field.to_owned(), found.to_string(), allowed.to_owned());
    Err(BanditError::Field { field, found, allowed })
}

impl Bandit {
    /// Checks every setting, for so many arms.
    ///
    /// # Errors
    /// Names the first one that is out of its range.
    pub fn check(&self, arms: usize) -> Result<(), BanditError> {
        if !(2..=MAX_ARMS).contains(&arms) {
            return wrong("number of arms", &arms, &format!("2..={MAX_ARMS}"));
        }
        let (n, total, floor, ceiling) = (arms as u32, self.total, self.floor, self.ceiling);
        if !(100..=10_000).contains(&total) {
            return wrong("total", &total, "100..=10000");
        }
        if floor > total / n {
            return wrong("floor", &floor, &format!("0..={} for {n} arms", total / n));
        }
        let least = floor.max(total.div_ceil(n));
        if !(least..=total).contains(&ceiling) {
            return wrong("ceiling", &ceiling, &format!("{least}..={total} for {n} arms"));
        }
        if !(1..=total).contains(&self.max_step) {
            return wrong("maxStep", &self.max_step, &format!("1..={total}"));
        }
        match self.half_life {
            Some(HalfLife::Rewards(n)) if !(n.is_finite() && n > 0.0) => {
                return wrong("halfLife", &n, "a number of rewards above 0");
            }
            Some(HalfLife::Time(time)) if time <= SignedDuration::ZERO => {
                return wrong("halfLife", &time, "a time above 0s");
            }
            _ => {}
        }
        if !(self.stop_at > 0.5 && self.stop_at < 1.0) {
            return wrong("stopAt", &self.stop_at, "above 0.5 and below 1");
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits { floor: self.floor, ceiling: self.ceiling, max_step: self.max_step }
    }

    /// The factor of what was known, when `rewards` arrive after `elapsed`.
    fn remaining(&self, rewards: u64, elapsed: SignedDuration) -> f64 {
        match self.half_life {
            None => 1.0,
            Some(HalfLife::Rewards(half)) => (-(rewards as f64) / half).exp2(),
            // A clock that was set back makes nothing younger.
            Some(HalfLife::Time(half)) => (-elapsed.as_secs_f64().max(0.0) / half.as_secs_f64()).exp2(),
        }
    }
}

impl BanditState {
    /// A bandit without rewards. `shares` names all arms, `stable` among them, and where they begin: with all
    /// traffic at stable, say. They sum to `total` of the settings.
    #[must_use]
    pub fn new(stable: &str, shares: BTreeMap<String, u32>) -> Self {
        let arms = shares.into_iter().map(|(name, share)| (name, Arm { share, ..Arm::default() }));
        Self { stable: stable.to_owned(), arms: arms.collect(), rewarded: None, lead: None }
    }

    /// The arms that it began with, stable among them.
    pub fn arms(&self) -> impl Iterator<Item = &str> {
        self.arms.keys().map(String::as_str)
    }

    /// Takes the rewards that arrived since the last call, by arm, and allots the traffic anew. Each reward
    /// may be handed in once. `removed` names the arms that were found to do harm: they get 0 at once, by no
    /// step, and for good, also if they are not named again. What they had goes to the others within their
    /// limits, and what these may not take to stable; without rewards in the same interval all of it goes to
    /// stable. Stable cannot be removed: once all others are, it has everything, whatever its ceiling.
    ///
    /// # Errors
    /// If a setting or a number is out of its range. The state is as before then.
    pub fn advance(
        &mut self,
        bandit: &Bandit,
        arrived: &BTreeMap<String, Arrived>,
        removed: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<BanditReading, BanditError> {
        self.check(bandit, arrived, removed)?;
        for name in removed {
            let arm = self.arms.get_mut(name).expect("check looked for it");
            *arm = Arm { removed: true, ..Arm::default() };
        }
        let frozen = !self.learn(bandit, arrived, now);
        let posteriors = self.posteriors();
        let best: Vec<f64> = probability_best(&posteriors.values().copied().collect::<Vec<_>>());
        self.allot(bandit, (!frozen).then_some(&best));
        let best: BTreeMap<String, f64> = posteriors.keys().cloned().zip(best).collect();
        self.note_lead(bandit, &best, frozen, now);
        let shares = self.arms.iter().map(|(name, arm)| (name.clone(), arm.share)).collect();
        Ok(BanditReading { shares, best, posteriors, frozen, lead: self.lead.clone() })
    }

    fn check(
        &self,
        bandit: &Bandit,
        arrived: &BTreeMap<String, Arrived>,
        removed: &BTreeSet<String>,
    ) -> Result<(), BanditError> {
        bandit.check(self.arms.len())?;
        let known = || self.arms.keys().cloned().collect::<Vec<_>>().join(", ");
        for name in arrived.keys().chain(removed).chain([&self.stable]) {
            if !self.arms.contains_key(name) {
                return wrong("arm", name, &known());
            }
        }
        if removed.contains(&self.stable) {
            return wrong("removed arm", &self.stable, "any but stable");
        }
        let sum: u64 = self.arms.values().map(|arm| u64::from(arm.share)).sum();
        if sum != u64::from(bandit.total) {
            return wrong("sum of shares", &sum, &format!("{} (total)", bandit.total));
        }
        for (name, Arrived { trials, successes }) in arrived {
            if *trials > MAX_REWARDS {
                return wrong(&format!("trials of {name}"), trials, &format!("0..={MAX_REWARDS}"));
            }
            if successes > trials {
                return wrong(&format!("successes of {name}"), successes, &format!("0..={trials} (trials)"));
            }
        }
        Ok(())
    }

    /// Whether there was anything to learn.
    fn learn(&mut self, bandit: &Bandit, arrived: &BTreeMap<String, Arrived>, now: Timestamp) -> bool {
        // Late rewards of removed arms age nothing.
        let of = |name: &String| arrived.get(name).copied().unwrap_or_default();
        let rewards = self.arms.iter().filter(|(_, arm)| !arm.removed).map(|(name, _)| of(name).trials).sum();
        if rewards == 0 {
            return false;
        }
        let elapsed = self.rewarded.map_or(SignedDuration::ZERO, |last| now.duration_since(last));
        let remaining = bandit.remaining(rewards, elapsed);
        let add = |sum: &mut u64, count: u64| {
            *sum = (*sum as f64 * remaining).round() as u64;
            *sum = sum.saturating_add(count * PARTS as u64);
        };
        for (name, arm) in self.arms.iter_mut().filter(|(_, arm)| !arm.removed) {
            let Arrived { trials, successes } = of(name);
            add(&mut arm.won, successes);
            add(&mut arm.lost, trials - successes);
        }
        self.rewarded = Some(now);
        true
    }

    /// One success and one failure before the first reward: every chance is equally likely.
    fn posteriors(&self) -> BTreeMap<String, Posterior> {
        let of = |sum: u64| 1.0 + sum as f64 / PARTS;
        let posterior = |arm: &Arm| Posterior { alpha: of(arm.won), beta: of(arm.lost) };
        self.remaining_arms().map(|(name, arm)| (name.clone(), posterior(arm))).collect()
    }

    fn remaining_arms(&self) -> impl Iterator<Item = (&String, &Arm)> {
        self.arms.iter().filter(|(_, arm)| !arm.removed)
    }

    /// Sets the shares; without `best` they stay, and stable takes what was freed.
    fn allot(&mut self, bandit: &Bandit, best: Option<&Vec<f64>>) {
        let previous: Vec<u32> = self.remaining_arms().map(|(_, arm)| arm.share).collect();
        let stable = self.remaining_arms().position(|(name, _)| *name == self.stable);
        let stable = stable.expect("check looked for it");
        let stay = || {
            let mut targets: Vec<f64> = previous.iter().map(|s| f64::from(*s)).collect();
            targets[stable] += f64::from(bandit.total - previous.iter().sum::<u32>());
            targets.iter().map(|t| t / f64::from(bandit.total)).collect()
        };
        let targets = best.cloned().unwrap_or_else(stay);
        let shares = fit(&targets, &previous, stable, bandit.limits(), bandit.total);
        for (arm, share) in self.arms.values_mut().filter(|arm| !arm.removed).zip(shares) {
            arm.share = share;
        }
    }

    fn note_lead(&mut self, bandit: &Bandit, best: &BTreeMap<String, f64>, frozen: bool, now: Timestamp) {
        let leader = best.iter().find(|(_, p)| **p >= bandit.stop_at).map(|(name, _)| name);
        let Some(leader) = leader else {
            self.lead = None;
            return;
        };
        match &mut self.lead {
            Some(lead) if lead.arm == *leader => lead.intervals += u32::from(!frozen),
            lead => *lead = Some(Lead { arm: leader.clone(), since: now, intervals: 1 }),
        }
    }
}
