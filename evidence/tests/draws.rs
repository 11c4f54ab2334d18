//! Which requests of a page count, by how they come to the candidate.

#![allow(clippy::unwrap_used, reason = "tests only, but not within a test function")]

mod common;

use std::collections::BTreeMap;

use common::{at, interval};
use evidence::{Arms, Baselines, Draw, Dropped, Interval, MAX_INTERVALS, Reach, Round, Windows};
use jiff::SignedDuration;
use wire::{Assignment, Counts, Key, Outcome, Page, PairOutcome, Pairs, RouteState, Slots};

fn state() -> RouteState {
    RouteState { uid: "u".into(), generation: 7, pin: None }
}

fn arms(draw: Draw, candidate: &str) -> Arms {
    let states = vec![state()];
    Arms { draw, states, split: Some(0.3), stable: Some("old".into()), candidate: candidate.into() }
}

/// A router that answered `n` requests of each revision and assignment, as many more as it has a place in both lists.
fn page(n: u64) -> Page {
    let mut page = Page { instance: "i".into(), ..Page::default() };
    for (i, revision) in ["old", "new", "third"].into_iter().enumerate() {
        for (j, assignment) in Assignment::ALL.into_iter().enumerate() {
            let mut counts = Counts::default();
            counts.outcomes[Outcome::Ok.index()] = n * (10 * i + j + 1) as u64;
            let key = Key { revision: revision.into(), assignment };
            page.states.entry(state()).or_default().insert(key, counts);
        }
        let pairs = Pairs { outcomes: [n, 2 * n, 3 * n, 4 * n, i as u64 * n], ..Pairs::default() };
        page.pairs.entry(state()).or_default().insert(revision.into(), pairs);
    }
    page
}

fn pages(page: Page) -> BTreeMap<String, Option<Page>> {
    BTreeMap::from([("pod".to_owned(), Some(page))])
}

fn second(all: &[Arms]) -> Vec<Round> {
    let mut baselines = Baselines::default();
    baselines.rounds(pages(page(100)), all);
    baselines.rounds(pages(page(101)), all)
}

#[test]
fn each_draw_counts_its_own_requests() {
    // rule: C1, C4. The second page has one more of each kind, as often as it has a place.
    let draws = [Draw::Split, Draw::Shadow, Draw::Preview].map(|draw| arms(draw, "new"));
    let rounds = second(&draws);
    let requests = |round: &Round| (round.candidate.requests(), round.stable.requests());
    // Of "new", split is 11th, match and target 12th and 13th, shadow 15th; stable's split is the first.
    assert_eq!(rounds.iter().map(requests).collect::<Vec<_>>(), [(11, 1), (15, 1), (12 + 13, 0)]);
    let outcomes = |round: &Round| round.pairs.as_ref().map(|pairs| pairs.outcomes);
    assert_eq!(rounds.iter().map(outcomes).collect::<Vec<_>>(), [None, Some([1, 2, 3, 4, 1]), None]);
    let split = |round: &Round| round.split;
    assert_eq!(rounds.iter().map(split).collect::<Vec<_>>(), [Some(0.3), Some(0.0), None]);
    let interval = rounds[1].clone().interval(at(0), at(15)).unwrap();
    assert_eq!((interval.draw, interval.pairs.unwrap().outcomes), (Draw::Shadow, [1, 2, 3, 4, 1]));
}

#[test]
fn without_a_stable_copies_have_nobody_beside_them() {
    // rule: C1
    let lone = Arms { stable: None, ..arms(Draw::Shadow, "new") };
    let round = second(&[lone]).remove(0);
    assert_eq!((round.candidate.requests(), round.stable.requests(), round.pairs), (15, 0, None));
}

#[test]
fn several_candidates_are_sampled_with_the_same_pages() {
    // rule: C4
    let rounds = second(&[arms(Draw::Split, "new"), arms(Draw::Split, "third")]);
    let requests = |round: &Round| (round.candidate.requests(), round.stable.requests());
    assert_eq!(rounds.iter().map(requests).collect::<Vec<_>>(), [(11, 1), (21, 1)]);
    assert_eq!(rounds[0].counted, 1);
}

#[test]
fn a_page_whose_pairs_are_older_counts_nothing() {
    // rule: C4
    let arms = [arms(Draw::Shadow, "new")];
    let mut baselines = Baselines::default();
    baselines.rounds(pages(page(100)), &arms);
    let mut older = page(101);
    older.pairs.get_mut(&state()).unwrap().get_mut("new").unwrap().outcomes[0] = 99;
    let round = baselines.rounds(pages(older), &arms).remove(0);
    assert_eq!((round.counted, round.dropped["pod"]), (0, Dropped::Backwards));
    assert_eq!(round.pairs.unwrap().outcomes, [0; 5]);
}

#[test]
fn a_sticky_route_shows_that_copies_are_not_drawn() {
    // rule: C5
    let draws = [Draw::Split, Draw::Shadow, Draw::Preview].map(|draw| arms(draw, "new"));
    let mut sticky = page(1);
    let mut slots = Slots::default();
    slots.own("old", &(0..10).collect());
    sticky.slots.insert(state(), slots);
    let rounds = Baselines::default().rounds(pages(sticky), &draws);
    let shown = |round: &Round| (round.slots.is_some(), round.split);
    assert_eq!(
        rounds.iter().map(shown).collect::<Vec<_>>(),
        [(true, Some(0.3)), (true, None), (false, None)]
    );
}

#[test]
fn windows_sum_what_became_of_pairs() {
    // rule: T1
    let mut windows = Windows::new(at(0));
    let n = 3 * MAX_INTERVALS as i64;
    for i in 0..n {
        let mut pairs = Pairs { outcomes: [5, 1, 0, 2, i as u64 % 2], ..Pairs::default() };
        pairs.gap[31] = 6;
        let counts = Counts::default();
        let (draw, split) = (Draw::Shadow, Some(0.0));
        let pairs = Some(Box::new(pairs));
        assert!(windows.push(Interval { draw, split, pairs, ..interval(i, i + 1, &counts, &counts) }));
    }
    let all = windows.select(Reach::Time(SignedDuration::from_hours(9)), |_| false).unwrap();
    let (pairs, n) = (all.pairs.unwrap(), n as u64);
    assert_eq!((pairs.outcomes, all.draw, all.split), ([5 * n, n, 0, 2 * n, n / 2], Draw::Shadow, Some(0.0)));
    assert_eq!(pairs.outcome(PairOutcome::Dropped), n / 2);
    assert_eq!(windows.newest().unwrap().pairs.as_ref().unwrap().gap[31], 6, "the newest has its histograms");
    assert!(windows.bytes() < 48 * 1024, "{}", windows.bytes());
}
