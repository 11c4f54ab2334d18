//! The sequential tests of a rollout that runs: settings frozen when it began, and what they have seen (I3, C6).

mod accept;
mod ahead;
mod change;
mod reading;
mod slow;
mod split;
mod test;
mod unsure;
mod wrong;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::Counts;

use crate::judge::span;
use crate::sequential::latency::ENOUGH;
use crate::{
    ALERT_LEVEL, Draw, Interval, OnBreach, Reading, References, Rules, SlotRound, SlotState, SlotThresholds,
    Stratum, Tests, Verdict,
};
use accept::Accept;
pub(crate) use ahead::Ahead;
use change::Change;
use reading::Look;
use slow::Slow;
use split::Split;
use test::{Test, Totals};
use unsure::Unsure;
use wrong::Wrong;

/// State of the sequential tests, of one rollout, over all of its stages and its watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Running {
    tests: Tests,
    false_rollback: f64,
    /// Start of the first interval and end of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span: Option<(Timestamp, Timestamp)>,
    intervals: u64,
    /// Whether users are drawn, not requests, as of the newest interval.
    #[serde(default)]
    sticky: bool,
    split: Split,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errors: Option<Test>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow: Option<Slow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsure: Option<Unsure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrong: Option<Wrong>,
    /// Where a stage waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accept: Option<Accept>,
    /// Slots that had their first event, under sticky routing (C5).
    #[serde(default)]
    slots: SlotState,
    /// What stable did so far, until bounds and cells are frozen. In memory only: it is gathered anew.
    #[serde(skip)]
    learning: Counts,
}

impl Running {
    /// Tests that have seen nothing.
    pub(crate) fn new(tests: &Tests, false_rollback: f64) -> Self {
        Self {
            tests: tests.clone(),
            false_rollback,
            span: None,
            intervals: 0,
            sticky: false,
            split: Split::default(),
            errors: tests.errors.map(|harm| Test::new(harm.tolerance)),
            slow: None,
            unsure: None,
            change: None,
            wrong: tests.accuracy.map(|harm| Wrong::new(harm.tolerance, tests.levels(false_rollback)[3])),
            accept: None,
            slots: SlotState::default(),
            learning: Counts::default(),
        }
    }

    /// The candidate must be proven good enough from here on, if it need not before.
    pub(crate) fn begin_acceptance(&mut self) {
        self.accept.get_or_insert_default();
    }

    /// Takes an interval, which must not have been taken before (C4). Errors count from `ripe` on: see
    /// [`Rules::timeout`].
    pub(crate) fn observe(&mut self, interval: &Interval, references: References<'_>, ripe: Timestamp) {
        let is_ripe = interval.from >= ripe;
        let since = self.span.map_or(interval.from, |(since, _)| since);
        self.span = Some((since, interval.to));
        self.intervals += 1;
        self.sticky = interval.split.is_none() && interval.slots.is_some();
        let low_confidence = self.tests.low_confidence.filter(|_| self.unsure.is_none());
        if let Some(harm) = low_confidence {
            let level = self.tests.levels(self.false_rollback)[2];
            self.unsure = Unsure::new(references, harm.tolerance, level);
        }
        let is_split = interval.draw == Draw::Split;
        match (interval.split, &interval.slots) {
            _ if silence(interval).is_some() => {}
            (Some(share), _) => self.by_requests(interval, is_split.then_some(share), is_ripe),
            (None, Some(slots)) => self.by_slots(interval, slots, is_ripe),
            // rule: C5. Requests of one user are not independent, and nothing says whose they are.
            (None, None) => {}
        }
        self.learn(interval);
    }

    /// Requests that were drawn with this share, or copies.
    fn by_requests(&mut self, interval: &Interval, share: Option<f64>, is_ripe: bool) {
        if let Some(share) = share {
            self.split.observe(interval, share);
        }
        if is_ripe {
            // rule: C2
            let ((x, n), (x_stable, n_stable)) = (interval.candidate.errors(), interval.stable.errors());
            // A split that is not what was drawn is not known, and that of copies is none: the counts themselves decide.
            let split = share.filter(|_| !self.split.is_wrong());
            let stratum = Stratum { x, n, x_stable, n_stable, split };
            let stratum = if split.is_some() { stratum } else { stratum.by_units() };
            if let Some(errors) = &mut self.errors {
                errors.observe(stratum);
            }
            if let Some(accept) = &mut self.accept {
                match split {
                    None if interval.draw == Draw::Shadow => accept.observe_copies(stratum, &interval.stable),
                    _ => accept.observe(stratum),
                }
            }
        }
        if let Some(slow) = &mut self.slow {
            slow.observe(interval);
        }
        if let Some(unsure) = &mut self.unsure {
            unsure.observe(interval);
        }
        if let Some(change) = &mut self.change {
            change.observe(interval);
        }
        if let Some(wrong) = &mut self.wrong {
            wrong.observe(interval, share);
        }
    }

    fn by_slots(&mut self, interval: &Interval, slots: &SlotRound, is_ripe: bool) {
        // rule: C5
        let thresholds = SlotThresholds {
            latency: self.slow.as_ref().map(Slow::cells),
            doubt: self.unsure.as_ref().map(Unsure::cells),
        };
        let strata = self.slots.observe(slots, &thresholds);
        if let Some(errors) = self.errors.as_mut().filter(|_| is_ripe) {
            errors.observe_slots(strata.errors);
        }
        if let Some(accept) = self.accept.as_mut().filter(|_| is_ripe) {
            accept.observe_slots(slots);
        }
        // A failing arm's slots are asked as often, and answered less.
        let answered = |answers: fn(&Counts) -> u64| {
            let arms = [&interval.candidate, &interval.stable];
            arms.map(|counts| answers(counts) as f64 / counts.errors().1.max(1) as f64)
        };
        if let (Some(slow), Some(stratum)) = (&mut self.slow, strata.latency) {
            slow.observe_slots(stratum.weighed(answered(|counts| counts.latency.iter().sum())));
        }
        if let (Some(unsure), Some(stratum)) = (&mut self.unsure, strata.low_confidence) {
            unsure.observe_slots(stratum.weighed(answered(|counts| counts.doubt.iter().sum())));
        }
    }

    /// Bounds and cells come from stable's first answers, which no test judges that needs them.
    fn learn(&mut self, interval: &Interval) {
        // Slots have no distributions.
        let learns_change = self.tests.change.is_some() && self.change.is_none() && !self.sticky;
        if !learns_change && (self.tests.latency.is_none() || self.slow.is_some()) {
            return;
        }
        self.learning.add(&interval.stable);
        if self.learning.latency.iter().sum::<u64>() >= ENOUGH {
            let stable = std::mem::take(&mut self.learning);
            if let (Some(harm), None) = (self.tests.latency, &self.slow) {
                self.slow = Slow::new(&stable, harm.tolerance);
            }
            if learns_change {
                self.change = Some(Change::new(&stable));
            }
        }
    }

    /// One reading per test that is on. In a stage that `newest` shows to be no comparison those that have proven
    /// nothing have no data, and acceptance has no reading.
    pub(crate) fn readings(
        &self,
        rules: &Rules<'_>,
        references: References<'_>,
        newest: Option<&Interval>,
        now: Timestamp,
    ) -> Vec<Reading> {
        let unripe = format!(
            "no requests of both arms so far from {} after a stage began; what fails slowly was not counted before",
            span(rules.delay(newest))
        );
        let mut readings = self.harms(rules, references, &unripe, now);
        let why = newest.and_then(silence);
        if let Some(why) = why {
            readings.iter_mut().for_each(|reading| silent(reading, why));
        } else if let Some(accept) = self.accept.as_ref().filter(|_| rules.accept) {
            let window = self.span.unwrap_or((now, now));
            readings.push(accept.reading(window, self.intervals, &unripe));
        }
        if let Some(split) = readings.iter_mut().find(|reading| reading.metric == SPLIT)
            && newest.is_some_and(|newest| newest.draw == Draw::Shadow)
        {
            silent(split, "copies are made of stable's requests, none is drawn");
        }
        readings
    }

    fn harms(
        &self,
        rules: &Rules<'_>,
        references: References<'_>,
        unripe: &str,
        now: Timestamp,
    ) -> Vec<Reading> {
        let look = |name, level, frozen: OnBreach, wanted| Look {
            name,
            level,
            on_breach: gentler(frozen, wanted),
            span: self.span.unwrap_or((now, now)),
            intervals: self.intervals,
        };
        let levels = self.tests.levels(self.false_rollback);
        let wanted = rules.tests.harms().map(|harm| harm.map(|harm| harm.on_breach));
        let Tests { errors, latency, low_confidence, change, accuracy } = &self.tests;
        let mut readings = Vec::new();
        if let (Some(harm), Some(test)) = (errors, &self.errors) {
            let look = look(ERRORS, levels[0], harm.on_breach, wanted[0]);
            let waits = || look.silent(harm.tolerance, unripe);
            readings.push(if test.totals.has_both_arms() { look.harm(test, &failing) } else { waits() });
        }
        if let Some(harm) = latency {
            let look = look("sequential/latency", levels[1], harm.on_breach, wanted[1]);
            let learns = || look.silent(harm.tolerance, &self.learns());
            readings.push(self.slow.as_ref().map_or_else(learns, |slow| slow.reading(&look, harm.tolerance)));
        }
        if let Some(harm) = low_confidence {
            let look = look("sequential/low-confidence", levels[2], harm.on_breach, wanted[2]);
            let lacks = || look.silent(harm.tolerance, unsure::lack(references));
            readings.push(self.unsure.as_ref().map_or_else(lacks, |unsure| unsure.reading(&look)));
        }
        if let (Some(harm), Some(wrong)) = (accuracy, &self.wrong) {
            let look = look(ACCURACY, levels[3], harm.on_breach, wanted[3]);
            readings.push(wrong.reading(&look, self.sticky));
        }
        if let Some(on_breach) = change {
            let look = look("sequential/change", ALERT_LEVEL, *on_breach, rules.tests.change);
            readings.push(match &self.change {
                Some(change) if !self.sticky => change.reading(&look),
                None if !self.sticky => look.silent(ALERT_LEVEL, &self.learns()),
                _ => look.silent(ALERT_LEVEL, "needs requests that are drawn one by one: routing is sticky"),
            });
        }
        let pause = OnBreach::Pause;
        readings.push(self.split.reading(&look(SPLIT, ALERT_LEVEL, pause, Some(pause))));
        readings
    }

    /// Why a test has nothing to look at that compares with stable's first answers.
    fn learns(&self) -> String {
        let n: u64 = self.learning.latency.iter().sum();
        format!("{n} of {ENOUGH} answers of stable that it compares with")
    }
}

/// Name of the test of errors.
pub const ERRORS: &str = "sequential/errors";

/// Name of the test of labelled accuracy.
const ACCURACY: &str = "sequential/accuracy";

/// Name of the test of the sample ratio.
const SPLIT: &str = "sequential/split";

/// Why the tests do not look at an interval, if so.
fn silence(interval: &Interval) -> Option<&'static str> {
    match interval.draw {
        Draw::Preview => Some("previewed requests are chosen, not drawn: they are not compared with stable"),
        Draw::Shadow if !interval.compares_stable() => Some("there is no stable to compare with"),
        // rule: C5. Copies share their users with stable's answers, so that no slot was drawn for an arm.
        Draw::Shadow if interval.split.is_none() => {
            Some("copies are not drawn by user, and routing is sticky: requests of one user are no units")
        }
        Draw::Split | Draw::Shadow => None,
    }
}

/// Says so, unless it has proven something in a stage before.
fn silent(reading: &mut Reading, why: &str) {
    if matches!(reading.verdict, Verdict::Pass | Verdict::NoData) {
        let window = (reading.window_from, reading.window_to);
        let verdict = (Verdict::NoData, reading.on_breach);
        *reading = Reading {
            threshold: reading.threshold,
            level: reading.level,
            check: reading.check,
            ..Reading::unmeasured(&reading.metric, reading.layer, verdict, window, why)
        };
    }
}

fn failing(totals: &Totals) -> String {
    format!("{} fail, of stable's {}", totals.ours("requests"), totals.theirs())
}

/// The tests spend a budget that was split when the rollout began; so what a crossing causes may be made
/// gentler while it runs, never harsher (I3, S2). A test that was switched off meanwhile alerts.
fn gentler(frozen: OnBreach, wanted: Option<OnBreach>) -> OnBreach {
    const fn severity(on_breach: OnBreach) -> u8 {
        match on_breach {
            OnBreach::Alert => 0,
            OnBreach::Pause => 1,
            OnBreach::Rollback => 2,
        }
    }
    let wanted = wanted.unwrap_or(OnBreach::Alert);
    if severity(wanted) < severity(frozen) { wanted } else { frozen }
}
