//! Slots that are counted once each.

use serde::{Deserialize, Serialize};
use wire::SlotSet;

use super::SlotRound;

/// The slots that were counted. A slot counts when it is first found on a page, with what happened in it until then;
/// what its users do later is no further evidence, because it is the same draw (C5).
///
/// Other than the slots at risk of [`crate::SlotState`] this measures a *share* of users, one that a difference or a
/// smaller ratio can be proven of. Of a slot at risk only "no worse" can be: the more often an arm fails, the sooner
/// those who often fail are gone from it, and what is left looks good. On a ramp a slot that changes hands was counted
/// already: whom only the first stage saw is not seen again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Once(SlotSet);

impl Once {
    /// The slots of candidate and stable that count now.
    pub(crate) fn take(&mut self, round: &SlotRound) -> [SlotSet; 2] {
        let new = round.ever(|slots| slots.seen().clone()).without(&self.0);
        let arms = round.apart().map(|owned| owned.and(&new));
        arms.iter().for_each(|slots| self.0.add(slots));
        arms
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
