//! One verdict per metric: select the window, compare, and remember how often (J1-J5).

mod by_slots;
mod compare;
mod drift;
mod reason;
mod rules;
mod whose;

use drift::Side;
pub(crate) use drift::range_name;
pub(crate) use reason::span;
pub use rules::{ACCEPT_LEVEL, ACCEPT_MARGIN, References, Rules};

use std::rc::Rc;

use jiff::Timestamp;
use wire::{Outcome, Profile};

use crate::judge::by_slots::Asked;
use crate::judge::compare::{Comparison, Finding, Sample, sample};
use crate::state::own;
use crate::windows::Want;
use crate::{
    Against, Bound, Interval, Kind, Layer, Metric, OnBreach, Reach, Reading, State, Track, Verdict, Windows,
    check_level, metric_budget,
};

/// Intervals that may be missing before what is in the windows counts as stale (J1).
const STALE_AFTER: i32 = 3;

/// Judges every metric, in the order of the rules, then every sequential test, and brings `state` up to these
/// windows. Metrics that the stage cannot measure have no reading: those that compare with stable where there is none
/// or its requests are not comparable ([`Draw`](crate::Draw)), and disagreement where nothing is copied.
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
    let asked = windows.newest().and_then(Asked::of);
    let judging = Judging { rules, windows, references, budget, asked, now };
    let selected = judging.select();
    let mut readings: Vec<Reading> = Vec::with_capacity(rules.metrics.len() + 5);
    for (i, metric) in rules.metrics.iter().enumerate() {
        if windows.newest().is_some_and(|newest| !metric.is_measured_in(newest)) {
            continue;
        }
        let track = state.tracks.entry(metric.name.clone()).or_default();
        readings.push(judging.read(metric, track, selected[i].as_deref()));
    }
    readings.extend(state.silence(rules, now));
    let tests = state.running.iter();
    readings.extend(tests.flat_map(|running| running.readings(rules, references, windows.newest(), now)));
    state.look_ahead(rules, windows.newest(), &mut readings);
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
        compares.then(|| self.rules.ripe(self.windows))
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
                    reason::span(self.rules.delay(self.windows.newest()))
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
            let mut why = reason::short(n, n_stable, metric.min_samples, unit, window);
            if let Some((whose, feature)) = compare::untold(metric, window) {
                why.push_str(&format!("; no answer of {whose} tells its {feature}"));
            }
            return Err(Lack { verdict: Verdict::NoData, n, n_stable, why });
        }
        if let Some(why) = compare::skew(metric, window) {
            return Err(Lack { verdict: Verdict::NoData, n, n_stable, why });
        }
        Ok((window, reference))
    }

    fn reference(&self, metric: &Metric) -> Result<Option<&Profile>, Lack> {
        let Kind::Drift { against: Against::Reference, series, .. } = metric.kind else { return Ok(None) };
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
            // A profile of an earlier release is no error: it says less.
            Ok(()) if Side::of_profile(series, profile).is_none() => {
                let why = format!(
                    "the candidate's reference profile holds no {}: profile the model again",
                    series.as_str()
                );
                Err(Lack::new(Verdict::NoData, why))
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
            detects: None,
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
        if metric.kind == Kind::Accuracy {
            // Labels are of answers that it gave itself.
            return None;
        }
        // rule: T2. Fallbacks count as errors, so they may be a breach; they never prove that all is well.
        let own = own(&window.candidate);
        (own < metric.min_samples)
            .then(|| format!("waits: the candidate itself served {own} of {} samples", metric.min_samples))
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
