//! Sticky users: each belongs to a slot, a few send most requests, and some send what always fails.

use rand::Rng;
use rand::rngs::StdRng;
use wire::Counts;

use crate::traffic::Arm;

const USERS: usize = 3000;
const SLOTS: u32 = 10_000;

/// A population.
pub struct Users {
    /// Slot and factor of the error rate of each user.
    users: Vec<(u32, f64)>,
    /// Cumulative activity.
    activity: Vec<f64>,
}

impl Users {
    /// Users whose activity falls as 1/rank and of whom 2 % fail forty times as often.
    pub fn new(random: &mut StdRng) -> Self {
        let mut sum = 0.0;
        let mut activity = Vec::with_capacity(USERS);
        let users = (0..USERS)
            .map(|rank| {
                sum += 1.0 / (rank + 10) as f64;
                activity.push(sum);
                let factor = if random.random_bool(0.02) { 40.0 } else { 0.5 };
                (random.random_range(0..SLOTS), factor)
            })
            .collect();
        Self { users, activity }
    }

    /// Counts of both arms when the lowest slots up to `share` belong to the candidate.
    pub fn interval(
        &self,
        random: &mut StdRng,
        requests: u64,
        share: f64,
        arms: [&Arm; 2],
    ) -> (Counts, Counts) {
        let top = *self.activity.last().expect("there are users");
        let mut swings = [Vec::new(), Vec::new()];
        for _ in 0..requests {
            let at = random.random_range(0.0..top);
            let (slot, factor) = self.users[self.activity.partition_point(|upto| *upto <= at)];
            let arm = usize::from(f64::from(slot) >= share * f64::from(SLOTS));
            swings[arm].push(factor);
        }
        let [ours, theirs] = swings;
        (arms[0].answers(random, ours, |_| {}), arms[1].answers(random, theirs, |_| {}))
    }
}
