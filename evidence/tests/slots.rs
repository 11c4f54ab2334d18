//! A slot's first event is counted once, for the arm that had the slot, whatever happens to pages.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Arms, Baselines, Draw, SlotRound, SlotState, SlotStrata, SlotThresholds, Stratum};
use proptest::prelude::*;
use wire::{Assignment, Key, Outcome, Page, RouteState, SLOTS, SlotSet, Slots};

const PODS: usize = 3;
/// Slots that are asked, evenly spread: few, so that they meet again.
const ASKED: u16 = 40;
/// First slow and unsure cells.
const SLOW: usize = 50;
const UNSURE: usize = 30;

fn state(generation: i64) -> RouteState {
    RouteState { uid: "u".into(), generation, pin: None }
}

/// The candidate has the lowest slots, more of them in each generation.
fn share(generation: i64) -> u16 {
    [100, 2_500, 5_000, 9_000][generation.clamp(0, 3) as usize]
}

fn arms(generation: i64) -> Arms {
    Arms {
        draw: Draw::Split,
        states: vec![state(generation)],
        split: None,
        stable: Some("old".into()),
        candidate: "new".into(),
    }
}

const THRESHOLDS: SlotThresholds =
    SlotThresholds { latency: Some((SLOW, SLOW)), doubt: Some((UNSURE, UNSURE)) };

/// One request.
#[derive(Debug, Clone, Copy)]
struct Ask {
    pod: usize,
    slot: u16,
    /// Which events it is: an error, slow, unsure.
    bad: [bool; 3],
}

fn ask() -> impl Strategy<Value = Ask> {
    let bad = prop::array::uniform3(prop::bool::weighted(0.3));
    (0..PODS, 0..ASKED, bad).prop_map(|(pod, i, bad)| Ask { pod, slot: i * (SLOTS / ASKED), bad })
}

#[derive(Default)]
struct World {
    generation: i64,
    routers: BTreeMap<usize, (Page, Vec<Page>)>,
    processes: usize,
    baselines: Baselines,
    evidence: SlotState,
    /// Slots with an event of each kind, by whether the candidate had the slot; and in order of time.
    events: [BTreeSet<(u16, bool)>; 3],
    first: [BTreeMap<u16, bool>; 3],
    /// Counted so far, by kind: of the candidate and of stable.
    counted: [(u64, u64); 3],
}

impl World {
    fn new() -> Self {
        let mut world = Self { generation: 1, ..Self::default() };
        (0..PODS).for_each(|pod| world.restart(pod));
        world
    }

    fn restart(&mut self, pod: usize) {
        self.processes += 1;
        let page = Page { instance: format!("process-{}", self.processes), ..Page::default() };
        self.routers.insert(pod, (page, Vec::new()));
    }

    fn ask(&mut self, Ask { pod, slot, bad }: Ask) {
        let (generation, is_candidate) = (self.generation, slot < share(self.generation));
        let page = &mut self.routers.get_mut(&pod).unwrap().0;
        let slots = page.slots.entry(state(generation)).or_insert_with(|| {
            let mut slots = Slots::default();
            slots.own("new", &(0..share(generation)).collect());
            slots.own("old", &(share(generation)..SLOTS).collect());
            slots
        });
        let [failed, slow, unsure] = bad;
        slots.see(slot);
        if failed {
            slots.fail(slot);
        }
        slots.raise_latency(slot, SLOW - usize::from(!slow));
        slots.raise_doubt(slot, UNSURE - usize::from(!unsure));
        let revision = if is_candidate { "new" } else { "old" };
        let key = Key { revision: revision.into(), assignment: Assignment::Split };
        let counts = page.states.entry(state(generation)).or_default().entry(key).or_default();
        counts.outcomes[if failed { Outcome::Error } else { Outcome::Ok }.index()] += 1;
        // As the router does: the last two states only.
        page.states.retain(|s, _| s.generation + 1 >= generation);
        page.slots.retain(|s, _| s.generation + 1 >= generation);
        for kind in (0..3).filter(|kind| bad[*kind]) {
            self.events[kind].insert((slot, is_candidate));
            self.first[kind].entry(slot).or_insert(is_candidate);
        }
    }

    fn read(&mut self, lost: &[bool], old: &[Option<prop::sample::Index>]) {
        let pages = self.routers.iter_mut().map(|(pod, (page, shown))| {
            let page = match &old[*pod] {
                _ if lost[*pod] => None,
                Some(index) if !shown.is_empty() => Some(index.get(shown).clone()),
                _ => {
                    shown.push(page.clone());
                    Some(page.clone())
                }
            };
            (pod.to_string(), page)
        });
        let round = self.baselines.round(pages.collect(), &arms(self.generation));
        let Some(round) = round.slots else { return };
        // rule: C6. What is stored and read again goes on as if nothing had happened.
        let stored = serde_json::to_string(&self.evidence).unwrap();
        let mut resumed: SlotState = serde_json::from_str(&stored).unwrap();
        let strata = self.evidence.observe(&round, &THRESHOLDS);
        assert_eq!(resumed.observe(&round, &THRESHOLDS), strata);
        assert_eq!(resumed, self.evidence);
        for (sum, stratum) in self.counted.iter_mut().zip(all(&strata)) {
            assert!(stratum.x <= stratum.n && stratum.x_stable <= stratum.n_stable, "{stratum:?}");
            assert!(stratum.n <= u64::from(share(self.generation)), "{stratum:?}");
            let total = stratum.n + stratum.n_stable;
            assert_eq!(stratum.split, (total > 0).then(|| stratum.n as f64 / total as f64));
            *sum = (sum.0 + stratum.x, sum.1 + stratum.x_stable);
        }
        // The same again finds nothing.
        let again = resumed.observe(&round, &THRESHOLDS);
        assert!(all(&again).iter().all(|s| (s.x, s.x_stable) == (0, 0)));
    }

    fn read_all(&mut self) {
        self.read(&[false; PODS], &[None; PODS]);
    }
}

fn all(strata: &SlotStrata) -> [Stratum; 3] {
    [strata.errors, strata.latency.unwrap(), strata.low_confidence.unwrap()]
}

#[derive(Debug, Clone)]
enum Event {
    Ask(Ask),
    Read { lost: Vec<bool>, old: Vec<Option<prop::sample::Index>> },
    NextStage,
    RestartRouter(usize),
    RestartOperator,
}

fn event() -> impl Strategy<Value = Event> {
    let lost = prop::collection::vec(prop::bool::weighted(0.15), PODS);
    let old = prop::collection::vec(prop::option::weighted(0.15, any::<prop::sample::Index>()), PODS);
    prop_oneof![
        20 => ask().prop_map(Event::Ask),
        8 => (lost, old).prop_map(|(lost, old)| Event::Read { lost, old }),
        1 => Just(Event::NextStage),
        1 => (0..PODS).prop_map(Event::RestartRouter),
        1 => Just(Event::RestartOperator),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // rule: C4, C5
    #[test]
    fn no_slot_has_a_second_first_event(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Ask(ask) => world.ask(ask),
                Event::Read { lost, old } => world.read(&lost, &old),
                Event::NextStage => world.generation = (world.generation + 1).min(3),
                Event::RestartRouter(pod) => world.restart(pod),
                Event::RestartOperator => world.baselines = Baselines::default(),
            }
        }
        for kind in 0..3 {
            let of = |candidate| world.events[kind].iter().filter(|(_, c)| *c == candidate).count() as u64;
            let (x, x_stable) = world.counted[kind];
            prop_assert!(x <= of(true) && x_stable <= of(false), "{x} {x_stable}");
            prop_assert!(x + x_stable <= world.first[kind].len() as u64, "{x} {x_stable}");
        }
    }

    // rule: C5
    #[test]
    fn without_faults_every_first_event_is_counted(
        stages in prop::collection::vec(prop::collection::vec((ask(), prop::bool::weighted(0.2)), 0..60), 1..4),
    ) {
        let mut world = World::new();
        world.read_all();
        for stage in stages {
            for (ask, read) in stage {
                world.ask(ask);
                if read {
                    world.read_all();
                }
            }
            world.read_all();
            world.generation = (world.generation + 1).min(3);
        }
        for kind in 0..3 {
            let of = |candidate| world.first[kind].values().filter(|c| **c == candidate).count() as u64;
            prop_assert_eq!(world.counted[kind], (of(true), of(false)));
        }
    }
}

#[test]
fn events_on_a_first_page_after_a_gap_and_of_another_process_are_never_counted() {
    // rule: C4, C5
    let mut world = World::new();
    let ask = |world: &mut World, i: u16| {
        world.ask(Ask { pod: 0, slot: i * (SLOTS / ASKED), bad: [true; 3] });
    };
    let (nobody, none) = ([false; PODS], [None; PODS]);
    ask(&mut world, 0);
    world.read(&nobody, &none);
    ask(&mut world, 1);
    world.read(&[true, false, false], &none);
    ask(&mut world, 2);
    world.read(&nobody, &none);
    assert_eq!(world.counted, [(0, 0); 3], "a first page, and one after a gap");
    ask(&mut world, 3);
    world.read(&nobody, &none);
    assert_eq!(world.counted, [(1, 0); 3]);
    world.restart(0);
    ask(&mut world, 4);
    world.read(&nobody, &none);
    ask(&mut world, 20);
    world.read(&nobody, &none);
    assert_eq!(world.counted, [(1, 1); 3], "another process");
    world.baselines = Baselines::default();
    ask(&mut world, 5);
    world.read(&nobody, &none);
    // Slots that had their event: counted, on a baseline, and before the operator restarted.
    [3, 4, 5, 0, 20, 6].iter().for_each(|i| ask(&mut world, *i));
    world.read(&nobody, &none);
    assert_eq!(world.counted, [(2, 1); 3], "only slot 6 is new");
    // A test that begins only now has the events of before on the pages.
    world.evidence = SlotState::default();
    world.read(&nobody, &none);
    ask(&mut world, 7);
    world.read(&nobody, &none);
    assert_eq!(world.counted, [(3, 1); 3]);
}

fn set(slots: impl IntoIterator<Item = u16>) -> SlotSet {
    slots.into_iter().collect()
}

/// A round in which these slots are shown, and the candidate has slots 0..10 and stable 10..100.
fn round(earlier: Slots, now: Slots) -> SlotRound {
    SlotRound { candidate: set(0..10), stable: set(10..100), now, earlier }
}

fn failed(slots: &[u16]) -> Slots {
    let mut all = Slots::default();
    slots.iter().for_each(|slot| all.fail(*slot));
    all
}

fn counts(stratum: Stratum) -> [u64; 4] {
    [stratum.x, stratum.n, stratum.x_stable, stratum.n_stable]
}

#[test]
fn who_had_an_event_before_is_no_longer_at_risk_in_either_arm() {
    // rule: C5
    let mut state = SlotState::default();
    let mut observe = |round: &SlotRound| counts(state.observe(round, &SlotThresholds::default()).errors);
    assert_eq!(observe(&round(failed(&[3, 20]), failed(&[3, 4, 20, 21, 22]))), [1, 9, 2, 89]);
    // Slots 10 to 29 move to the candidate: three of them had an event when they were stable's.
    let moved = SlotRound {
        candidate: set(0..30),
        stable: set(30..100),
        ..round(Slots::default(), failed(&[5, 22, 23, 99]))
    };
    assert_eq!(observe(&moved), [2, 25, 1, 70]);
    assert_eq!(observe(&moved), [0, 23, 0, 69]);
    // Nobody's slots, and one that both claim.
    let claimed = SlotRound { candidate: set(0..31), ..moved };
    assert_eq!(observe(&SlotRound { now: failed(&[30, 200]), ..claimed }), [0, 23, 0, 68]);
}

#[test]
fn a_threshold_that_comes_late_begins_with_what_is_shown_after_it() {
    // rule: C5
    let slow = |slots: &[(u16, usize)]| {
        let mut all = Slots::default();
        slots.iter().for_each(|(slot, cell)| all.raise_latency(*slot, *cell));
        all
    };
    let mut state = SlotState::default();
    let (first, second) =
        (slow(&[(1, 60), (50, 60)]), slow(&[(1, 70), (2, 59), (3, 60), (50, 60), (51, 61)]));
    let known = SlotThresholds { latency: Some((60, 60)), doubt: None };
    assert_eq!(
        state.observe(&round(Slots::default(), first.clone()), &SlotThresholds::default()).latency,
        None
    );
    assert_eq!(counts(state.observe(&round(first, second), &known).latency.unwrap()), [1, 9, 1, 89]);
}

#[test]
fn each_arm_is_unsure_by_its_own_threshold() {
    // rule: C5
    let mut shown = Slots::default();
    for slot in [0, 10, 11] {
        shown.raise_doubt(slot, 30);
        shown.raise_doubt(slot + 1, 40);
    }
    let thresholds = SlotThresholds { latency: None, doubt: Some((40, 30)) };
    let strata = SlotState::default().observe(&round(Slots::default(), shown), &thresholds);
    assert_eq!(counts(strata.low_confidence.unwrap()), [1, 10, 3, 90]);
}

#[test]
fn the_state_is_small() {
    // rule: C6
    let mut state = SlotState::default();
    assert_eq!(serde_json::to_string(&state).unwrap(), "{}");
    let mut shown = failed(&(0..100).collect::<Vec<_>>());
    for slot in 0..100 {
        shown.raise_latency(slot, 141);
        shown.raise_doubt(slot, 63);
    }
    state.observe(&round(Slots::default(), shown), &THRESHOLDS);
    let stored = serde_json::to_string(&state).unwrap();
    assert!(stored.len() < 5_100, "{} bytes", stored.len());
}
