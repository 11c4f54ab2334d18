//! What the numbers say of a candidate: from routers' pages to verdicts. Pure: time is an argument.
//!
//! ```text
//! router pages ─> Baselines ─> Interval ─> Windows ─> judge(rules, windows, references, state, now) ─> Reading…
//!                 exact deltas             this stage only              └─ State: small, persisted
//! ```
//!
//! [`Baselines`] turns counters into exact deltas, each counted at most once (C4). Whose requests they are depends on the
//! stage: [`Draw`] says which count when each is drawn for an arm, copied to the candidate, or sent to it by a rule. [`Windows`] keeps the
//! intervals of the present stage (T1). [`judge`] compares each [`Metric`] with its bound and says one
//! [`Verdict`] per metric, with a sentence that gives the reason (J1-J5). This is the threshold layer.
//!
//! [`Process`] and its relatives are the second layer: sequential tests of candidate against stable, which may be
//! looked at as often as one likes (S1, S2); [`judge`] runs those of a rollout beside the thresholds. They take back; the
//! one that lets pass is acceptance ([`Rules::accept`]): it holds a stage until [`Promotion`] has proven enough. The rules that
//! the comments name are those of `semantics.md`.
//!
//! Under sticky routing users are drawn, not requests: [`SlotState`] turns the pages' slots into counts of
//! slots instead (C5).
//!
//! Labels that arrive late are counted by routers; [`Labelled`] is what they say of both arms, for the metric
//! [`Kind::Accuracy`], for trials and for bandits. Beside them: [`Labels`] counts true classes one by one, and says
//! accuracy, precision, recall, F1, calibration and AUC with limits. [`experiment`] judges A/B tests, with one look or any
//! number of them, and [`Bandit`] moves shares towards the better arm; [`Trial`] and [`Rewards`] feed them with the
//! same intervals, by a [`Measure`].
//!
//! To add a metric: a variant of [`Kind`], its validation in [`Metric::check`], and its comparison in
//! `judge/compare.rs`. To add a distance: a function in `distance/`, a variant of [`Statistic`], and its line in
//! `judge/drift.rs`.

mod bandit;
mod distance;
mod draw;
pub mod experiment;
mod harm;
mod interval;
mod judge;
mod labelled;
mod labels;
mod level;
mod metric;
mod packed;
mod quantile;
mod reading;
mod running;
mod sampling;
mod sequential;
mod share;
mod slots;
mod state;
mod text;
mod trial;
mod trip;
mod windows;

pub use bandit::{
    Arrived, Bandit, BanditError, BanditReading, BanditState, HalfLife, Lead, MAX_ARMS, Posterior,
    probability_best,
};
pub use distance::{
    Distance, DistanceError, GROUPS, Part, chi_square, chi_square_critical, g_test, groups, hellinger,
    jensen_shannon, ks, ks_critical, ks_limits, ks_values, l_infinity, psi, wasserstein,
};
pub use draw::Draw;
pub use harm::{ALERT_LEVEL, Harm, SEQUENTIAL_SHARE, Tests};
pub use interval::clopper_pearson;
pub use judge::{ACCEPT_LEVEL, ACCEPT_MARGIN, References, Rules, judge};
pub use labelled::Labelled;
pub use labels::{
    Calibration, CalibrationBin, ClassScores, Confusion, Histogram, HistogramError, LabelError, Labels,
    MAX_PAIRS, Macro, OTHER, Scores, Tally, auc, auc_variance, calibration, confidence_bins, macro_f1,
    macro_precision, macro_recall,
};
pub use level::{THRESHOLD_SHARE, check_level, metric_budget};
pub use metric::{Against, Bound, Kind, Metric, MetricError, OnBreach, OnNoData, Series, Statistic};
pub use quantile::{Estimate, quantile};
pub use reading::{Cell, Layer, Reading, Verdict};
pub use running::ERRORS;
pub use sampling::{Arms, Baselines, Dropped, Round};
pub use sequential::{
    AlarmError, DETECTED, Detector, DriftAlarm, Exceedance, LatencyTest, Leaves, MAX_COUNT, Mismatch, Pairs,
    Process, Promotion, SequentialError, Stratum, Tree,
};
pub use share::{Measured, Share, wilson};
pub use slots::{SlotRound, SlotState, SlotStrata, SlotThresholds};
pub use state::{State, Track};
pub use trial::{Allotted, HELD, Measure, Rewards, Trial, TrialReading, TrialState, TrialVerdict};
pub use trip::{BLOCK, FAILURES, TRIP_SHARE, TRIP_WIRE, false_trip};
pub use windows::{Interval, MAX_INTERVALS, Reach, Windows};
