//! A bandit whose rewards are counted by routers, in percent.

use std::collections::{BTreeMap, BTreeSet};

use super::Measure;
use crate::text::number;
use crate::{Arrived, Bandit, BanditError, BanditReading, BanditState, HalfLife, Lead, Share};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Intervals with rewards for which an arm must lead before it wins: one lucky interval is not enough.
pub const HELD: u32 = 10;

/// All shares together.
const PERCENT: u32 = 100;

/// How shares follow rewards ([`Bandit`]).
///
/// With each interval shares change, and with them the state of the route table; rewards of all states count alike, so
/// sample them with [`crate::Arms`] that have them all, beside those of the tests, which need one split per interval
/// ([`crate::Baselines::rounds`]). A failure that is counted late makes a new arm look good for so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewards {
    /// What an arm is rewarded for, once per request, also under sticky routing.
    pub measure: Measure,
    /// Lowest share of an arm in percent; all together at most 100.
    pub floor: u32,
    /// Most by which a share changes in one interval, in percent, 1 at least.
    pub max_step: u32,
    /// After which time a reward counts half; `None` if all count alike.
    pub half_life: Option<SignedDuration>,
    /// An arm that is the best with this probability leads, above 0.5 and below 1; it wins after [`HELD`] intervals. A
    /// stopping rule and no test: one of two equal arms may win, and nothing is lost by that.
    pub stop_at: f64,
}

/// The shares of the next interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Allotted {
    /// In percent, of all arms; removed ones have 0. They sum to 100.
    pub shares: BTreeMap<String, u32>,
    /// The probability of being the best, of all arms that are not removed.
    pub best: BTreeMap<String, f64>,
    /// Who leads.
    pub lead: Option<Lead>,
    /// Who has led for long enough; it may be stable.
    pub winner: Option<String>,
    /// Whether no reward arrived, so that shares stay as they are.
    pub frozen: bool,
    /// One sentence for people.
    pub reason: String,
}

impl Rewards {
    fn bandit(&self) -> Bandit {
        Bandit {
            total: PERCENT,
            floor: self.floor,
            ceiling: PERCENT,
            max_step: self.max_step,
            half_life: self.half_life.map(HalfLife::Time),
            stop_at: self.stop_at,
        }
    }

    /// Checks every setting, for so many arms.
    ///
    /// # Errors
    /// Names the first one that is out of its range.
    pub fn check(&self, arms: usize) -> Result<(), BanditError> {
        self.bandit().check(arms)
    }

    /// Takes what arms earned in an interval ([`Measure::of`]), once, and sets the next shares. An arm that is not named
    /// earned nothing; `removed` ones get nothing from now on ([`BanditState::advance`]). `state` begins as
    /// [`BanditState::new`] with shares that sum to 100.
    ///
    /// # Errors
    /// If a setting or a number is out of its range, or an arm unknown. The state is as before then.
    pub fn advance(
        &self,
        state: &mut BanditState,
        earned: &BTreeMap<String, Share>,
        removed: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Allotted, BanditError> {
        let reward = |share: &Share| Arrived { trials: share.trials, successes: share.events };
        let arrived = earned.iter().map(|(arm, share)| (arm.clone(), reward(share))).collect();
        let found = state.advance(&self.bandit(), &arrived, removed, now)?;
        let reason = self.reason(&found);
        let BanditReading { shares, best, frozen, lead, .. } = found;
        let winner = lead.as_ref().filter(|lead| lead.intervals >= HELD).map(|lead| lead.arm.clone());
        Ok(Allotted { shares, best, lead, winner, frozen, reason })
    }

    fn reason(&self, found: &BanditReading) -> String {
        let measure = self.measure.as_str();
        let arms: Vec<String> = found
            .best
            .iter()
            .map(|(arm, p)| format!("{arm} {} % (best with probability {})", found.shares[arm], number(*p)))
            .collect();
        let lead = found.lead.as_ref().map(|lead| {
            let arm = &lead.arm;
            match lead.intervals {
                n if n >= HELD => format!("; {arm} wins: it has led for {n} intervals"),
                n => format!("; {arm} leads for {n} of {HELD} intervals"),
            }
        });
        let what = match (found.frozen, self.measure) {
            (true, Measure::Accuracy) => {
                format!("{measure}: no label arrived, shares stay")
            }
            (true, _) => format!("{measure}: no request was counted, shares stay"),
            (false, _) => format!("shares follow the {measure}"),
        };
        format!("{what}: {}{}", arms.join(", "), lead.unwrap_or_default())
    }
}
