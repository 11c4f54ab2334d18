//! What the sampler sees of a world.

use evidence::{Draw, Layer, OnBreach, Reading, Verdict};
use jiff::Timestamp;
use rollout::{Allotment, Sampling, StageEvidence, Standing, Trial, Until};

use super::{Route, Says, World, effective};

impl World {
    /// The sampler: once per interval, for the stage that the last plan named.
    pub(super) fn sample(&mut self) {
        let Some(sampling) = self.sampling.clone() else {
            self.evidence.clear();
            self.allotment = None;
            return;
        };
        let interval = self.wanted.interval.as_secs().cast_signed();
        if (self.now.as_second() - sampling.since.as_second()) % interval != 0
            || self.now <= sampling.since
            || !self.pages
        {
            return;
        }
        self.evidence.retain(|arm, e| e.key == sampling.key && sampling.candidates.contains(arm));
        for arm in &sampling.candidates {
            self.sample_arm(&sampling, arm);
        }
        let rewards = self.rewards.clone().filter(|_| sampling.until == Until::Best);
        self.allotment = rewards.map(|(shares, best)| Allotment {
            key: sampling.key,
            at: self.now,
            reason: format!("rewards say {shares:?}, best is {best:?}"),
            shares,
            best,
        });
    }

    fn sample_arm(&mut self, sampling: &Sampling, arm: &str) {
        let seen: u64 = self.routers.iter().map(|r| u64::from(sent(&r.table, sampling.draw, arm))).sum();
        let before = self.evidence.get(arm).map_or(0, |e| e.requests);
        let says = if seen == 0 { Says::NoData } else { self.says(arm) };
        let trial = matches!(sampling.until, Until::Shown { .. }).then(|| {
            let standing = self.trials.get(arm).copied().unwrap_or(Standing::Open);
            Trial { standing, reason: format!("{arm} is {standing:?}") }
        });
        let evidence = StageEvidence {
            key: sampling.key,
            at: self.now,
            requests: before + seen,
            readings: vec![reading(says, self.now)],
            trial,
        };
        self.evidence.insert(arm.to_owned(), evidence);
    }

    pub fn says(&self, revision: &str) -> Says {
        self.says.get(revision).copied().unwrap_or(Says::Pass)
    }
}

/// How many of a hundred requests, or copies, a router sends there as evidence.
fn sent(table: &Route, draw: Draw, revision: &str) -> u8 {
    match draw {
        Draw::Split => effective(table, revision),
        Draw::Shadow => table
            .mirror
            .as_ref()
            .filter(|m| m.revision == revision && table.pin.is_none())
            .map_or(0, |m| m.percent),
        Draw::Preview => u8::from(table.candidate.as_deref() == Some(revision)),
    }
}

fn reading(says: Says, now: Timestamp) -> Reading {
    let (verdict, on_breach, overdue) = match says {
        Says::Pass => (Verdict::Pass, OnBreach::Rollback, None),
        Says::Breach(on_breach) => (Verdict::Fail, on_breach, None),
        Says::Inconclusive => (Verdict::Inconclusive, OnBreach::Rollback, None),
        Says::NoData => (Verdict::NoData, OnBreach::Rollback, None),
        Says::Overdue(what) => (Verdict::Error, OnBreach::Rollback, Some(what)),
    };
    let why = format!("{verdict:?}");
    let says = (verdict, on_breach);
    Reading {
        overdue,
        threshold: Some(0.02),
        ..Reading::unmeasured("errors", Layer::Threshold, says, (now, now), &why)
    }
}
