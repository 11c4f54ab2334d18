//! The grid of ratios on which likelihoods are kept.

use std::sync::LazyLock;

/// ln of ratio / tolerance above it; the grid has the same below and the tolerance itself.
///
/// Close steps near the tolerance, wide ones away from it: what a test has seen when it crosses locates the
/// logarithm of a ratio to about a third of its distance from the tolerance, so that even steps of the
/// *logarithm of that distance* waste least.
pub(crate) const STEPS: [f64; SIDE] = [0.1, 0.17, 0.26, 0.37, 0.5, 0.65, 0.85, 1.1, 1.4, 1.8, 2.3, 3.0];
/// Ratios on each side of the tolerance.
pub(crate) const SIDE: usize = 12;
/// Ratios other than the tolerance.
pub(crate) const OTHERS: usize = 2 * SIDE;

/// ln of ratio / tolerance for all others, ascending: `SIDE` below the tolerance, then `SIDE` above.
pub(crate) const LOGS: [f64; OTHERS] = logs();

const fn logs() -> [f64; OTHERS] {
    let mut logs = [0.0; OTHERS];
    let mut i = 0;
    while i < SIDE {
        logs[SIDE + i] = STEPS[i];
        logs[SIDE - 1 - i] = -STEPS[i];
        i += 1;
    }
    logs
}

/// e to the [`LOGS`].
pub(crate) static RATIOS: LazyLock<[f64; OTHERS]> = LazyLock::new(|| LOGS.map(f64::exp));

/// ln of the weight of each ratio above the tolerance in the test's mixture; the weights sum to 1.
pub(crate) static LOG_WEIGHTS: LazyLock<[f64; SIDE]> = LazyLock::new(|| {
    let sum: f64 = WEIGHTS.iter().sum();
    WEIGHTS.map(|weight| (weight / sum).ln())
});

/// Least close to the tolerance, where whatever is there takes longest, and most around three to six times it: there
/// so few events suffice that every nat that the mixture costs shows. Chosen by simulation;
/// `tests/sequential_power.rs` prints the delays as parts of Wald's bound.
const WEIGHTS: [f64; SIDE] = [0.5, 0.7, 1.0, 1.2, 1.2, 1.2, 1.2, 1.4, 1.6, 1.5, 1.0, 0.6];
