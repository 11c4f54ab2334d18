//! What the numbers say of a candidate: from routers' pages to verdicts. Pure: time is an argument.
//!
//! ```text
//! router pages ─> Baselines ─> Interval ─> Windows ─> judge(rules, windows, references, state, now) ─> Reading…
//!                 exact deltas             this stage only              └─ State: small, persisted
//! ```
//!
//! [`Baselines`] turns counters into exact deltas, each counted at most once (C4). [`Windows`] keeps the
//! intervals of the present stage (T1). [`judge`] compares each [`Metric`] with its bound and says one
//! [`Verdict`] per metric, with a sentence that gives the reason (J1-J5). This is the threshold layer; the
//! rules that the comments name are those of `semantics.md`.
//!
//! Beside them: [`Labels`] counts true classes that arrive late, and says accuracy, precision, recall, F1,
//! calibration and AUC with limits. [`Hypothesis`] judges an A/B test, with one look or any number of them.
//!
//! To add a metric: a variant of [`Kind`], its validation in [`Metric::check`], and its comparison in
//! `judge/compare.rs`.

mod distance;
mod experiment;
mod interval;
mod judge;
mod labels;
mod level;
mod metric;
mod quantile;
mod reading;
mod sampling;
mod share;
mod state;
mod text;
mod windows;

pub use distance::{GROUPS, chi_square_critical, g_statistic, groups, ks, ks_critical, psi, psi_critical};
pub use experiment::{
    Baseline, Conclusion, Direction, ExperimentError, ExperimentReading, Hypothesis, MISMATCH, Mode,
    Observed, SEQUENCE_MINIMUM, Sample, Test, Wager, chi_square, mean_sequence, newcombe, required_classes,
    required_means, required_shares, two_proportion_z, welch, welch_interval,
};
pub use interval::clopper_pearson;
pub use judge::{References, Rules, judge};
pub use labels::{
    Calibration, CalibrationBin, ClassScores, Confusion, Histogram, HistogramError, LabelError, Labels,
    MAX_PAIRS, Macro, OTHER, Scores, Tally, auc, auc_variance, calibration, confidence_bins, macro_f1,
    macro_precision, macro_recall,
};
pub use level::{THRESHOLD_SHARE, check_level, metric_budget};
pub use metric::{
    Against, Bound, Kind, Metric, MetricError, OnBreach, OnNoData, Series, Statistic, default_on_breach,
};
pub use quantile::{Estimate, quantile};
pub use reading::{Cell, Reading, Verdict};
pub use sampling::{Arms, Baselines, Dropped, Round};
pub use share::{Measured, Share, wilson};
pub use state::{State, Track};
pub use windows::{Interval, MAX_INTERVALS, Windows};
