//! From what one deployment records to letters. Pure, but for handing them over.

use api::{ModelRollout, ModelRolloutStatus, Notification};
use jiff::Timestamp;

use super::courier::Courier;
use super::letter::{Happened, Letter, wants};
use crate::index::Key;
use crate::resources::Owner;

/// The notifications of one deployment.
#[derive(Clone, Copy)]
pub struct Mail<'a> {
    /// Delivers them.
    pub courier: &'a Courier,
    /// Names the deployment.
    pub key: &'a Key,
    /// Its object.
    pub owner: &'a Owner,
    /// Who is told.
    pub notifications: &'a [Notification],
}

impl Mail<'_> {
    /// Brings `untold` to what is the case: `after` is to be the status of rollout `sequence`, with `added` new
    /// entries at the end of its record.
    pub fn mark(&self, sequence: u64, after: &mut ModelRolloutStatus, added: usize) {
        let (handed, done) = self.courier.handed(self.key, sequence);
        if added == 0 && done && handed >= after.untold {
            after.untold = 0;
        }
        let from = after.record.len().saturating_sub(added);
        let wanted =
            after.record[from..].iter().any(|e| self.notifications.iter().any(|n| wants(n, &e.reason)));
        if wanted || (after.untold > 0 && added > 0) {
            // The record is bounded, and so is this.
            after.untold = (after.untold as usize + added).min(after.record.len()) as u32;
        }
    }

    /// Hands over what a stored rollout says is untold, each entry once while this process leads.
    pub fn tell(&self, rollout: &ModelRollout) {
        let sequence = rollout.spec.sequence;
        let Some(status) = &rollout.status else { return };
        let (handed, _) = self.courier.handed(self.key, sequence);
        if status.untold == 0 {
            if handed > 0 {
                self.courier.settled(self.key, sequence);
            }
            return;
        }
        let first = status.record.len().saturating_sub(status.untold as usize) + handed as usize;
        for place in first..status.record.len() {
            let entry = &status.record[place];
            let same = |e: &&api::Record| (&e.time, &e.reason) == (&entry.time, &entry.reason);
            let nth = status.record[..place].iter().filter(same).count();
            let letters = self.letters(&Happened::recorded(self.owner, rollout, entry, nth));
            if !self.courier.hand_over(self.key, Some(sequence), letters) {
                // Those that wait wake nobody for this one; the next look takes it up.
                return;
            }
        }
        let (handed, done) = self.courier.handed(self.key, sequence);
        if done && handed >= status.untold {
            self.courier.wake(self.key);
        }
    }

    /// Hands over what no record keeps; with no room for it, it is lost.
    pub fn tell_unrecorded(&self, reason: &str, message: &str, now: Timestamp) {
        let letters = self.letters(&Happened::unrecorded(self.owner, (reason, message), now));
        self.courier.hand_over(self.key, None, letters);
    }

    fn letters(&self, happened: &Happened<'_>) -> Vec<(String, Letter)> {
        let wanted = self.notifications.iter().filter(|n| wants(n, happened.reason));
        wanted.map(|n| (n.name.clone(), happened.letter(&n.webhook))).collect()
    }
}
