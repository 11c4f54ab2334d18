//! The trip-wire: what only a plainly broken candidate does, and how seldom a harmless one does it (R7, S2).
//!
//! Routers stop sending to a candidate by themselves when [`FAILURES`] of its last [`BLOCK`] requests failed while less
//! than 5 % of stable's did. The judge learns of it from their pages and makes it a breach.

use jiff::Timestamp;
use statrs::distribution::{Binomial, DiscreteCDF};
use wire::Trip;

use crate::{Layer, OnBreach, Reading, Verdict};

/// So many failures trip it.
pub const FAILURES: u8 = 10;
/// Among so many requests in a row.
pub const BLOCK: u8 = 20;
/// Part of `falseRollback` that it may spend: at a tolerated rate of errors of 5.5 %, 1.1 times the most that it
/// takes for stable's, on 14,000 requests of the candidate to one router; at 3.3 % on one and a half million.
pub const TRIP_SHARE: f64 = 0.02;

/// At most how likely a harmless candidate trips a router's wire within so many requests, if each fails with this
/// probability, independently of the others: by the union bound over requests, a wire trips at one that fails with at
/// least nine failures among the nineteen before it.
#[must_use]
pub fn false_trip(rate: f64, requests: u64) -> f64 {
    if rate <= 0.0 {
        return 0.0;
    }
    let (before, failures) = (u64::from(BLOCK) - 1, u64::from(FAILURES) - 1);
    let Ok(others) = Binomial::new(rate.min(1.0), before) else { return 1.0 };
    (requests as f64 * rate * others.sf(failures - 1)).min(1.0)
}

/// Name of its reading.
pub const TRIP_WIRE: &str = "trip-wire";

impl Reading {
    /// Of a candidate to which a router sends nothing any more.
    #[must_use]
    pub fn tripped(trip: &Trip, at: Timestamp) -> Self {
        let Trip { failures, requests, stable_failures, stable_requests } = *trip;
        let breach = (Verdict::Fail, OnBreach::Rollback);
        let why = format!(
            "a router has stopped sending to it: {failures} of its last {requests} requests there failed, of stable's \
             last {stable_requests} only {stable_failures}"
        );
        Self {
            value: Some(f64::from(failures) / f64::from(requests.max(1))),
            threshold: Some(f64::from(FAILURES) / f64::from(BLOCK)),
            n: requests.into(),
            n_stable: Some(stable_requests.into()),
            ..Self::unmeasured(TRIP_WIRE, Layer::Sequential, breach, (at, at), &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// How many of `runs` streams of so many requests trip the wire.
    fn trips(runs: u32, rate: f64, requests: u32) -> u32 {
        let mut random = StdRng::seed_from_u64(7);
        let mut one = || {
            let mut block = 0u32;
            (0..requests).any(|_| {
                block = (block << 1 | u32::from(random.random_bool(rate))) & ((1 << BLOCK) - 1);
                block.count_ones() >= u32::from(FAILURES)
            })
        };
        (0..runs).filter(|_| one()).count() as u32
    }

    // rule: R7, S2
    #[test]
    fn a_harmless_candidate_trips_it_less_often_than_is_charged() {
        // Where it can be seen: the bound holds, and is no more than five times too large.
        for (rate, requests) in [(0.2, 300), (0.15, 2_000)] {
            let (seen, bound) =
                (f64::from(trips(4_000, rate, requests)) / 4_000.0, false_trip(rate, requests.into()));
            println!("rate {rate}, {requests} requests: {seen:.4} simulated, at most {bound:.4}");
            assert!(seen < bound && 5.0 * seen > bound, "{seen} {bound}");
        }
        let charged = TRIP_SHARE * 0.01;
        assert!(false_trip(0.055, 14_000) < charged, "{}", false_trip(0.055, 14_000));
        assert!(false_trip(0.033, 1_500_000) < charged, "{}", false_trip(0.033, 1_500_000));
        assert_eq!(false_trip(0.0, u64::MAX), 0.0);
    }

    // rule: R7
    #[test]
    fn a_broken_candidate_trips_it_within_twenty_requests() {
        assert_eq!(trips(100, 1.0, 20), 100);
        assert!(trips(1_000, 0.7, 30) > 950);
    }

    #[test]
    fn it_takes_the_candidate_back_and_says_why() {
        let trip = Trip { failures: 11, requests: 20, stable_failures: 1, stable_requests: 56 };
        let reading = Reading::tripped(&trip, Timestamp::UNIX_EPOCH);
        assert!(reading.holds() && reading.verdict == Verdict::Fail);
        assert_eq!(
            reading.reason,
            "trip-wire: a router has stopped sending to it: 11 of its last 20 requests there failed, of stable's last \
             56 only 1"
        );
    }
}
