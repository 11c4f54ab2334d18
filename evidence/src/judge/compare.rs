//! The comparison of one metric with its bound, on counts that are already known to suffice.

use wire::{Counts, Grid, Outcome, Profile};

use crate::interval::clopper_pearson;
use crate::judge::drift::{Side, cells_of, drift};
use crate::quantile::quantile;
use crate::state::own;
use crate::text::{count, number};
use crate::{Bound, Cell, Draw, Interval, Kind, Labelled, Metric, Series};

/// Two-sided level of the limit that stands for a zero rate of stable in a ratio: its 95 % upper limit.
const ZERO_RATE_LEVEL: f64 = 0.1;

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Within the bound.
    Within,
    /// Beyond it, but noise may explain that, or the grid cannot tell.
    Unclear,
    /// Beyond it, and distinguishable from noise.
    Breach,
}

/// A comparison with all that goes into its explanation.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) value: f64,
    pub(super) threshold: f64,
    pub(super) n: u64,
    pub(super) n_stable: Option<u64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) critical: Option<f64>,
    pub(super) cells: Vec<Cell>,
    pub(super) finding: Finding,
    /// Slots of the candidate and of stable that were asked, where users are what is drawn (C5).
    pub(super) slots: Option<(u64, u64)>,
}

/// How much there is to compare.
pub(super) struct Sample {
    pub(super) n: u64,
    /// Present when stable is part of the comparison.
    pub(super) n_stable: Option<u64>,
    pub(super) unit: &'static str,
}

/// Samples of a metric in a window. A batch counts each item (C3), but no more samples than the revision served
/// requests are counted towards `minSamples` (T2): items of one request are not independent. Only an error rate
/// counts fallbacks too, because they are errors: without them a candidate that died would be no breach.
pub(super) fn sample(metric: &Metric, window: &Interval) -> Sample {
    // rule: T2
    if metric.kind == Kind::Disagreement {
        return Sample { n: disagreements(window).1, n_stable: None, unit: unit(metric.kind) };
    }
    if metric.kind == Kind::Accuracy {
        // Labels are of earlier requests: there may be more of them than of requests.
        let Labelled { candidate, stable } = window.labelled;
        let n_stable = metric.compares_stable().then_some(stable.trials);
        return Sample { n: candidate.trials, n_stable, unit: unit(metric.kind) };
    }
    let of = |counts: &Counts| match metric.kind {
        Kind::ErrorRate => counts.errors().1,
        kind => size(kind, counts).min(own(counts)),
    };
    Sample {
        n: of(&window.candidate),
        n_stable: metric.compares_stable().then(|| of(&window.stable)),
        unit: unit(metric.kind),
    }
}

pub(super) const fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Drift { .. } | Kind::NullOutputRate => "items",
        Kind::Disagreement => "pairs",
        Kind::Accuracy => "labels",
        Kind::ErrorRate | Kind::Latency { .. } | Kind::InvalidInputRate => "requests",
    }
}

fn size(kind: Kind, counts: &Counts) -> u64 {
    match kind {
        Kind::ErrorRate | Kind::InvalidInputRate => counts.errors().1,
        Kind::Latency { .. } => counts.latency.iter().sum(),
        Kind::NullOutputRate => nulls(counts).1,
        Kind::Drift { series: Series::Class, .. } => counts.classes.values().sum(),
        Kind::Drift { series, .. } => cells_of(series, counts).iter().sum(),
        Kind::Disagreement | Kind::Accuracy => unreachable!("its samples are pairs, or labels"),
    }
}

/// Whose answers tell nothing of the feature that a metric looks at, though they tell of others, if so: of a server or a router of
/// an earlier release, or of a model that has no such thing.
pub(super) fn untold(metric: &Metric, window: &Interval) -> Option<(&'static str, &'static str)> {
    let Kind::Drift { series: Series::Feature(feature), .. } = metric.kind else { return None };
    let lacks = |counts: &Counts| {
        let other = counts.doubt.iter().chain(counts.features.iter().flatten()).any(|n| *n > 0);
        other && counts.features[feature.index()].iter().all(|n| *n == 0)
    };
    let stable = Some(&window.stable).filter(|_| metric.compares_stable());
    let arms = [("candidate", Some(&window.candidate)), ("stable", stable)];
    let whose = arms.into_iter().find(|(_, counts)| counts.is_some_and(lacks))?.0;
    Some((whose, feature.as_str()))
}

/// Items without an answer, and all items. A server may name the class alone, or the confidence alone.
fn nulls(counts: &Counts) -> (u64, u64) {
    let (sure, named) = (counts.doubt.iter().sum::<u64>(), counts.classes.values().sum());
    (counts.null_outputs, counts.null_outputs + sure.max(named))
}

/// Pairs that disagree, and all that could be compared. No pair is known where nothing is copied.
fn disagreements(window: &Interval) -> (u64, u64) {
    window.pairs.as_ref().map_or((0, 0), |pairs| pairs.disagreements())
}

/// The bound as far as it is known before the comparison.
pub(super) const fn threshold(metric: &Metric) -> Option<f64> {
    match metric.bound {
        Bound::Max(bound) | Bound::MaxRatio(bound) | Bound::Min(bound) | Bound::MaxDrop(bound) => Some(bound),
        Bound::Noise => None,
    }
}

/// Compares at `level`; level 0 compares the raw value. `reference` is present for drift from it.
pub(super) fn compare(
    metric: &Metric,
    window: &Interval,
    reference: Option<&Profile>,
    level: f64,
) -> Comparison {
    match metric.kind {
        Kind::ErrorRate => rates(metric.bound, window, Counts::errors, level),
        Kind::InvalidInputRate => {
            let rejected = |counts: &Counts| (counts.outcome(Outcome::Rejected), counts.errors().1);
            rates(metric.bound, window, rejected, level)
        }
        Kind::NullOutputRate => rates(metric.bound, window, nulls, level),
        Kind::Disagreement => rate(metric.bound, disagreements(window), None, level),
        Kind::Accuracy => accuracy(metric.bound, window.labelled, level),
        Kind::Latency { quantile: q } => latency(metric.bound, window, q, level),
        Kind::Drift { series, .. } => {
            if let Some(profile) = reference {
                let found = reference_of(metric, window, profile, level);
                return found.expect("without the feature there was no comparison");
            }
            let stable = Side::of_counts(series, &window.stable);
            let found = drift(metric, window, &stable, level);
            Comparison { n_stable: Some(stable.total()), ..found }
        }
    }
}

/// Compares the candidate's window with a profile; `None` if it does not hold what the metric looks at.
pub(super) fn reference_of(
    metric: &Metric,
    window: &Interval,
    profile: &Profile,
    level: f64,
) -> Option<Comparison> {
    let Kind::Drift { series, .. } = metric.kind else {
        unreachable!("only drift is compared with a profile")
    };
    Some(drift(metric, window, &Side::of_profile(series, profile)?, level))
}

/// Beyond the bound or not; beyond, `surely` says whether noise is excluded (J2). Level 0 asks for no more.
pub(super) fn finding(beyond: bool, surely: bool, level: f64) -> Finding {
    // rule: J1, J2
    match (beyond, surely || level == 0.0) {
        (false, _) => Finding::Within,
        (true, false) => Finding::Unclear,
        (true, true) => Finding::Breach,
    }
}

/// [`rate`], counted alike in both arms.
fn rates(bound: Bound, window: &Interval, count: fn(&Counts) -> (u64, u64), level: f64) -> Comparison {
    rate(bound, count(&window.candidate), Some(count(&window.stable)), level)
}

/// A value with its limits, before it is compared with anything.
fn alone(value: f64, n: u64, low: Option<f64>, high: Option<f64>) -> Comparison {
    Comparison {
        value,
        threshold: 0.0,
        n,
        n_stable: None,
        low,
        high,
        critical: None,
        cells: Vec::new(),
        finding: Finding::Within,
        slots: None,
    }
}

/// A share and its Clopper-Pearson interval; at level 0 nothing but itself.
fn limits(events: u64, trials: u64, level: f64) -> (f64, f64, f64) {
    let value = events as f64 / trials as f64;
    let (low, high) = if level > 0.0 { clopper_pearson(events, trials, level) } else { (value, value) };
    (value, low, high)
}

/// A limit that can be told: at level 0 there is none, and one may be infinite.
fn known(limit: f64, level: f64) -> Option<f64> {
    (level > 0.0 && limit.is_finite()).then_some(limit)
}

/// A share of requests, with its Clopper-Pearson interval; for a ratio each arm's interval has `level`, half
/// of it on the side that matters, so that both together err with probability `level`.
fn rate(bound: Bound, (x, n): (u64, u64), stable: Option<(u64, u64)>, level: f64) -> Comparison {
    let (ours, low, high) = limits(x, n, level);
    let empty = alone(ours, n, known(low, level), known(high, level));
    match bound {
        Bound::Max(max) => {
            Comparison { threshold: max, finding: finding(ours > max, low > max, level), ..empty }
        }
        Bound::Noise | Bound::Min(_) | Bound::MaxDrop(_) => {
            unreachable!("`Metric::check` refuses it for rates")
        }
        Bound::MaxRatio(ratio) => {
            // rule: J2
            let (y, m) = stable.expect("`Metric::check` refuses ratios of what stable has no share of");
            let theirs = if y > 0 { y as f64 / m as f64 } else { clopper_pearson(0, m, ZERO_RATE_LEVEL).1 };
            let (floor, ceiling) = if level > 0.0 { clopper_pearson(y, m, level) } else { (theirs, theirs) };
            let value = ours / theirs;
            Comparison {
                value,
                threshold: ratio,
                n_stable: Some(m),
                low: known(low / ceiling, level),
                high: known(high / floor, level),
                finding: finding(value > ratio, low > ratio * ceiling, level),
                ..empty
            }
        }
    }
}

/// A share of right answers, with its Clopper-Pearson interval; below stable's, each arm's interval has `level`, half of
/// it on the side that matters, so that both together err with probability `level`.
fn accuracy(bound: Bound, Labelled { candidate, stable }: Labelled, level: f64) -> Comparison {
    let (ours, low, high) = limits(candidate.events, candidate.trials, level);
    let empty = alone(ours, candidate.trials, known(low, level), known(high, level));
    // rule: J2
    match bound {
        Bound::Min(min) => {
            Comparison { threshold: min, finding: finding(ours < min, high < min, level), ..empty }
        }
        Bound::MaxDrop(most) => {
            let (theirs, floor, ceiling) = limits(stable.events, stable.trials, level);
            let drop = theirs - ours;
            Comparison {
                value: drop,
                threshold: most,
                n_stable: Some(stable.trials),
                low: known(floor - high, level),
                high: known(ceiling - low, level),
                finding: finding(drop > most, floor - high > most, level),
                ..empty
            }
        }
        Bound::Max(_) | Bound::MaxRatio(_) | Bound::Noise => {
            unreachable!("`Metric::check` refuses it for accuracy")
        }
    }
}

/// Why the labels of both arms cannot be compared, if so: they do not arrive in the ratio of the shares, or under sticky
/// routing of the requests, so that who is labelled depends on who answered.
pub(super) fn skew(metric: &Metric, window: &Interval) -> Option<String> {
    // Of a copied request one label tells of both answers.
    if metric.kind != Kind::Accuracy || !metric.compares_stable() || window.draw == Draw::Shadow {
        return None;
    }
    let Labelled { candidate, stable } = window.labelled;
    let requests = own(&window.candidate);
    let split = window.split.unwrap_or_else(|| {
        let all = requests + own(&window.stable);
        if all > 0 { requests as f64 / all as f64 } else { 0.0 }
    });
    window.labelled.is_skewed(split).then(|| {
        format!(
            "{} of {} labels are of the candidate's answers, whose share is {} %: answers of both arms must be \
             labelled alike",
            count(candidate.trials),
            count(candidate.trials + stable.trials),
            number(100.0 * split)
        )
    })
}

/// A latency quantile, with its order-statistic interval at bucket bounds.
fn latency(bound: Bound, window: &Interval, q: f64, level: f64) -> Comparison {
    let estimate = |counts: &Counts| {
        quantile(Grid::Seconds, &counts.latency, q, level)
            .expect("minSamples is at least 1 in each arm compared")
    };
    let ours = estimate(&window.candidate);
    let known = |limit: Option<f64>| limit.and_then(|limit| known(limit, level));
    let n = window.candidate.latency.iter().sum();
    let empty = alone(ours.value, n, known(Some(ours.low)), known(ours.high));
    // rule: J2. A value in the open cell is only known to be at least so large: never within.
    match bound {
        Bound::Max(max) => {
            let found = finding(ours.value > max, ours.low > max, level);
            let finding = if ours.open && found == Finding::Within { Finding::Unclear } else { found };
            Comparison { threshold: max, finding, ..empty }
        }
        Bound::Noise | Bound::Min(_) | Bound::MaxDrop(_) => {
            unreachable!("`Metric::check` refuses it for latency")
        }
        Bound::MaxRatio(ratio) => {
            let theirs = estimate(&window.stable);
            let value = ours.value / theirs.value;
            let surely = theirs.high.is_some_and(|high| ours.low > ratio * high);
            let found = finding(value > ratio, surely, level);
            let unknown = theirs.open || (ours.open && found == Finding::Within);
            Comparison {
                value,
                threshold: ratio,
                n_stable: Some(window.stable.latency.iter().sum()),
                low: known(theirs.high.map(|high| ours.low / high)),
                high: known(ours.high.map(|high| high / theirs.low)),
                finding: if unknown { Finding::Unclear } else { found },
                ..empty
            }
        }
    }
}
