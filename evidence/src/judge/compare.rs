//! The comparison of one metric with its bound, on counts that are already known to suffice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wire::{Counts, Grid, Outcome, Profile};

use crate::distance::{groups, ks, ks_critical, psi, psi_critical};
use crate::interval::clopper_pearson;
use crate::quantile::quantile;
use crate::state::own;
use crate::text::number;
use crate::{Bound, Cell, Interval, Kind, Metric, Series, Statistic};

/// Cells that a reading names.
const TOP_CELLS: usize = 3;
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
    if matches!(kind, Kind::Drift { .. }) { "items" } else { "requests" }
}

fn size(kind: Kind, counts: &Counts) -> u64 {
    match kind {
        Kind::ErrorRate | Kind::InvalidInputRate => counts.errors().1,
        Kind::Latency { .. } => counts.latency.iter().sum(),
        Kind::Drift { series: Series::Class, .. } => counts.classes.values().sum(),
        Kind::Drift { series, .. } => cells_of(series, counts).iter().sum(),
    }
}

pub(super) const fn threshold(metric: &Metric) -> f64 {
    match metric.bound {
        Bound::Max(bound) | Bound::MaxRatio(bound) => bound,
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
        Kind::ErrorRate => rate(metric.bound, window, Counts::errors, level),
        Kind::InvalidInputRate => {
            let rejected = |counts: &Counts| (counts.outcome(Outcome::Rejected), counts.errors().1);
            rate(metric.bound, window, rejected, level)
        }
        Kind::Latency { quantile: q } => latency(metric.bound, window, q, level),
        Kind::Drift { series, statistic, .. } => {
            if let Some(profile) = reference {
                return reference_of(metric, window, profile, level);
            }
            let stable = Side::of_counts(series, &window.stable);
            let found = drift(metric, window, &stable, series, statistic, level);
            Comparison { n_stable: Some(stable.total()), ..found }
        }
    }
}

/// Compares the candidate's window with a profile.
pub(super) fn reference_of(metric: &Metric, window: &Interval, profile: &Profile, level: f64) -> Comparison {
    let Kind::Drift { series, statistic, .. } = metric.kind else {
        unreachable!("only drift is compared with a profile")
    };
    drift(metric, window, &Side::of_profile(series, profile), series, statistic, level)
}

/// Beyond the bound or not; beyond, `surely` says whether noise is excluded (J2). Level 0 asks for no more.
fn finding(beyond: bool, surely: bool, level: f64) -> Finding {
    // rule: J1, J2
    match (beyond, surely || level == 0.0) {
        (false, _) => Finding::Within,
        (true, false) => Finding::Unclear,
        (true, true) => Finding::Breach,
    }
}

/// A share of requests, with its Clopper-Pearson interval; for a ratio each arm's interval has `level`, half
/// of it on the side that matters, so that both together err with probability `level`.
fn rate(bound: Bound, window: &Interval, count: fn(&Counts) -> (u64, u64), level: f64) -> Comparison {
    let (x, n) = count(&window.candidate);
    let ours = x as f64 / n as f64;
    let (low, high) = if level > 0.0 { clopper_pearson(x, n, level) } else { (ours, ours) };
    let known = |limit: f64| (level > 0.0 && limit.is_finite()).then_some(limit);
    let empty = Comparison {
        value: ours,
        threshold: 0.0,
        n,
        n_stable: None,
        low: known(low),
        high: known(high),
        critical: None,
        cells: Vec::new(),
        finding: Finding::Within,
    };
    match bound {
        Bound::Max(max) => {
            Comparison { threshold: max, finding: finding(ours > max, low > max, level), ..empty }
        }
        Bound::MaxRatio(ratio) => {
            // rule: J2
            let (y, m) = count(&window.stable);
            let theirs = if y > 0 { y as f64 / m as f64 } else { clopper_pearson(0, m, ZERO_RATE_LEVEL).1 };
            let (floor, ceiling) = if level > 0.0 { clopper_pearson(y, m, level) } else { (theirs, theirs) };
            let value = ours / theirs;
            Comparison {
                value,
                threshold: ratio,
                n_stable: Some(m),
                low: known(low / ceiling),
                high: known(high / floor),
                finding: finding(value > ratio, low > ratio * ceiling, level),
                ..empty
            }
        }
    }
}

/// A latency quantile, with its order-statistic interval at bucket bounds.
fn latency(bound: Bound, window: &Interval, q: f64, level: f64) -> Comparison {
    let estimate = |counts: &Counts| {
        quantile(Grid::Seconds, &counts.latency, q, level)
            .expect("minSamples is at least 1 in each arm compared")
    };
    let ours = estimate(&window.candidate);
    let known = |limit: Option<f64>| limit.filter(|limit| level > 0.0 && limit.is_finite());
    let empty = Comparison {
        value: ours.value,
        threshold: 0.0,
        n: window.candidate.latency.iter().sum(),
        n_stable: None,
        low: known(Some(ours.low)),
        high: known(ours.high),
        critical: None,
        cells: Vec::new(),
        finding: Finding::Within,
    };
    // rule: J2. A value in the open cell is only known to be at least so large: never within.
    match bound {
        Bound::Max(max) => {
            let found = finding(ours.value > max, ours.low > max, level);
            let finding = if ours.open && found == Finding::Within { Finding::Unclear } else { found };
            Comparison { threshold: max, finding, ..empty }
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

/// One of two distributions, on grid cells or on classes.
enum Side {
    Cells(Vec<u64>),
    Classes(BTreeMap<String, u64>),
}

fn cells_of(series: Series, counts: &Counts) -> &[u64] {
    match series {
        Series::Feature(feature) => &counts.features[feature.index()],
        Series::Confidence | Series::Class => &counts.doubt,
    }
}

impl Side {
    fn of_counts(series: Series, counts: &Counts) -> Self {
        match series {
            Series::Class => Self::Classes(counts.classes.clone()),
            _ => Self::Cells(cells_of(series, counts).to_vec()),
        }
    }

    fn of_profile(series: Series, profile: &Profile) -> Self {
        match series {
            Series::Class => {
                Self::Classes(profile.classes.iter().map(|c| (c.class.clone(), c.count)).collect())
            }
            Series::Feature(feature) => Self::Cells(profile.feature(feature).to_vec()),
            Series::Confidence => Self::Cells(profile.confidence.clone()),
        }
    }

    fn total(&self) -> u64 {
        match self {
            Self::Cells(cells) => cells.iter().sum(),
            Self::Classes(classes) => classes.values().sum(),
        }
    }
}

/// A pair of distributions merged into named groups.
struct Grouped {
    names: Vec<String>,
    ours: Vec<u64>,
    theirs: Vec<u64>,
}

/// Distance of the candidate's window from another distribution.
fn drift(
    metric: &Metric,
    window: &Interval,
    against: &Side,
    series: Series,
    statistic: Statistic,
    level: f64,
) -> Comparison {
    let ours = Side::of_counts(series, &window.candidate);
    let (n, m) = (ours.total(), against.total());
    let grouped = group(series, &ours, against);
    let terms = psi(&grouped.ours, &grouped.theirs);
    let (value, critical) =
        if let (Statistic::Ks, Side::Cells(ours), Side::Cells(theirs)) = (statistic, &ours, against) {
            (ks(ours, theirs), ks_critical(n, m, level))
        } else {
            // `Metric::check` refuses ks on classes.
            let value = terms.iter().sum();
            (value, psi_critical(&grouped.ours, &grouped.theirs, value, level))
        };
    let threshold = threshold(metric);
    Comparison {
        value,
        threshold,
        n,
        n_stable: None,
        low: None,
        high: None,
        critical: (level > 0.0).then_some(critical),
        cells: top_cells(&grouped, (statistic == Statistic::Psi).then_some(&terms), n, m),
        finding: finding(value > threshold, value > critical, level),
    }
}

/// Ten groups of neighbouring cells, or the classes as they are (J4).
fn group(series: Series, ours: &Side, theirs: &Side) -> Grouped {
    match (ours, theirs) {
        (Side::Cells(ours), Side::Cells(theirs)) => {
            let ranges = groups(theirs);
            let merge = |cells: &[u64]| ranges.iter().map(|r| cells[r.clone()].iter().sum()).collect();
            Grouped {
                names: ranges.iter().map(|r| range_name(series, r)).collect(),
                ours: merge(ours),
                theirs: merge(theirs),
            }
        }
        (Side::Classes(ours), Side::Classes(theirs)) => {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            let counts = |of: &BTreeMap<String, u64>| {
                names.iter().map(|name| of.get(*name).copied().unwrap_or(0)).collect()
            };
            let (ours, theirs) = (counts(ours), counts(theirs));
            Grouped { names: names.into_iter().cloned().collect(), ours, theirs }
        }
        _ => unreachable!("both sides are of one series"),
    }
}

fn range_name(series: Series, cells: &Range<usize>) -> String {
    let grid = match series {
        Series::Feature(feature) => feature.grid(),
        Series::Confidence | Series::Class => Grid::Doubt,
    };
    let from = if cells.start == 0 { 0.0 } else { grid.edge(cells.start - 1) };
    let to = grid.edge(cells.end - 1);
    if series == Series::Confidence {
        // Counted as 1 - confidence, told as confidence.
        return format!("{}..{}", number(1.0 - to.min(1.0)), number(1.0 - from));
    }
    let top = if grid == Grid::Unit { 1.0 } else { 0.5 };
    format!("{}..{}", number(from), number(to.min(top)))
}

fn top_cells(grouped: &Grouped, terms: Option<&Vec<f64>>, n: u64, m: u64) -> Vec<Cell> {
    let mut cells: Vec<Cell> = (0..grouped.names.len())
        .map(|i| {
            let (share, against) = (grouped.ours[i] as f64 / n as f64, grouped.theirs[i] as f64 / m as f64);
            let contribution = terms.map_or((share - against).abs(), |terms| terms[i]);
            Cell { name: grouped.names[i].clone(), contribution, share, against }
        })
        .filter(|cell| cell.contribution > 0.0)
        .collect();
    cells.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
    cells.truncate(TOP_CELLS);
    cells
}
