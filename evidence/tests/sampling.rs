//! Pages may repeat, reset and get lost; no request is counted twice, and only those of the stage are counted.

use std::collections::BTreeMap;

use evidence::{Arms, Baselines, Draw, Dropped, Round};
use proptest::prelude::*;
use wire::{Assignment, Counts, Key, Outcome, Page, RouteState};

const PODS: usize = 3;
const STAGE: i64 = 7;

fn state(generation: i64) -> RouteState {
    RouteState { uid: "u".into(), generation, pin: None }
}

fn arms() -> Arms {
    Arms {
        draw: Draw::Split,
        states: vec![state(STAGE)],
        split: Some(0.1),
        stable: Some("old".into()),
        candidate: "new".into(),
    }
}

/// A router whose every request has a class of its own, so that its counting can be followed.
#[derive(Clone, Default)]
struct Router {
    page: Page,
    /// Pages that this process has shown.
    shown: Vec<Page>,
}

impl Router {
    fn start(name: &str) -> Self {
        Self { page: Page { instance: name.to_owned(), ..Page::default() }, shown: Vec::new() }
    }

    fn serve(&mut self, generation: i64, revision: &str, assignment: Assignment, id: &str) {
        let key = Key { revision: revision.into(), assignment };
        let counts = self.page.states.entry(state(generation)).or_default().entry(key).or_default();
        counts.outcomes[Outcome::Ok.index()] += 1;
        counts.classes.insert(id.to_owned(), 1);
        // As the router does: the last two states only.
        while self.page.states.len() > 2 {
            self.page.states.pop_first();
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Serve {
        pod: usize,
        generation: i64,
        candidate: bool,
        split: bool,
    },
    /// All pages are read, but those of these pods: lost, or an older page of the same process.
    Read {
        lost: Vec<bool>,
        old: Vec<Option<prop::sample::Index>>,
    },
    Restart {
        pod: usize,
    },
    Gone {
        pod: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let pod = 0..PODS;
    let rare = |p| prop::collection::vec(prop::bool::weighted(p), PODS);
    let old = prop::collection::vec(prop::option::weighted(0.15, any::<prop::sample::Index>()), PODS);
    prop_oneof![
        8 => (pod.clone(), STAGE - 1..=STAGE + 1, any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(pod, generation, candidate, split)| Event::Serve { pod, generation, candidate, split }),
        4 => (rare(0.15), old).prop_map(|(lost, old)| Event::Read { lost, old }),
        1 => pod.clone().prop_map(|pod| Event::Restart { pod }),
        1 => pod.prop_map(|pod| Event::Gone { pod }),
    ]
}

#[derive(Default)]
struct World {
    routers: BTreeMap<String, Router>,
    baselines: Baselines,
    seen: (Counts, Counts),
    names: usize,
}

impl World {
    fn router(&mut self, pod: usize) -> &mut Router {
        self.names += 1;
        let name = format!("process-{}", self.names);
        self.routers.entry(format!("pod-{pod}")).or_insert_with(|| Router::start(&name))
    }

    fn step(&mut self, number: usize, event: &Event) {
        match event {
            Event::Serve { pod, generation, candidate, split } => {
                let revision = if *candidate { "new" } else { "old" };
                let assignment = if *split { Assignment::Split } else { Assignment::Pin };
                let id = format!("{generation} {revision} {} {number}", assignment.as_str());
                self.router(*pod).serve(*generation, revision, assignment, &id);
            }
            Event::Restart { pod } => {
                self.routers.remove(&format!("pod-{pod}"));
                self.router(*pod);
            }
            Event::Gone { pod } => {
                self.routers.remove(&format!("pod-{pod}"));
            }
            Event::Read { lost, old } => self.read(lost, old),
        }
    }

    fn read(&mut self, lost: &[bool], old: &[Option<prop::sample::Index>]) {
        let pages = self.routers.iter_mut().enumerate().map(|(i, (pod, router))| {
            let page = match &old[i] {
                _ if lost[i] => None,
                Some(index) if !router.shown.is_empty() => Some(index.get(&router.shown).clone()),
                _ => {
                    router.shown.push(router.page.clone());
                    Some(router.page.clone())
                }
            };
            (pod.clone(), page)
        });
        let Round { candidate, stable, counted, dropped, .. } =
            self.baselines.round(pages.collect(), &arms());
        assert_eq!(counted + dropped.len(), self.routers.len(), "every pod is counted or accounted for");
        self.seen.0.add(&candidate);
        self.seen.1.add(&stable);
    }
}

proptest! {
    #[test]
    fn no_request_is_counted_twice_or_for_another_stage(events in prop::collection::vec(event(), 1..120)) {
        // rule: C1, C2, C4, T1
        let mut world = World::default();
        for (number, event) in events.iter().enumerate() {
            world.step(number, event);
        }
        for (counts, revision) in [(&world.seen.0, "new"), (&world.seen.1, "old")] {
            for (id, times) in &counts.classes {
                prop_assert_eq!(*times, 1, "{} was counted {} times", id, times);
                prop_assert!(id.starts_with(&format!("{STAGE} {revision} split ")), "{}", id);
            }
            prop_assert_eq!(counts.requests(), counts.classes.len() as u64);
        }
    }

    #[test]
    fn without_faults_nothing_is_lost(served in prop::collection::vec((0..PODS, any::<bool>(), 0..5u8), 1..60)) {
        // rule: C4
        let mut world = World::default();
        for pod in 0..PODS {
            world.router(pod);
        }
        let (clean, fresh) = (vec![false; PODS], vec![None; PODS]);
        world.read(&clean, &fresh);
        for (number, (pod, candidate, read)) in served.iter().enumerate() {
            world.step(number, &Event::Serve { pod: *pod, generation: STAGE, candidate: *candidate, split: true });
            if *read == 0 {
                world.read(&clean, &fresh);
            }
        }
        world.read(&clean, &fresh);
        let candidates = served.iter().filter(|(_, candidate, _)| *candidate).count() as u64;
        prop_assert_eq!(world.seen.0.requests(), candidates);
        prop_assert_eq!(world.seen.1.requests(), served.len() as u64 - candidates);
    }
}

fn round(baselines: &mut Baselines, page: Option<&Page>) -> Round {
    baselines.round(BTreeMap::from([("pod".to_owned(), page.cloned())]), &arms())
}

#[test]
fn a_first_page_a_gap_and_another_process_are_baselines_only() {
    // rule: C4
    let mut router = Router::start("a");
    let mut baselines = Baselines::default();
    let why = |round: &Round| round.dropped.get("pod").copied();
    let mut ids = 0;
    let mut serve = |router: &mut Router| {
        ids += 1;
        router.serve(STAGE, "new", Assignment::Split, &ids.to_string());
    };
    serve(&mut router);
    assert_eq!(why(&round(&mut baselines, Some(&router.page))), Some(Dropped::Baseline));
    serve(&mut router);
    let second = round(&mut baselines, Some(&router.page));
    assert_eq!((why(&second), second.candidate.requests()), (None, 1));
    let earlier = router.page.clone();
    serve(&mut router);
    assert_eq!(why(&round(&mut baselines, None)), Some(Dropped::Missing));
    let bridged = round(&mut baselines, Some(&router.page));
    assert_eq!((why(&bridged), bridged.candidate.requests()), (Some(Dropped::Baseline), 0));
    assert_eq!(why(&round(&mut baselines, Some(&earlier))), Some(Dropped::Backwards));
    let again = round(&mut baselines, Some(&router.page));
    assert_eq!((why(&again), again.candidate.requests()), (None, 0));
    let mut restarted = Router::start("b");
    serve(&mut restarted);
    let reset = round(&mut baselines, Some(&restarted.page));
    assert_eq!((why(&reset), reset.counted), (Some(Dropped::Baseline), 0));
    assert_eq!(reset.interval(jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX), None, "nobody was counted");
}

#[test]
fn the_first_requests_of_a_new_state_count_from_zero() {
    // rule: C2, T1
    let mut router = Router::start("a");
    let mut baselines = Baselines::default();
    router.serve(STAGE - 1, "new", Assignment::Split, "before");
    round(&mut baselines, Some(&router.page));
    router.serve(STAGE, "new", Assignment::Split, "after");
    router.serve(STAGE - 1, "new", Assignment::Split, "assigned before, completed after");
    let counts = round(&mut baselines, Some(&router.page)).candidate;
    assert_eq!(counts.classes.keys().collect::<Vec<_>>(), ["after"]);
}
