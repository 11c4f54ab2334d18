//! `bench sweep`: the promise of B1 in a minute, for CI, and that the check can fail.

use evidence::{Harm, Metric, Tests};
use indicatif::ProgressBar;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::false_rollbacks::{Tally, Until, cell};
use crate::family::{Family, INTERVALS, settings};
use crate::simulated::Settings;
use crate::targets::share;

/// What is promised.
const PROMISE: f64 = 0.01;
/// A product that keeps it fails the sweep with this probability at most.
const ERROR: f64 = 0.001;
/// The controls: no tolerance, and a budget of nearly everything.
const LOOSE_BUDGET: f64 = 0.9;
/// One in so many rollouts is repeated by each control.
const CONTROL: u64 = 10;

/// What a control makes of the settings.
type Change = fn(Settings) -> Settings;

/// Runs `rollouts` per family and interval, and controls that must fail; true if all do as they should.
pub fn run(rollouts: u64) -> bool {
    println!(
        "sweep  false rollbacks in harmless rollouts, limit at {PROMISE}: exceeded with probability {ERROR}"
    );
    let shipped = by_family(rollouts, |settings| settings);
    let all = Tally::sum(&shipped);
    let mut good = all.rolled_back <= most(all.rollouts, ERROR);
    println!("  as shipped                  {}  {}", line(&all), if good { "kept" } else { "BROKEN" });
    // One kind of traffic must not hide behind the others.
    for (family, tally) in Family::ALL.iter().zip(&shipped) {
        if tally.rolled_back > most(tally.rollouts, ERROR / Family::ALL.len() as f64) {
            println!("  {:<27} {}  BROKEN", family.name(), line(tally));
            good = false;
        }
    }
    let controls: [(&str, Change); 2] =
        [("thresholds on raw values", raw), ("sequential tests, loose", loose)];
    for (name, change) in controls {
        let control = Tally::sum(&by_family(rollouts.div_ceil(CONTROL), change));
        let noticed = control.rolled_back > most(control.rollouts, ERROR);
        let word = if noticed { "noticed, as it must be" } else { "NOT NOTICED: the sweep proves nothing" };
        println!("  {name:<27} {}  {word}", line(&control));
        good &= noticed;
    }
    good
}

fn line(tally: &Tally) -> String {
    format!("{}, limit {}", share(tally.rolled_back, tally.rollouts), most(tally.rollouts, ERROR))
}

fn by_family(rollouts: u64, change: impl Fn(Settings) -> Settings) -> [Tally; Family::ALL.len()] {
    let progress = ProgressBar::new(rollouts * (Family::ALL.len() * INTERVALS.len()) as u64);
    let tallies = Family::ALL.map(|family| {
        let of = |interval| cell(family, &change(settings(interval)), rollouts, Until::Decided, &progress);
        Tally::sum(&INTERVALS.map(of))
    });
    progress.finish_and_clear();
    tallies
}

/// Thresholds that ask nothing of noise, alone.
fn raw(settings: Settings) -> Settings {
    let raw = |metric| Metric { significance: Some(0.0), ..metric };
    Settings { metrics: settings.metrics.into_iter().map(raw).collect(), tests: Tests::OFF, ..settings }
}

/// Sequential tests that tolerate nothing at a level that promises nothing, alone.
fn loose(settings: Settings) -> Settings {
    let loose = |harm: Option<Harm>| harm.map(|harm| Harm { tolerance: 1.0, ..harm });
    let Tests { errors, latency, low_confidence, accuracy, change } = settings.tests;
    let [errors, latency, low_confidence, accuracy] = [errors, latency, low_confidence, accuracy].map(loose);
    Settings {
        metrics: Vec::new(),
        tests: Tests { errors, latency, low_confidence, accuracy, change },
        false_rollback: LOOSE_BUDGET,
        ..settings
    }
}

/// The most false rollbacks that are no proof of a broken promise, with this probability of a wrong one.
fn most(rollouts: u64, error: f64) -> u64 {
    let law = Binomial::new(PROMISE, rollouts).expect("a probability");
    (0..rollouts).find(|&x| law.sf(x) <= error).unwrap_or(rollouts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_binomial_law() {
        // scipy.stats.binom.isf(0.001, n, 0.01)
        assert_eq!([90, 360, 1000].map(|n| most(n, ERROR)), [5, 11, 21]);
    }
}
