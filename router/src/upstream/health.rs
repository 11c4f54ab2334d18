//! How well an endpoint does: which of two gets the next request, and which gets none for a while. Pure but for its
//! atomics: every time is an argument, in milliseconds since some start.
//!
//! The cost of an endpoint is its peak latency times the requests that it has (peak EWMA, as in Finagle and linkerd): a
//! slower answer counts at once, quicker ones by and by. An endpoint that fails again and again is ejected for a while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Time in which a peak loses 1 - 1/e of what it is above the floor.
const DECAY: f64 = 10_000.0;
/// Least latency in milliseconds that tells two endpoints apart: below it they are equal.
const FLOOR: f64 = 1.0;
/// A failure counts as an answer that took so many milliseconds at least, and twice as long as the slowest of late, but
/// no longer than that.
const PENALTY: (f64, f64) = (100.0, 10_000.0);
/// A new endpoint gets its whole part after so many milliseconds: its caches are cold.
const WARM: u64 = 10_000;
/// What it gets at first.
const COLD: f64 = 0.1;
/// Failures in a row by which an endpoint is ejected.
const FAILURES: u32 = 5;
/// First and longest ejection. It doubles with each that follows without a good answer between.
const EJECTED: (u64, u64) = (5_000, 60_000);
/// How long an endpoint without a connection is passed over.
const ASIDE: u64 = 1_000;

/// The health of one endpoint, shared by all threads.
#[derive(Debug)]
pub(crate) struct Health {
    born: u64,
    requests: AtomicU32,
    /// Milliseconds as bits of an f64, as of `stamped`.
    peak: AtomicU64,
    stamped: AtomicU64,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Until when it is ejected, and passed over.
    ejected: AtomicU64,
    aside: AtomicU64,
}

impl Health {
    /// Of an endpoint that is new.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            born: now,
            requests: AtomicU32::new(0),
            peak: AtomicU64::new(FLOOR.to_bits()),
            stamped: AtomicU64::new(now),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected: AtomicU64::new(0),
            aside: AtomicU64::new(0),
        }
    }

    /// What one more request costs here; the lower of two is chosen.
    pub(crate) fn cost(&self, now: u64) -> f64 {
        let age = now.saturating_sub(self.born) as f64 / WARM as f64;
        self.peak_at(now) * (f64::from(self.requests.load(Relaxed)) + 1.0) / age.clamp(COLD, 1.0)
    }

    fn peak_at(&self, now: u64) -> f64 {
        let (peak, stamped) = (f64::from_bits(self.peak.load(Relaxed)), self.stamped.load(Relaxed));
        let passed = now.saturating_sub(stamped) as f64;
        FLOOR + (peak - FLOOR) * (-passed / DECAY).exp()
    }

    /// A request is on its way there.
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// It is over.
    pub(crate) fn end(&self) {
        self.requests.fetch_sub(1, Relaxed);
    }

    /// It has answered well, after so many milliseconds.
    pub(crate) fn succeeded(&self, now: u64, took: f64) {
        self.failures.store(0, Relaxed);
        self.ejections.store(0, Relaxed);
        self.take(now, took);
    }

    /// It has failed; whether it is ejected by this.
    pub(crate) fn failed(&self, now: u64) -> bool {
        let (least, most) = PENALTY;
        self.take(now, (2.0 * self.peak_at(now)).clamp(least, most));
        if self.failures.fetch_add(1, Relaxed) + 1 < FAILURES {
            return false;
        }
        self.failures.store(0, Relaxed);
        let before = self.ejections.fetch_add(1, Relaxed).min(16);
        let (first, longest) = EJECTED;
        self.ejected.store(now + (first << before).min(longest), Relaxed);
        true
    }

    /// It has refused or ignored a connection.
    pub(crate) fn refused(&self, now: u64) {
        self.aside.store(now + ASIDE, Relaxed);
    }

    fn take(&self, now: u64, took: f64) {
        let peak = self.peak_at(now);
        // Two threads at once may lose one of both answers, which the next one makes good.
        let passed = now.saturating_sub(self.stamped.swap(now, Relaxed)) as f64;
        let next = if took > peak {
            took
        } else {
            let old = (-passed / DECAY).exp();
            peak * old + took.max(FLOOR) * (1.0 - old)
        };
        self.peak.store(next.to_bits(), Relaxed);
    }

    /// Whether it refused or ignored a connection within the last second.
    pub(crate) fn is_aside(&self, now: u64) -> bool {
        now < self.aside.load(Relaxed)
    }

    /// Whether it has failed too often lately.
    pub(crate) fn is_ejected(&self, now: u64) -> bool {
        now < self.ejected.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000;

    /// Of an endpoint that is not new.
    fn warm() -> Health {
        Health { stamped: NOW.into(), ..Health::new(NOW - WARM) }
    }

    #[test]
    fn slow_and_busy_endpoints_cost_more() {
        let (idle, busy, slow) = (warm(), warm(), warm());
        (0..3).for_each(|_| busy.begin());
        assert_eq!(busy.cost(NOW), 4.0 * idle.cost(NOW));
        slow.succeeded(NOW, 50.0);
        assert!(slow.cost(NOW) > 10.0 * busy.cost(NOW), "a peak counts at once");
        assert!(slow.cost(NOW + 30_000) < 4.0, "and is forgotten by and by: {}", slow.cost(NOW + 30_000));
        (0..3).for_each(|_| busy.end());
        assert_eq!(busy.cost(NOW), idle.cost(NOW));
        let (quick, quicker) = (warm(), warm());
        quick.succeeded(NOW, 0.9);
        quicker.succeeded(NOW, 0.1);
        assert_eq!(quick.cost(NOW + 5), quicker.cost(NOW + 5), "below the floor all are equal");
    }

    #[test]
    fn a_new_endpoint_gets_its_whole_part_by_and_by() {
        let new = Health::new(NOW);
        let cost = |after: u64| (new.cost(NOW + after) * 100.0).round() / 100.0;
        assert_eq!((cost(0), cost(5_000), cost(10_000), cost(60_000)), (10.0, 2.0, 1.0, 1.0));
    }

    #[test]
    fn failures_in_a_row_eject_it_for_longer_each_time() {
        let health = warm();
        let eject = |now: u64| (0..5).map(|_| health.failed(now)).collect::<Vec<_>>();
        assert_eq!(eject(0), [false, false, false, false, true]);
        assert!(health.is_ejected(4_999) && !health.is_ejected(5_000));
        eject(5_000);
        assert!(health.is_ejected(14_999) && !health.is_ejected(15_000), "twice as long");
        (0..20).for_each(|_| drop(eject(20_000)));
        assert!(health.is_ejected(79_999) && !health.is_ejected(80_000), "at most a minute");
        health.succeeded(80_000, 1.0);
        eject(80_000);
        assert!(!health.is_ejected(85_000), "a good answer forgives");
        assert!((0..4).all(|_| !health.failed(90_000)));
        health.succeeded(90_000, 1.0);
        assert!(!health.failed(90_000), "not in a row");
        health.refused(90_000);
        assert!(health.is_aside(90_999) && !health.is_aside(91_000));
    }
}
