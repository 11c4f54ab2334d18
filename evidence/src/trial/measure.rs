//! By what arms are compared.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use wire::{Counts, Grid, SlotSet};

use crate::{Share, SlotRound};

/// By what arms are compared, and rewarded: a share of units, more or less of which is better.
///
/// The unit is what is drawn: the request, whatever became of it, or under sticky routing the slot. So an arm that
/// fails has no fewer units, only fewer good ones; a share of the *answers* would compare what was never drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Requests that were answered well: all but overload, error, timeout, connect and fallback (C2). Slots of which
    /// all were.
    SuccessRate,
    /// Requests that were answered with a confidence of 0.9 or more; on the grid, 0.907. Slots of which all were. A
    /// server that says no confidence has none.
    HighConfidence,
    /// Answers that were right, of those whose labels arrived. An exception: what is drawn is the request, so the arms'
    /// labels must arrive in the ratio of their shares. Under sticky routing there is none: labels are not counted by
    /// slot.
    Accuracy,
}

/// First cell of [`Grid::Doubt`] that is no high confidence.
static UNSURE: LazyLock<usize> = LazyLock::new(|| Grid::Doubt.cell(0.1).expect("0.1 is a number"));

impl Measure {
    /// Its name in sentences.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuccessRate => "success rate",
            Self::HighConfidence => "high confidence",
            Self::Accuracy => "accuracy",
        }
    }

    /// The units of one arm, by what its requests and its labels say.
    #[must_use]
    pub fn of(self, counts: &Counts, labelled: Share) -> Share {
        let (failed, trials) = counts.errors();
        match self {
            Self::SuccessRate => Share::new(trials - failed, trials),
            Self::HighConfidence => Share::new(counts.doubt[..*UNSURE].iter().sum(), trials),
            Self::Accuracy => labelled,
        }
    }

    /// Of these slots, which were seen, by what was shown of them so far.
    pub(super) fn of_slots(self, round: &SlotRound, slots: &SlotSet) -> Option<Share> {
        let failed = || round.ever(|slots| slots.failed().clone());
        let good = match self {
            Self::SuccessRate => slots.without(&failed()),
            Self::HighConfidence => {
                let from = |cell: usize| round.ever(|slots| slots.unsure_from(cell));
                slots.and(&from(0)).without(&from(*UNSURE)).without(&failed())
            }
            Self::Accuracy => return None,
        };
        Some(Share::new(good.len(), slots.len()))
    }
}
