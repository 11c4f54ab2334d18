use std::collections::BTreeMap;
use std::time::Instant;

use api::ModelDeploymentStatus;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use wire::{Assignment, Counts, Key, Outcome, Page, RouteState};

use super::*;

mod properties;

const SETTINGS: Settings = Settings {
    min: 2,
    max: 10,
    target: 50.0,
    scale_out: Duration::from_secs(60),
    scale_in: Duration::from_secs(300),
    suspended: false,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn memory(replicas: u32) -> AutoscalingStatus {
    AutoscalingStatus { replicas, start: 2, reason: "before".into(), ..AutoscalingStatus::default() }
}

fn load(rate: f64, highest: Option<u32>) -> Load {
    Load { rate, complete: true, highest, silent: None }
}

fn moment<'a>(settings: &'a Settings, memory: &'a AutoscalingStatus, load: Load) -> Moment<'a> {
    let replicas = memory.replicas;
    Moment {
        settings,
        memory: Some(memory),
        start: 2,
        running: replicas,
        ready: replicas,
        load: Some(load),
        now: at(1000),
    }
}

fn state(generation: i64) -> RouteState {
    RouteState { uid: "u".into(), generation, pin: None }
}

/// Adds requests to a page.
fn serve(page: &mut Page, generation: i64, (revision, assignment): (&str, Assignment), requests: u64) {
    let key = Key { revision: revision.into(), assignment };
    let counts: &mut Counts = page.states.entry(state(generation)).or_default().entry(key).or_default();
    counts.outcomes[Outcome::Ok.index()] += requests;
}

/// Routers, a meter and the memory, as an operator has them.
struct World {
    settings: Settings,
    meter: Meter,
    routers: Vec<Page>,
    memory: Option<AutoscalingStatus>,
    begin: Instant,
    seconds: u64,
    load: Option<Load>,
}

impl World {
    fn new(settings: Settings, routers: usize) -> Self {
        let page = |i: usize| Page { instance: format!("r{i}"), ..Page::default() };
        Self {
            settings,
            meter: Meter::new(settings),
            routers: (0..routers).map(page).collect(),
            memory: None,
            begin: Instant::now(),
            seconds: 0,
            load: None,
        }
    }

    /// The operator starts anew.
    fn restart(&mut self) {
        (self.meter, self.load) = (Meter::new(self.settings), None);
    }

    /// Each router takes so many requests, then all are read but those that are lost.
    fn turn(&mut self, seconds: u64, requests: u64, is_lost: impl Fn(usize) -> bool) -> Scaled {
        self.seconds += seconds;
        for page in &mut self.routers {
            serve(page, 1, ("a", Assignment::Split), requests);
        }
        let names: Vec<String> = self.routers.iter().map(|page| page.instance.clone()).collect();
        let mut pages = BTreeMap::new();
        for (i, page) in self.routers.iter_mut().enumerate() {
            pages.insert(names[i].clone(), (!is_lost(i)).then(|| std::mem::take(page)));
        }
        self.load = self.meter.round(&pages, self.begin + Duration::from_secs(self.seconds));
        for (page, name) in self.routers.iter_mut().zip(&names) {
            // Not copied there and back: pages are large.
            *page = pages.remove(name).flatten().unwrap_or_else(|| std::mem::take(page));
        }
        let running = self.memory.as_ref().map_or(2, |memory| memory.replicas);
        let scaled = decide(Moment {
            settings: &self.settings,
            memory: self.memory.as_ref(),
            start: 2,
            running,
            ready: running,
            load: self.load,
            now: at(i64::try_from(self.seconds).unwrap()),
        });
        self.memory = Some(scaled.status.clone());
        scaled
    }

    fn replicas(&self) -> u32 {
        self.memory.as_ref().map_or(0, |memory| memory.replicas)
    }
}

#[test]
fn all_requests_of_all_revisions_are_counted_but_copies() {
    // rule: C4
    let mut page = Page { instance: "r".into(), ..Page::default() };
    serve(&mut page, 1, ("a", Assignment::Split), 1000);
    let mut meter = Meter::new(SETTINGS);
    let begin = Instant::now();
    let mut round = |page: &Page, seconds| {
        let pages = BTreeMap::from([("uid".to_owned(), Some(page.clone()))]);
        meter.round(&pages, begin + Duration::from_secs(seconds))
    };
    assert_eq!(round(&page, 0), None, "the first page is only a baseline");
    serve(&mut page, 1, ("a", Assignment::Split), 300);
    for assignment in [Assignment::Split, Assignment::Match, Assignment::Target, Assignment::Pin] {
        serve(&mut page, 2, ("b", assignment), 300);
    }
    serve(&mut page, 2, ("b", Assignment::Shadow), 5000);
    let counted = round(&page, 15).unwrap();
    assert_eq!((counted.rate, counted.complete), (100.0, true));
    let older = page.clone();
    serve(&mut page, 2, ("c", Assignment::Split), 300);
    serve(&mut page, 2, ("a", Assignment::Split), 300);
    assert_eq!(round(&page, 30).unwrap().rate, 40.0);
    assert!(!round(&older, 45).unwrap().complete, "an older page, delivered again");
    let after = round(&page, 60).unwrap();
    assert_eq!((after.rate, after.complete), (0.0, true), "nothing is counted twice");
}

#[test]
fn what_is_missing_makes_the_rate_a_lower_bound() {
    // rule: C4
    let mut world = World::new(SETTINGS, 2);
    let mut turn = |lost: &dyn Fn(usize) -> bool, change: &dyn Fn(&mut Vec<Page>)| {
        change(&mut world.routers);
        world.turn(15, 750, lost);
        world.load.map(|load| (load.rate, load.complete))
    };
    let (all, same) = (|_| false, |_: &mut Vec<Page>| ());
    assert_eq!(turn(&all, &same), None);
    assert_eq!(turn(&all, &same), Some((100.0, true)));
    assert_eq!(turn(&|i| i == 1, &same), Some((50.0, false)), "a page is missing");
    assert_eq!(turn(&all, &same), Some((50.0, false)), "and the next one bridges the gap");
    assert_eq!(turn(&all, &same), Some((100.0, true)));
    let restart = |routers: &mut Vec<Page>| {
        routers[1] = Page { instance: "other".into(), ..Page::default() };
    };
    assert_eq!(turn(&all, &restart), Some((50.0, false)), "another process, and the one before it is gone");
    assert_eq!(turn(&all, &same), Some((100.0, true)));
    let remove = |routers: &mut Vec<Page>| drop(routers.pop());
    assert_eq!(turn(&all, &remove), Some((50.0, false)), "it took its last counts along");
    assert_eq!(turn(&all, &same), Some((50.0, true)));
    assert_eq!(turn(&all, &remove), Some((0.0, false)), "no router at all is no silence");
}

#[test]
fn short_intervals_are_joined() {
    let mut world = World::new(SETTINGS, 1);
    for _ in 0..30 {
        world.turn(1, 40, |_| false);
    }
    world.turn(1, 640, |_| false);
    assert_eq!(world.load.unwrap().rate, 80.0, "14 x 40 and 640 in 15 s");
}

#[rstest]
#[case::at_once(3, 151.0, None, 4)]
#[case::exactly(3, 150.0, None, 3)]
#[case::at_most_max(3, 5000.0, None, 10)]
#[case::fewer_for_too_short(6, 10.0, None, 6)]
#[case::fewer_for_long_enough(6, 10.0, Some(4), 4)]
#[case::at_least_min(6, 0.0, Some(0), 2)]
#[case::more_in_the_window(6, 10.0, Some(7), 6)]
fn the_number_follows_the_rate(
    #[case] before: u32,
    #[case] rate: f64,
    #[case] highest: Option<u32>,
    #[case] after: u32,
) {
    let memory = memory(before);
    let scaled = decide(moment(&SETTINGS, &memory, load(rate, highest)));
    assert_eq!(scaled.status.replicas, after, "{}", scaled.status.reason);
    let step = match after.cmp(&before) {
        std::cmp::Ordering::Greater => Some(Step::Out),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(Step::In),
    };
    assert_eq!(scaled.step, step);
    assert_eq!(scaled.status == memory, step.is_none(), "written only when the number changes");
}

#[test]
fn each_change_says_why() {
    let memory = memory(3);
    let reason = |load| decide(moment(&SETTINGS, &memory, load)).status.reason;
    assert_eq!(reason(load(151.0, None)), "151.0 requests per second at 50 each need 4: from 3 to 4");
    assert_eq!(
        reason(Load { complete: false, ..load(1e6, None) }),
        "at least 1000000.0 requests per second at 50 each need 1000: from 3 to 10, the most that are allowed"
    );
    assert_eq!(reason(load(1.0, Some(1))), "2 were enough in all of the last 300s: from 3 to 2");
}

#[test]
fn the_next_step_out_waits_for_its_cooldown() {
    let mut memory = memory(3);
    let replicas = |memory: &AutoscalingStatus, now| {
        decide(Moment { now: at(now), ..moment(&SETTINGS, memory, load(400.0, None)) }).status.replicas
    };
    memory.scaled_out = Some(MicroTime(at(1000)));
    assert_eq!((replicas(&memory, 1059), replicas(&memory, 1060)), (3, 8));
    assert_eq!(replicas(&memory, 900), 8, "the clock was set back: nobody waits for it");
}

#[test]
fn nothing_is_taken_away_before_what_stays_is_ready() {
    // rule: R4
    let memory = memory(6);
    let calm = moment(&SETTINGS, &memory, load(10.0, Some(4)));
    assert_eq!(decide(Moment { ready: 3, ..calm }).status.replicas, 6);
    assert_eq!(decide(Moment { ready: 4, ..calm }).status.replicas, 4);
}

#[test]
fn suspended_it_stays_within_its_limits() {
    let settings = Settings { suspended: true, ..SETTINGS };
    let memory = memory(3);
    for load in [load(5000.0, None), load(0.0, Some(0))] {
        let scaled = decide(moment(&settings, &memory, load));
        assert_eq!((scaled.status, scaled.standing), (memory.clone(), Some(Standing::Suspended)));
    }
    let edited = Settings { min: 5, ..settings };
    assert_eq!(decide(moment(&edited, &memory, load(0.0, None))).status.replicas, 5);
}

#[test]
fn a_restart_takes_nothing_away() {
    let memory = memory(3);
    let quiet = moment(&SETTINGS, &memory, load(0.0, None));
    let after = |moment| decide(moment).status.replicas;
    // It died between the pods and the memory of them.
    assert_eq!(after(Moment { running: 7, load: None, ..quiet }), 7);
    // The status was lost.
    assert_eq!(after(Moment { running: 7, memory: None, ..quiet }), 7);
    assert_eq!(after(Moment { running: 0, memory: None, ..quiet }), 2, "spec.replicas to begin with");
    // It goes on from its memory, for as long as it has not read for a whole cooldown.
    let mut world = World::new(SETTINGS, 1);
    for _ in 0..4 {
        world.turn(15, 15 * 400, |_| false);
    }
    assert_eq!(world.replicas(), 8);
    world.restart();
    for _ in 0..20 {
        world.turn(15, 15, |_| false);
        assert_eq!(world.replicas(), 8);
    }
    for _ in 0..3 {
        world.turn(15, 15, |_| false);
    }
    assert_eq!(world.replicas(), 2);
}

#[test]
fn a_higher_wish_counts_for_the_whole_cooldown() {
    let mut world = World::new(SETTINGS, 1);
    let mut numbers = Vec::new();
    // 8 are needed, then 4, then almost none, each for three minutes.
    for (minutes, rate) in [(3, 400), (3, 160), (10, 1)] {
        for _ in 0..minutes * 4 {
            world.turn(15, 15 * rate, |_| false);
            numbers.push(world.replicas());
        }
    }
    let changes: Vec<(usize, u32)> =
        (1..numbers.len()).filter(|i| numbers[*i] != numbers[i - 1]).map(|i| (i * 15, numbers[i])).collect();
    let numbers: Vec<u32> = changes.iter().map(|(_, n)| *n).collect();
    // With 400 a second, 8 are exactly enough and 9 certainly are.
    assert_eq!(numbers, [8, 4, 2], "{changes:?}");
    assert!((165 + 300..165 + 360).contains(&changes[1].0), "5 m after the last 400: {changes:?}");
    assert!((345 + 300..345 + 360).contains(&changes[2].0), "5 m after the last 160: {changes:?}");
}

/// How many arrive in an interval, of a Poisson stream.
fn arrivals(mean: f64, random: &mut StdRng) -> u64 {
    let mut sum = 0.0;
    (0..)
        .find(|_| {
            sum -= (1.0 - random.random::<f64>()).ln();
            sum > mean
        })
        .unwrap()
}

#[rstest]
fn a_steady_load_does_not_send_a_pod_away_and_back(#[values(0.7, 0.85, 0.9, 0.95, 1.0, 1.02)] share: f64) {
    // Near the border between two and three; 10 a second are 150 in 15 s, give or take 12.
    let settings = Settings { target: 5.0, ..SETTINGS };
    let mut world = World::new(settings, 1);
    let mut random = StdRng::seed_from_u64(11);
    let mut steps = 0;
    for _ in 0..12 * 240 {
        let scaled = world.turn(15, arrivals(150.0 * share, &mut random), |_| false);
        steps += u32::from(scaled.step.is_some());
    }
    assert!(steps <= 2, "{steps} steps in half a day");
}

#[test]
fn people_are_told_how_it_stands() {
    let told = |scaled: &Scaled| {
        let mut status = ModelDeploymentStatus::default();
        tell(Some(scaled), &mut status, Some(1), at(0));
        assert_eq!(status.autoscaling.as_ref(), Some(&scaled.status));
        let condition = &status.conditions[0];
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    let memory = memory(3);
    let steady = moment(&SETTINGS, &memory, load(150.0, None));
    assert_eq!(told(&decide(steady)), ("True".into(), "Following".into(), "before".into()));
    let (is, reason, message) = told(&decide(Moment { start: 7, ..steady }));
    assert_eq!((is.as_str(), reason.as_str()), ("True", "ReplicasIgnored"));
    assert!(message.contains("spec.replicas was set to 7"), "{message}");
    let silent = |seconds| {
        let silent = Some(Duration::from_secs(seconds));
        Some(Load { complete: false, silent, ..load(150.0, None) })
    };
    assert_eq!(told(&decide(Moment { load: silent(119), ..steady })).1, "Following");
    assert_eq!(told(&decide(Moment { load: silent(120), ..steady })).1, "NoData");
    let mut status = ModelDeploymentStatus::default();
    tell(Some(&decide(Moment { load: silent(120), ..steady })), &mut status, Some(1), at(0));
    tell(Some(&decide(Moment { load: None, ..steady })), &mut status, Some(1), at(0));
    assert_eq!(status.conditions[0].reason, "NoData", "a restart knows nothing better");
    tell(None, &mut status, Some(1), at(0));
    assert_eq!(status, ModelDeploymentStatus::default());
}
