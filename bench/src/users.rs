//! Sticky users: each belongs to a slot, a few send most requests, and some send what always fails.

use rand::Rng;
use rand::rngs::StdRng;
use wire::{Counts, SLOTS};

use crate::traffic::{Answer, Arm};

const USERS: usize = 3000;

/// A population.
pub struct Users {
    /// Slot and factor of the error rate of each user.
    users: Vec<(u16, f64)>,
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

    /// Counts of candidate and stable when the lowest slots up to `share` are the candidate's, and what the user
    /// of each slot got.
    pub fn interval(
        &self,
        random: &mut StdRng,
        requests: u64,
        share: f64,
        arms: [&Arm; 2],
    ) -> ([Counts; 2], Vec<(u16, Answer)>) {
        let top = *self.activity.last().expect("there are users");
        let mut asked = [Vec::new(), Vec::new()];
        for _ in 0..requests {
            let at = random.random_range(0.0..top);
            let (slot, factor) = self.users[self.activity.partition_point(|upto| *upto <= at)];
            let arm = usize::from(f64::from(slot) >= share * f64::from(SLOTS));
            asked[arm].push((slot, factor));
        }
        let mut answers = Vec::with_capacity(requests as usize);
        let counts = [0, 1].map(|arm: usize| {
            let factors = asked[arm].iter().map(|(_, factor)| *factor);
            let mut slots = asked[arm].iter().map(|(slot, _)| *slot);
            arms[arm].answers(random, factors, |answer| {
                answers.push((slots.next().expect("one answer per request"), answer));
            })
        });
        (counts, answers)
    }
}
