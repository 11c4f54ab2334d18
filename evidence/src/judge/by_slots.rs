//! Thresholds under sticky routing: as much evidence as there are users (C5).

use wire::{Counts, Pairs, SlotSet};

use super::compare::{Comparison, Finding, sample};
use crate::{Draw, Interval, Labelled, Metric, Share};

/// The slots of both arms that were asked anything in this stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Asked {
    candidate: u64,
    stable: u64,
}

impl Asked {
    /// As the newest interval shows them; `None` where users are not what is drawn.
    pub(super) fn of(newest: &Interval) -> Option<Self> {
        let slots = newest.slots.as_ref()?;
        let seen = slots.ever(|slots| slots.seen().clone());
        let asked = |owned: &SlotSet| seen.and(owned).len();
        let stable = asked(&slots.stable);
        let candidate = match newest.draw {
            // Copies are of requests of stable's users; without a stable, of all.
            Draw::Shadow if newest.pairs.is_some() => stable,
            Draw::Shadow => seen.len(),
            _ => asked(&slots.candidate),
        };
        Some(Self { candidate, stable })
    }

    /// A comparison of requests, which proves no more than as many independent ones as slots were asked would. Whose
    /// user fails often fails again, and whose images are dark sends dark ones: at worst all requests of a slot say
    /// the same, so the effective sample is one of each (Kish, *Survey Sampling*, 1965, 8.2; for exact limits Korn &
    /// Graubard, Survey Methodology 24 (1998) 193). Value and samples stay those of the requests.
    pub(super) fn limit(
        self,
        found: Comparison,
        metric: &Metric,
        window: &Interval,
        compare: impl FnOnce(&Interval) -> Comparison,
    ) -> Comparison {
        let thinned = Interval {
            candidate: thinned(&window.candidate, self.candidate),
            stable: thinned(&window.stable, self.stable),
            labelled: Labelled {
                candidate: thinned_labels(window.labelled.candidate, self.candidate),
                stable: thinned_labels(window.labelled.stable, self.stable),
            },
            pairs: window.pairs.as_ref().map(|pairs| Box::new(thinned_pairs(pairs, self.candidate))),
            ..window.clone()
        };
        let slots = Some((self.candidate, self.stable));
        let left = sample(metric, &thinned);
        if left.n == 0 || left.n_stable == Some(0) {
            let finding = if found.finding == Finding::Breach { Finding::Unclear } else { found.finding };
            return Comparison { low: None, high: None, critical: None, finding, slots, ..found };
        }
        let Comparison { low, high, critical, finding, .. } = compare(&thinned);
        let finding = match (found.finding, finding) {
            (Finding::Breach, Finding::Within) => Finding::Unclear,
            (Finding::Breach, by_slots) => by_slots,
            (requests, _) => requests,
        };
        Comparison { low, high, critical, finding, slots, ..found }
    }
}

/// The same shares in counts that come from at most `units` requests.
fn thinned(counts: &Counts, units: u64) -> Counts {
    let (_, requests) = counts.errors();
    if requests <= units {
        return counts.clone();
    }
    let part = units as f64 / requests as f64;
    let thin = |cells: &mut dyn Iterator<Item = &mut u64>| thin(cells, part);
    let mut thinned = counts.clone();
    thin(&mut thinned.outcomes.iter_mut());
    thin(&mut thinned.latency.iter_mut());
    thin(&mut thinned.doubt.iter_mut());
    thin(&mut thinned.classes.values_mut());
    thin(&mut std::iter::once(&mut thinned.null_outputs));
    thinned.features.iter_mut().for_each(|cells| thin(&mut cells.iter_mut()));
    thinned
}

/// The same of pairs that come from at most `units` copies.
fn thinned_pairs(pairs: &Pairs, units: u64) -> Pairs {
    let copies: u64 = pairs.outcomes.iter().sum();
    let mut thinned = pairs.clone();
    if copies > units {
        thin(&mut thinned.outcomes.iter_mut(), units as f64 / copies as f64);
    }
    thinned
}

/// The same share of labels of at most `units` users.
fn thinned_labels(labels: Share, units: u64) -> Share {
    let mut counts = [labels.events, labels.others()];
    if labels.trials > units {
        thin(&mut counts.iter_mut(), units as f64 / labels.trials as f64);
    }
    Share::new(counts[0], counts[0] + counts[1])
}

/// A part of the counts. The sums up to each cell are rounded, not the cells: no share at a bound is off by more than
/// one of the total.
fn thin(cells: &mut dyn Iterator<Item = &mut u64>, part: f64) {
    let (mut all, mut taken) = (0, 0);
    for cell in cells {
        all += *cell;
        let now = (all as f64 * part).round() as u64;
        *cell = now - taken;
        taken = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Outcome;

    #[test]
    fn thinning_keeps_shares_and_no_more_than_the_slots() {
        // rule: C5
        let mut counts = Counts::default();
        counts.outcomes[Outcome::Ok.index()] = 9_800;
        counts.outcomes[Outcome::Error.index()] = 200;
        counts.doubt[..4].copy_from_slice(&[4_000, 3_000, 2_000, 1_000]);
        counts.classes.extend([("a".to_owned(), 5_000), ("b".to_owned(), 5_000)]);
        let few = thinned(&counts, 500);
        assert_eq!((few.errors(), &few.doubt[..4]), ((10, 500), &[200, 150, 100, 50][..]));
        assert_eq!(few.classes["a"], 250);
        assert_eq!(thinned(&counts, 10_000), counts);
        assert_eq!(thinned(&counts, 0).requests(), 0);
        // However few of the requests are labelled, those of one user may say the same.
        assert_eq!(thinned_labels(Share::new(950, 1_000), 100), Share::new(95, 100));
        assert_eq!(thinned_labels(Share::new(95, 100), 1_000), Share::new(95, 100));
    }
}
