//! Evidence by slots, for sticky routing (C5).
//!
//! Under sticky routing users are drawn for an arm, not requests, and whose user fails often fails again. So a
//! slot counts once: an event is the *first* error (slow answer, unsure answer) of a slot in the rollout.
//!
//! The pages cannot say which slots were asked in an interval, since what they show only grows. They need not.
//! **At risk are all slots of an arm that had no event before**, asked or not:
//!
//! - The salted hash puts users into slots, so which slots are the candidate's is as good as drawn by lot. If
//!   the candidate is just like stable, then when a slot has its first event does not depend on whose it is. The slots that
//!   have theirs in an interval are then a draw by lot from those at risk: given what was counted before, x is
//!   hypergeometric with n of n + n_stable. That is the argument of the log-rank test (Mantel, Cancer Chemother. Rep. 50 (1966)
//!   163), and it holds exactly and whatever differs between users.
//! - It holds on a ramp, too: slots that move from stable to the candidate were stable's by lot, and bring along
//!   whether they had an event. One that had leaves both arms for good.
//! - Slots at risk "among those seen so far" would break it: those that come in first are the busy ones, and
//!   once the share of the candidate in them is known, later events are no longer a draw from all. Whether
//!   users come back may also be due to the model.
//!
//! **The split is n / (n + n_stable)**, as if each event hit the candidate with that probability. For a harmless
//! candidate that is conservative: a draw without replacement is less spread than one with replacement in every convex
//! function (Hoeffding, J. Am. Stat. Assoc. 58 (1963) 13, theorem 4), and what a test bets, `a^x b^x_stable`, is convex
//! in x. It stays so with a tolerance r >= 1 on the *ratio of risks*, whatever differs between slots: let
//! each slot that would have an event with the candidate have one with stable with probability 1/r or more;
//! given the former the candidate's x is hypergeometric, and the bet's mean over stable's coins is again
//! convex in x. And a tolerance on requests is one on slots, since 1 - (1 - r p)^k <= r (1 - (1 - p)^k). The *odds* of a slot do not
//! have this property: of 100 requests that fail with 2 % or 2.2 %, one fails with odds of 6.5 or 8.3.
//!
//! Both hold given that the candidate has been like stable so far. After a time in which it was better, more of its slots
//! are still at risk that will have an event some day, and once it is as stable again it looks worse than it is: by as much
//! less as it looked better before, so that E, which has fallen, is not expected to rise above where it began.
//! That is not proven here for shares that fall.
//!
//! Slow and unsure answers need an answer. Where an arm fails, its slots are asked as often and answered less, so they
//! are weighed by the part of their requests that was answered ([`Stratum::by_units`]).
//!
//! What is lost: a slot speaks once. When most slots have had their event there is little left to learn; a
//! test that begins anew with an empty [`SlotState`] and a level of its own (J3) has all of them again.
//!
//! Pages that repeat, reset and get lost (C4): whatever was on any page before an interval, or on one that is
//! only a baseline, is an earlier event ([`SlotRound::earlier`]), and is never counted.

mod once;
mod round;

use serde::{Deserialize, Serialize};
use wire::{SlotSet, Slots};

use crate::Stratum;

pub(crate) use once::Once;
pub(crate) use round::Shown;
pub use round::SlotRound;

/// From which cell on an answer is an event. `None`: not known yet, or not tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotThresholds {
    /// First slow cells of [`wire::Grid::Seconds`]: the candidate's and stable's.
    pub latency: Option<(usize, usize)>,
    /// First unsure cells of [`wire::Grid::Doubt`]: the candidate's and stable's.
    pub doubt: Option<(usize, usize)>,
}

/// What one interval says, by slots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotStrata {
    /// First errors (C2).
    pub errors: Stratum,
    /// First slow answers; `None` without a threshold.
    pub latency: Option<Stratum>,
    /// First unsure answers; `None` without a threshold.
    pub low_confidence: Option<Stratum>,
}

/// The slots of a rollout that had their first event: 1.7 KiB per kind as JSON, nothing while there is none.
/// One state for one test, from the start of both: the arms may change hands meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotState {
    #[serde(default, skip_serializing_if = "SlotSet::is_empty")]
    failed: SlotSet,
    #[serde(default, skip_serializing_if = "SlotSet::is_empty")]
    slow: SlotSet,
    #[serde(default, skip_serializing_if = "SlotSet::is_empty")]
    unsure: SlotSet,
}

impl SlotState {
    /// Takes a round of pages, in order. The same round again finds nothing new.
    pub fn observe(&mut self, round: &SlotRound, thresholds: &SlotThresholds) -> SlotStrata {
        let arms = Arms::of(round);
        let by_arm = |slots: &Slots, (ours, theirs): (usize, usize), from: fn(&Slots, usize) -> SlotSet| {
            let mut set = from(slots, ours).and(&arms.candidate);
            set.add(&from(slots, theirs).and(&arms.stable));
            set
        };
        SlotStrata {
            errors: arms.take(&mut self.failed, round, |slots| slots.failed().clone()),
            latency: thresholds.latency.map(|cells| {
                arms.take(&mut self.slow, round, |slots| by_arm(slots, cells, Slots::slow_from))
            }),
            low_confidence: thresholds.doubt.map(|cells| {
                arms.take(&mut self.unsure, round, |slots| by_arm(slots, cells, Slots::unsure_from))
            }),
        }
    }
}

/// Whose slots are compared.
struct Arms {
    candidate: SlotSet,
    stable: SlotSet,
}

impl Arms {
    fn of(round: &SlotRound) -> Self {
        let [candidate, stable] = round.apart();
        Self { candidate, stable }
    }

    fn take(&self, had: &mut SlotSet, round: &SlotRound, events: impl Fn(&Slots) -> SlotSet) -> Stratum {
        // rule: C4, C5
        had.add(&events(&round.earlier));
        let now = events(&round.now).without(had);
        let (at_risk, at_risk_stable) = (self.candidate.without(had), self.stable.without(had));
        had.add(&now);
        let (n, n_stable) = (at_risk.len(), at_risk_stable.len());
        let (x, x_stable) = (now.and(&at_risk).len(), now.and(&at_risk_stable).len());
        Stratum { x, n, x_stable, n_stable, split: None }.by_units()
    }
}
