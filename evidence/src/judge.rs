//! One verdict per metric: select the window, compare, and remember how often (J1-J5).

mod by_slots;
mod compare;
mod drift;
mod reason;

pub(crate) use drift::range_name;
pub(crate) use reason::span;

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use wire::{Outcome, Profile};

use crate::judge::by_slots::Asked;
use crate::judge::compare::{Comparison, Finding, Sample, reference_of, sample};
use crate::state::own;
use crate::text::number;
use crate::windows::Want;
use crate::{
    Against, Bound, Interval, Kind, Layer, Metric, OnBreach, Reach, Reading, Series, State, Tests, Track,
    Verdict, Windows, check_level, metric_budget,
};

/// Intervals that may be missing before what is in the windows counts as stale (J1).
const STALE_AFTER: i32 = 3;

/// What to judge by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The metrics, with unique names.
    pub metrics: &'a [Metric],
    /// The sequential tests of a rollout that begins now; one that runs keeps those that it began with (I3).
    pub tests: &'a Tests,
    /// Budget of false rollbacks, 0..1; 0 compares raw values and runs no sequential test (S2).
    pub false_rollback: f64,
    /// Time between two samplings; windows whose newest interval is older than three of them are stale.
    pub interval: SignedDuration,
    /// The longest time from a request to its outcome. What fails slowly is counted that late, so in a stage's first
    /// intervals it lacks what fails at once does not: failures are compared with stable's only in intervals that
    /// began so long after the stage, in which both have come to flow evenly.
    pub timeout: SignedDuration,
}

impl Rules<'_> {
    /// When failures of a stage that began at `since` may be compared.
    pub(crate) fn ripe(&self, since: Timestamp) -> Timestamp {
        since.checked_add(self.timeout).unwrap_or(Timestamp::MAX)
    }
}

/// The reference profiles, as far as they could be read from the revisions' servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct References<'a> {
    /// The candidate's.
    pub candidate: Option<&'a Profile>,
    /// Stable's own: its confidence and classes are compared with it, to tell a drifting world from a
    /// drifting candidate (J5).
    pub stable: Option<&'a Profile>,
}

/// Judges every metric, in the order of the rules, then every sequential test, and brings `state` up to these
/// windows.
///
/// Calling it again without a new interval makes no new check: the same numbers are read at the same level,
/// so it may be called as often as it is convenient. State of another stage is carried over as J3 and T1
/// say: numbers of checks stay, totals and breaches in a row start anew.
pub fn judge(
    rules: &Rules<'_>,
    windows: &Windows,
    references: References<'_>,
    state: &mut State,
    now: Timestamp,
) -> Vec<Reading> {
    if let Some(since) = windows.since() {
        state.enter_stage(since);
    }
    state.begin(rules);
    state.count(rules, windows, references);
    let budget = metric_budget(rules.metrics, rules.false_rollback);
    let slots = windows.newest().and_then(|newest| newest.slots.as_deref());
    let judging = Judging { rules, windows, references, budget, asked: slots.map(Asked::of), now };
    let selected = judging.select();
    let mut readings: Vec<Reading> = Vec::with_capacity(rules.metrics.len() + 5);
    for (i, metric) in rules.metrics.iter().enumerate() {
        let track = state.tracks.entry(metric.name.clone()).or_default();
        readings.push(judging.read(metric, track, selected[i].as_deref()));
    }
    readings.extend(state.silence(rules, now));
    readings.extend(state.running.iter().flat_map(|running| running.readings(rules, references, now)));
    readings
}

struct Judging<'a> {
    rules: &'a Rules<'a>,
    windows: &'a Windows,
    references: References<'a>,
    budget: f64,
    /// Under sticky routing.
    asked: Option<Asked>,
    now: Timestamp,
}

/// Why there is no comparison: the verdict, the samples at hand and the rest of the sentence.
struct Lack {
    verdict: Verdict,
    n: u64,
    n_stable: Option<u64>,
    why: String,
}

impl Lack {
    const fn new(verdict: Verdict, why: String) -> Self {
        Self { verdict, n: 0, n_stable: None, why }
    }
}

impl Judging<'_> {
    /// The window of each metric; none at all while there is no interval.
    fn select(&self) -> Vec<Option<Rc<Interval>>> {
        let enough: Vec<_> = self
            .rules
            .metrics
            .iter()
            .map(|metric| {
                move |sum: &Interval| {
                    let sample = sample(metric, sum);
                    sample.n >= metric.min_samples && sample.n_stable.is_none_or(|m| m >= metric.min_samples)
                }
            })
            .collect();
        let wants = self.rules.metrics.iter().zip(&enough);
        let wants: Vec<Want<'_>> = wants
            .map(|(metric, enough)| Want { reach: reach(metric), from: self.from(metric), enough })
            .collect();
        self.windows.select_all(&wants)
    }

    /// Before when nothing is looked at, if so.
    fn from(&self, metric: &Metric) -> Option<Timestamp> {
        let compares = matches!((metric.kind, metric.bound), (Kind::ErrorRate, Bound::MaxRatio(_)));
        compares.then(|| self.windows.since().map_or(Timestamp::MAX, |since| self.rules.ripe(since)))
    }

    fn read(&self, metric: &Metric, track: &mut Track, window: Option<&Interval>) -> Reading {
        match self.comparable(metric, window) {
            Ok((window, reference)) => self.check(metric, track, window, reference),
            Err(lack) => self.without(metric, track, window, &lack),
        }
    }

    /// Whether there is enough to compare; with the window, and the profile if the metric needs one.
    fn comparable<'w>(
        &self,
        metric: &Metric,
        window: Option<&'w Interval>,
    ) -> Result<(&'w Interval, Option<&Profile>), Lack> {
        metric.check().map_err(|error| Lack::new(Verdict::Error, error.to_string()))?;
        let Some(window) = window else {
            let why = match self.windows.newest() {
                None => "nothing was sampled in this stage yet".to_owned(),
                Some(_) => format!(
                    "waits until {} after the stage began: what fails slowly was not counted before",
                    reason::span(self.rules.timeout)
                ),
            };
            return Err(Lack::new(Verdict::NoData, why));
        };
        // rule: J1
        let age = self.now.duration_since(window.to);
        if age > self.rules.interval.saturating_mul(STALE_AFTER) {
            let why = format!("the last interval ended {} ago", reason::span(age));
            return Err(Lack::new(Verdict::NoData, why));
        }
        if age < -self.rules.interval {
            let why =
                format!("the last interval ends {} from now: the clock was set back", reason::span(-age));
            return Err(Lack::new(Verdict::NoData, why));
        }
        let reference = self.reference(metric)?;
        let Sample { n, n_stable, unit } = sample(metric, window);
        let short = |n: u64| n < metric.min_samples;
        // rule: J1, T2
        if short(n) || n_stable.is_some_and(short) {
            let why = reason::short(n, n_stable, metric.min_samples, unit, window);
            return Err(Lack { verdict: Verdict::NoData, n, n_stable, why });
        }
        Ok((window, reference))
    }

    fn reference(&self, metric: &Metric) -> Result<Option<&Profile>, Lack> {
        if !matches!(metric.kind, Kind::Drift { against: Against::Reference, .. }) {
            return Ok(None);
        }
        let Some(profile) = self.references.candidate else {
            let why = "the candidate's server has shown no reference profile".to_owned();
            return Err(Lack::new(Verdict::NoData, why));
        };
        match profile.check() {
            Err(error) => Err(Lack::new(
                Verdict::Error,
                format!("the candidate's reference profile is unusable: {error}"),
            )),
            Ok(()) if profile.images == 0 => {
                Err(Lack::new(Verdict::Error, "the candidate's reference profile holds no images".into()))
            }
            Ok(()) => Ok(Some(profile)),
        }
    }

    /// Makes the next check, or repeats the last one if nothing is new.
    fn check(
        &self,
        metric: &Metric,
        track: &mut Track,
        window: &Interval,
        reference: Option<&Profile>,
    ) -> Reading {
        // Another end, not a later one: the clock may have been set back.
        let fresh = track.checked != Some(window.to);
        if fresh {
            track.checks += 1;
            track.checked = Some(window.to);
        }
        track.without_data = None;
        // rule: J3
        let level = metric.significance.unwrap_or_else(|| check_level(self.budget, track.checks));
        let found = self.compare(metric, window, reference, level);
        if fresh {
            let breach = found.finding == Finding::Breach;
            track.breaches = if breach { track.breaches.saturating_add(1) } else { 0 };
        }
        let ruling = self.rule(metric, track.breaches, window, level, found.finding);
        let reason = reason::sentence(metric, &found, window, track.checks, level, ruling.note.as_deref());
        Reading {
            metric: metric.name.clone(),
            verdict: ruling.verdict,
            on_breach: ruling.on_breach.or(metric.on_breach).unwrap_or_default(),
            overdue: None,
            value: Some(found.value),
            threshold: Some(found.threshold),
            n: found.n,
            n_stable: found.n_stable,
            low: found.low,
            high: found.high,
            critical: found.critical,
            level,
            check: track.checks,
            window_from: window.from,
            window_to: window.to,
            layer: Layer::Threshold,
            p_value: None,
            forecast: None,
            cells: found.cells,
            reason,
        }
    }

    /// Compares requests, and under sticky routing what as many users prove.
    fn compare(
        &self,
        metric: &Metric,
        window: &Interval,
        reference: Option<&Profile>,
        level: f64,
    ) -> Comparison {
        let compare = |window: &Interval| compare::compare(metric, window, reference, level);
        // rule: C5
        match self.asked {
            Some(asked) => asked.limit(compare(window), metric, window, compare),
            None => compare(window),
        }
    }

    /// The verdict of a finding, after `breaches` in a row.
    fn rule(
        &self,
        metric: &Metric,
        breaches: u32,
        window: &Interval,
        level: f64,
        finding: Finding,
    ) -> Ruling {
        let ruling = match finding {
            Finding::Within => match self.unproven(metric, window) {
                Some(why) => Ruling { note: Some(why), ..Ruling::new(Verdict::Inconclusive) },
                None => Ruling::new(Verdict::Pass),
            },
            Finding::Unclear => Ruling::new(Verdict::Inconclusive),
            Finding::Breach if breaches < metric.consecutive => Ruling {
                note: Some(format!("breach {breaches} of {} in a row", metric.consecutive)),
                ..Ruling::new(Verdict::Inconclusive)
            },
            Finding::Breach => Ruling::new(Verdict::Fail),
        };
        if finding == Finding::Breach && metric.on_breach.is_none() {
            self.whose_drift(metric, window, level, ruling)
        } else {
            ruling
        }
    }

    /// Why a value within the bound is no Pass, if so: the candidate was hardly there to be measured.
    fn unproven(&self, metric: &Metric, window: &Interval) -> Option<String> {
        // rule: C2. It holds the stage.
        let drained = self.windows.newest().map_or(0, |newest| newest.candidate.outcome(Outcome::Drained));
        if drained > 0 {
            return Some(format!(
                "waits: stable served {drained} requests while the candidate's only endpoints were terminating"
            ));
        }
        // rule: T2. Fallbacks count as errors, so they may be a breach; they never prove that all is well.
        let own = own(&window.candidate);
        (own < metric.min_samples)
            .then(|| format!("waits: the candidate itself served {own} of {} samples", metric.min_samples))
    }

    /// Drift from the reference that stable shows as well means that the world moved: an alert. So does drift
    /// without any control group (J5, S3). While stable's side is unclear the verdict waits.
    fn whose_drift(&self, metric: &Metric, window: &Interval, level: f64, ruling: Ruling) -> Ruling {
        let Kind::Drift { series, against: Against::Reference, .. } = metric.kind else { return ruling };
        // rule: J5
        let profile = match series {
            Series::Feature(_) => self.references.candidate,
            // Models differ in calibration: stable's answers have a reference of their own.
            Series::Confidence | Series::Class => self.references.stable,
        };
        let control = profile.filter(|p| p.check().is_ok() && p.images > 0).map(|p| {
            let swapped = Interval { candidate: window.stable.clone(), ..window.clone() };
            let n = sample(metric, &swapped).n;
            ((n > 0).then(|| reference_of(metric, &swapped, p, level)), n)
        });
        let alert = |note: &str| Ruling {
            on_breach: Some(OnBreach::Alert),
            note: Some(note.to_owned()),
            verdict: ruling.verdict,
        };
        let wait = |note: String| Ruling { note: Some(note), ..Ruling::new(Verdict::Inconclusive) };
        match control {
            None => alert("stable has no profile to tell drift of the world from drift of the candidate"),
            Some((None, _)) => {
                alert("stable has no samples to tell drift of the world from drift of the candidate")
            }
            Some((_, n)) if n < metric.min_samples => wait(format!(
                "waiting for stable to tell whose drift it is: {n} of {} samples",
                metric.min_samples
            )),
            Some((Some(Comparison { finding: Finding::Breach, value, .. }), _)) => {
                alert(&format!("stable drifts as well, {}: the world moved", number(value)))
            }
            Some((Some(Comparison { finding: Finding::Unclear, value, .. }), _)) => {
                wait(format!("stable may drift as well, {}, but that may be noise", number(value)))
            }
            Some((Some(Comparison { finding: Finding::Within, .. }), _)) => ruling,
        }
    }

    fn without(&self, metric: &Metric, track: &mut Track, window: Option<&Interval>, lack: &Lack) -> Reading {
        let since = track.without_data.map_or(self.now, |since| since.min(self.now));
        track.without_data = Some(since);
        // rule: J5
        let overdue = self.now.duration_since(since) >= metric.no_data_deadline;
        let why = if overdue {
            let span = reason::span(self.now.duration_since(since));
            format!("{}, without data for {span}", lack.why)
        } else {
            lack.why.clone()
        };
        let on_breach = metric.on_breach.unwrap_or_default();
        let start = self.windows.since().unwrap_or(self.now);
        let span = window.map_or((start, self.now), |w| (w.from, w.to));
        Reading {
            overdue: overdue.then_some(metric.on_no_data),
            threshold: compare::threshold(metric),
            n: lack.n,
            n_stable: lack.n_stable,
            check: track.checks,
            ..Reading::unmeasured(&metric.name, Layer::Threshold, (lack.verdict, on_breach), span, &why)
        }
    }
}

fn reach(metric: &Metric) -> Reach {
    metric.last_requests.map_or(Reach::Time(metric.window), Reach::Requests)
}

/// A verdict on its way to the reading.
struct Ruling {
    verdict: Verdict,
    on_breach: Option<OnBreach>,
    note: Option<String>,
}

impl Ruling {
    const fn new(verdict: Verdict) -> Self {
        Self { verdict, on_breach: None, note: None }
    }
}
