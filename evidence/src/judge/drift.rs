//! The comparison of two distributions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;

use wire::{CELLS, Counts, Grid, Profile};

use crate::distance;
use crate::judge::compare::{Comparison, Finding, finding};
use crate::text::number;
use crate::{Bound, Cell, Distance, DistanceError, Interval, Kind, Metric, Part, Series, Statistic};

/// One of two distributions, on grid cells or on classes.
pub(super) enum Side {
    Cells(Vec<u64>),
    Classes(BTreeMap<String, u64>),
}

pub(super) fn cells_of(series: Series, counts: &Counts) -> &[u64] {
    match series {
        Series::Feature(feature) => &counts.features[feature.index()],
        Series::Confidence | Series::Class => &counts.doubt,
    }
}

impl Side {
    pub(super) fn of_counts(series: Series, counts: &Counts) -> Self {
        match series {
            Series::Class => Self::Classes(counts.classes.clone()),
            _ => Self::Cells(cells_of(series, counts).to_vec()),
        }
    }

    /// `None` for a feature that the profile does not hold.
    pub(super) fn of_profile(series: Series, profile: &Profile) -> Option<Self> {
        Some(match series {
            Series::Class => {
                Self::Classes(profile.classes.iter().map(|c| (c.class.clone(), c.count)).collect())
            }
            Series::Feature(feature) => Self::Cells(profile.feature(feature)?.to_vec()),
            Series::Confidence => Self::Cells(profile.confidence.clone()),
        })
    }

    pub(super) fn total(&self) -> u64 {
        match self {
            Self::Cells(cells) => cells.iter().sum(),
            Self::Classes(classes) => classes.values().sum(),
        }
    }
}

/// Distance of the candidate's window from another distribution.
pub(super) fn drift(metric: &Metric, window: &Interval, against: &Side, level: f64) -> Comparison {
    let Kind::Drift { series, statistic, .. } = metric.kind else {
        unreachable!("only drift is a distance of distributions")
    };
    let ours = Side::of_counts(series, &window.candidate);
    let groups = Grouped::new(series, &ours, against);
    let found = match (statistic.needs_order(), &ours, against) {
        (true, Side::Cells(ours), Side::Cells(theirs)) => ordered(series, statistic, ours, theirs, level),
        // `Metric::check` refuses classes for the others.
        _ => groups.distance(statistic, level),
    };
    let found = found.expect("minSamples is at least 1 and no profile is empty");
    // rule: J1, J2
    let exceeds = |critical: Option<f64>| critical.is_some_and(|critical| found.value > critical);
    let (threshold, critical, finding) = match metric.bound {
        Bound::Max(max) => {
            let critical = reach(statistic, &groups, &found, max, level);
            (max, critical, finding(found.value > max, exceeds(critical), level))
        }
        Bound::Noise => {
            let critical = found.critical.expect("`Metric::check` asks for a significance above 0");
            let beyond = exceeds(Some(critical));
            (critical, Some(critical), if beyond { Finding::Breach } else { Finding::Within })
        }
        Bound::MaxRatio(_) | Bound::Min(_) | Bound::MaxDrop(_) => {
            unreachable!("`Metric::check` refuses it for drift")
        }
    };
    Comparison {
        value: found.value,
        threshold,
        n: found.n,
        n_stable: None,
        low: None,
        high: None,
        critical,
        cells: if statistic.needs_order() { groups.changed() } else { groups.name(&found.parts) },
        finding,
        slots: None,
    }
}

/// What noise may make of a true distance of `max` at this level: to be above it is to be proven beyond the bound,
/// as with the limits of rates. What equal distributions reach is not enough: two that differ by a little less than
/// `max` are within it, and would be beyond it in every other sample.
///
/// KS, L-infinity and W1 are norms of the difference of two distributions, so that noise adds to the true
/// distance at most what it is between equal ones. The squares of the Jensen-Shannon and Hellinger distances are to
/// first order a noncentral chi-square, and keep the level as such; PSI needs a likelihood ratio beside it
/// (`tests/reach.rs`). Chi-square and G grow with n: what they truly are is no property of two distributions, and a
/// bound on them is compared as it is.
fn reach(statistic: Statistic, groups: &Grouped, found: &Distance, max: f64, level: f64) -> Option<f64> {
    let critical = found.critical?;
    let reached = match statistic {
        Statistic::Ks | Statistic::LInfinity | Statistic::Wasserstein => max + critical,
        Statistic::Psi => distance::psi_reach(&groups.ours, &groups.theirs, found, max, level),
        Statistic::JensenShannon => distance::JENSEN_SHANNON.reach(found, max, level),
        Statistic::Hellinger => distance::HELLINGER.reach(found, max, level),
        Statistic::ChiSquare | Statistic::G => critical,
    };
    Some(reached.max(critical))
}

/// The statistics that know an order look at every cell of the grid.
fn ordered(
    series: Series,
    statistic: Statistic,
    ours: &[u64],
    theirs: &[u64],
    level: f64,
) -> Result<Distance, DistanceError> {
    if statistic == Statistic::Ks {
        return distance::ks(ours, theirs, level);
    }
    distance::wasserstein(ours, theirs, places(grid(series)), level)
}

/// Two distributions on ten groups of neighbouring cells, or on the classes as they are (J4).
struct Grouped {
    series: Series,
    ours: Vec<u64>,
    theirs: Vec<u64>,
    names: Names,
}

enum Names {
    Classes(Vec<String>),
    /// Which cells of the grid each group is.
    Grid(Vec<Range<usize>>),
}

impl Grouped {
    fn new(series: Series, ours: &Side, theirs: &Side) -> Self {
        match (ours, theirs) {
            (Side::Cells(ours), Side::Cells(theirs)) => {
                let ranges = distance::groups(theirs);
                let merge = |cells: &[u64]| ranges.iter().map(|r| cells[r.clone()].iter().sum()).collect();
                Self { series, ours: merge(ours), theirs: merge(theirs), names: Names::Grid(ranges) }
            }
            (Side::Classes(ours), Side::Classes(theirs)) => {
                let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
                let counts = |of: &BTreeMap<String, u64>| {
                    names.iter().map(|name| of.get(*name).copied().unwrap_or(0)).collect()
                };
                let (ours, theirs) = (counts(ours), counts(theirs));
                Self { series, ours, theirs, names: Names::Classes(names.into_iter().cloned().collect()) }
            }
            _ => unreachable!("both sides are of one series"),
        }
    }

    fn distance(&self, statistic: Statistic, level: f64) -> Result<Distance, DistanceError> {
        let of = match statistic {
            Statistic::Psi => distance::psi,
            Statistic::ChiSquare => distance::chi_square,
            Statistic::G => distance::g_test,
            Statistic::JensenShannon => distance::jensen_shannon,
            Statistic::Hellinger => distance::hellinger,
            Statistic::LInfinity => distance::l_infinity,
            Statistic::Ks | Statistic::Wasserstein => unreachable!("`ordered` computes them"),
        };
        of(&self.ours, &self.theirs, level)
    }

    /// The groups whose shares differ most.
    fn changed(&self) -> Vec<Cell> {
        let share = |counts: &[u64], group: usize| counts[group] as f64 / counts.iter().sum::<u64>() as f64;
        let differences = (0..self.ours.len()).map(|i| (share(&self.ours, i) - share(&self.theirs, i)).abs());
        self.name(&distance::top_parts(differences))
    }

    fn name(&self, parts: &[Part]) -> Vec<Cell> {
        parts.iter().map(|part| self.cell(&part.cells, part.contribution)).collect()
    }

    /// Neighbouring groups, and what they contribute.
    fn cell(&self, groups: &Range<usize>, contribution: f64) -> Cell {
        let (first, last) = (groups.start, groups.end - 1);
        let name = match &self.names {
            Names::Classes(names) if first == last => names[first].clone(),
            // Classes that were too rare for a test of their own.
            Names::Classes(names) => format!("{} to {}", names[first], names[last]),
            Names::Grid(ranges) => range_name(self.series, &(ranges[first].start..ranges[last].end)),
        };
        let share = |counts: &[u64]| {
            counts[groups.clone()].iter().sum::<u64>() as f64 / counts.iter().sum::<u64>() as f64
        };
        Cell { name, contribution, share: share(&self.ours), against: share(&self.theirs) }
    }
}

const fn grid(series: Series) -> Grid {
    match series {
        Series::Feature(feature) => feature.grid(),
        Series::Confidence | Series::Class => Grid::Doubt,
    }
}

/// Bounds of neighbouring cells. No feature lies above the finite end that is put in place of infinity.
fn bounds(grid: Grid, cells: &Range<usize>) -> (f64, f64) {
    (
        if cells.start == 0 { grid.bottom() } else { grid.edge(cells.start - 1) },
        grid.edge(cells.end - 1).min(grid.top()),
    )
}

/// Where the cells of a grid are, within 0..=1: their middles, and for pixels and energies, which are beyond, the number of the cell as a
/// part of all.
fn places(grid: Grid) -> &'static [f64] {
    const GRIDS: [Grid; 6] = [Grid::Unit, Grid::Half, Grid::Doubt, Grid::Sharp, Grid::Pixels, Grid::Energy];
    static PLACES: LazyLock<[Vec<f64>; GRIDS.len()]> = LazyLock::new(|| {
        GRIDS.map(|grid| {
            let place = |cell: usize| {
                if matches!(grid, Grid::Pixels | Grid::Energy) {
                    return (cell as f64 + 0.5) / CELLS as f64;
                }
                let (from, to) = bounds(grid, &(cell..cell + 1));
                0.5 * (from + to)
            };
            (0..CELLS).map(place).collect()
        })
    });
    let at = GRIDS.iter().position(|known| *known == grid).expect("no feature has another grid");
    &PLACES[at]
}

/// Neighbouring cells as a range of values.
pub(crate) fn range_name(series: Series, cells: &Range<usize>) -> String {
    let (from, to) = bounds(grid(series), cells);
    if series == Series::Confidence {
        // Counted as 1 - confidence, told as confidence.
        return format!("{}..{}", number(1.0 - to), number(1.0 - from));
    }
    format!("{}..{}", number(from), number(to))
}
