//! From routers' pages to requests per second: exact deltas, as far as they are known. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wire::{Assignment, Key, Page, RouteState};

use super::Settings;

/// Time that a rate is counted over, at least: with shorter intervals chance alone would ask for pods.
const SPAN: Duration = Duration::from_secs(15);

/// Standard deviations of a count (its root, as of a Poisson variable) by which fewer pods must be enough: otherwise a
/// steady load near a whole number of pods would send one away and back for ever.
const DEVIATIONS: f64 = 3.0;

/// What the routers counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Requests per second over the last 15 s, or the last interval if that is longer, of all revisions; a copy is no
    /// request. Of the routers that could be read.
    pub rate: f64,
    /// Nothing is missing in it; otherwise there were at least so many.
    pub complete: bool,
    /// Model servers that were certainly enough at any time of the last `scaleInCooldown`: the highest wish for the rate
    /// that chance may have hidden; absent unless nothing was missing in all that time.
    pub highest: Option<u32>,
    /// For how long something has been missing.
    pub silent: Option<Duration>,
}

/// Counts the requests of one deployment. In memory only: a new one knows nothing, and so takes nothing away.
#[derive(Debug)]
pub struct Meter {
    settings: Settings,
    /// By uid of the router's pod.
    counters: BTreeMap<String, Counter>,
    /// When the pages of the round before were asked for.
    last: Option<Instant>,
    /// The newest intervals, [`SPAN`] together.
    intervals: VecDeque<Interval>,
    /// Since when no rate was complete.
    missing: Option<Instant>,
    /// Since when every rate was.
    known: Option<Instant>,
    /// The wishes since then that no later one reaches, for as long as they count.
    peaks: VecDeque<(Instant, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Interval {
    length: Duration,
    requests: u64,
    complete: bool,
}

/// The last reading of one router.
#[derive(Debug)]
struct Counter {
    instance: String,
    /// False once a page is missing: the next one bridges a gap.
    current: bool,
    marks: BTreeMap<(RouteState, Key), u64>,
}

impl Meter {
    /// Begins anew.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            counters: BTreeMap::new(),
            last: None,
            intervals: VecDeque::new(),
            missing: None,
            known: None,
            peaks: VecDeque::new(),
        }
    }

    /// Follows an edit. Wishes by another target, or of too short a time, say nothing.
    pub fn follow(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if (before.target, before.scale_in) != (settings.target, settings.scale_in) {
            self.forget();
        }
    }

    /// Takes one page per running router, asked for at `at`, by the pod's uid; `None` where it could not be read. The
    /// first round is only a baseline.
    pub fn round(&mut self, pages: &BTreeMap<String, Option<Page>>, at: Instant) -> Option<Load> {
        // rule: C4
        let vanished = self.counters.keys().any(|pod| !pages.contains_key(pod));
        self.counters.retain(|pod, _| pages.contains_key(pod));
        let deltas: Vec<Option<u64>> =
            pages.iter().map(|(pod, page)| self.take(pod, page.as_ref())).collect();
        let length = at.saturating_duration_since(self.last.replace(at)?);
        self.intervals.push_back(Interval {
            length,
            requests: deltas.iter().flatten().sum(),
            // Without a router nobody counts: that is no silence. One that went took its last counts along.
            complete: !vanished && !deltas.is_empty() && deltas.iter().all(Option::is_some),
        });
        let mut span: Duration = self.intervals.iter().map(|interval| interval.length).sum();
        while let Some(oldest) = self.intervals.front().filter(|oldest| span - oldest.length >= SPAN) {
            span -= oldest.length;
            self.intervals.pop_front();
        }
        let requests: u64 = self.intervals.iter().map(|interval| interval.requests).sum();
        (!span.is_zero()).then(|| self.load(requests as f64, span.as_secs_f64(), at))
    }

    fn take(&mut self, pod: &str, page: Option<&Page>) -> Option<u64> {
        let known = self.counters.get_mut(pod);
        match (known, page) {
            (Some(counter), Some(page)) if counter.instance == page.instance => counter.advance(page),
            (_, Some(page)) => {
                let (instance, marks) = (page.instance.clone(), marks(page));
                self.counters.insert(pod.to_owned(), Counter { instance, current: true, marks });
                None
            }
            (known, None) => {
                known.into_iter().for_each(|counter| counter.current = false);
                None
            }
        }
    }

    fn load(&mut self, requests: f64, seconds: f64, at: Instant) -> Load {
        let complete = self.intervals.iter().all(|interval| interval.complete);
        if complete {
            self.missing = None;
            let hidden = DEVIATIONS * (requests + 1.0).sqrt();
            self.remember(self.settings.wish((requests + hidden) / seconds), at);
        } else {
            self.missing.get_or_insert(at);
            self.forget();
        }
        let is_whole = |since: &Instant| at.duration_since(*since) >= self.settings.scale_in;
        Load {
            rate: requests / seconds,
            complete,
            highest: self.known.filter(is_whole).and_then(|_| self.peaks.front()).map(|(_, wish)| *wish),
            silent: self.missing.map(|since| at.duration_since(since)),
        }
    }

    /// Wishes fall from the front to the back, so there are never more than the highest one has values below it.
    fn remember(&mut self, wish: u32, at: Instant) {
        self.known.get_or_insert(at);
        while self.peaks.back().is_some_and(|(_, earlier)| *earlier <= wish) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((at, wish));
        while self.peaks.front().is_some_and(|(then, _)| at.duration_since(*then) > self.settings.scale_in) {
            self.peaks.pop_front();
        }
    }

    fn forget(&mut self) {
        self.known = None;
        self.peaks.clear();
    }
}

impl Counter {
    /// Moves the marks up to this page and says how many requests were counted since, if that is known.
    fn advance(&mut self, page: &Page) -> Option<u64> {
        let was_current = std::mem::replace(&mut self.current, true);
        let now = marks(page);
        let is_older = self.marks.iter().any(|(key, mark)| {
            page.states.contains_key(&key.0) && now.get(key).is_none_or(|count| count < mark)
        });
        if is_older {
            return None;
        }
        let since = |(key, count): (&_, &u64)| count - self.marks.get(key).copied().unwrap_or_default();
        let requests = now.iter().map(since).sum();
        self.marks = now;
        was_current.then_some(requests)
    }
}

/// Requests by state and by whom they were drawn for. A copy is none: its capacity follows from the stage.
fn marks(page: &Page) -> BTreeMap<(RouteState, Key), u64> {
    let all = page.states.iter().flat_map(|(state, keys)| keys.iter().map(move |(key, c)| (state, key, c)));
    all.filter(|(_, key, _)| key.assignment != Assignment::Shadow)
        .map(|(state, key, counts)| ((state.clone(), key.clone()), counts.requests()))
        .collect()
}
