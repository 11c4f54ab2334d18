//! rule: R3. Who gets how many requests, and who moves when a share is raised: slots of `rollout`, tables and draws of the
//! router.

#![allow(clippy::unwrap_used, reason = "all of this is test code, its helpers too")]

use std::time::Duration;

use api::{ModelRoute, ModelRouteSpec, RouteRevision, SlotRange};
use http::HeaderMap;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollout::{Shares, SlotMap, reallocate};
use router::{Table, choose, slot_of, slot_of_key};
use wire::SLOTS;

const REQUESTS: u32 = 1_000_000;
const SALT: &str = "digits-1";

fn shares(percents: &[u8]) -> Shares {
    (0..).zip(percents).map(|(i, percent): (u32, _)| (format!("r{i}"), *percent)).collect()
}

fn table(slots: &SlotMap) -> Table {
    let revision = |(name, spans): (&String, &Vec<rollout::Span>)| RouteRevision {
        name: name.clone(),
        service: name.clone(),
        slots: spans.iter().map(|span| SlotRange { from: span.from, to: span.to }).collect(),
        trip_wire: None,
    };
    let spec = ModelRouteSpec {
        revisions: slots.iter().map(revision).collect(),
        stable: Some("r0".into()),
        shares: String::new(),
        candidate: None,
        mirror: None,
        matches: vec![],
        targeting: false,
        sticky: None,
        salt: SALT.into(),
        request_timeout: Duration::from_secs(1).into(),
        retry: true,
        max_in_flight: None,
        automation: None,
    };
    Table::new(&ModelRoute::new("digits", spec)).unwrap()
}

fn drawn(table: &Table, headers: &HeaderMap, slot: u16) -> usize {
    choose(table, headers, slot).unwrap().revision
}

/// Every share lies within three standard deviations of what it should be. Seeded: it cannot fail by chance.
fn is_fair(percents: &[u8], mut slot: impl FnMut(u32) -> u16) {
    let table = table(&reallocate(&SlotMap::new(), &shares(percents)));
    let (headers, mut found) = (HeaderMap::new(), vec![0u32; percents.len()]);
    for request in 0..REQUESTS {
        found[drawn(&table, &headers, slot(request))] += 1;
    }
    for (n, percent) in found.iter().zip(percents) {
        let (all, share) = (f64::from(REQUESTS), f64::from(*percent) / 100.0);
        let (expected, sigma) = (all * share, (all * share * (1.0 - share)).sqrt());
        assert!(
            (f64::from(*n) - expected).abs() <= 3.0 * sigma,
            "{percents:?}: {n} of {percent} %, sigma {sigma}"
        );
    }
}

// rule: R3
#[test]
fn of_a_million_random_requests_each_revision_gets_its_share() {
    let mut random = StdRng::seed_from_u64(1);
    for percents in [&[99, 1][..], &[50, 30, 15, 5, 0]] {
        is_fair(percents, |_| slot_of(random.random()));
    }
}

// rule: R3
#[test]
fn of_a_million_users_each_revision_gets_its_share() {
    for percents in [&[99, 1][..], &[50, 30, 15, 5, 0]] {
        is_fair(percents, |user| slot_of_key(SALT, format!("user-{user}").as_bytes()));
    }
}

/// Shares of two to five revisions that sum to 100.
fn any_shares() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0u8..=100, 1..5).prop_map(|mut cuts| {
        cuts.extend([0, 100]);
        cuts.sort_unstable();
        cuts.windows(2).map(|two| two[1] - two[0]).collect()
    })
}

/// Tables as rollouts leave them: a walk over shares. The last may be of other revisions than the one before.
fn any_walk() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(any_shares(), 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // rule: R3
    #[test]
    fn a_key_moves_only_to_whom_gains_and_from_whom_loses(walk in any_walk(), keys in proptest::collection::vec("\\PC{1,12}", 200)) {
        let mut map = SlotMap::new();
        let mut before: Option<(Vec<u8>, Table)> = None;
        for percents in walk {
            map = reallocate(&map, &shares(&percents));
            prop_assert!(map.values().all(|spans| spans.len() <= 256));
            let table = table(&map);
            if let Some((old, was)) = before.take() {
                let (share, headers) = (|of: &[u8], r: usize| of.get(r).copied().unwrap_or(0), HeaderMap::new());
                let from_to = |slot| (drawn(&was, &headers, slot), drawn(&table, &headers, slot));
                let moved = |slot: &u16| { let (from, to) = from_to(*slot); from != to };
                let must: usize = (0..5).map(|r| usize::from(share(&percents, r).saturating_sub(share(&old, r))) * 100).sum();
                prop_assert_eq!((0..SLOTS).filter(moved).count(), must, "{:?} to {:?}", old, percents);
                for slot in (0..SLOTS).filter(moved).chain(keys.iter().map(|key| slot_of_key(SALT, key.as_bytes())).filter(moved)) {
                    let (from, to) = from_to(slot);
                    prop_assert!(share(&old, from) > share(&percents, from), "{} keeps its share and loses {}", from, slot);
                    prop_assert!(share(&percents, to) > share(&old, to), "{} keeps its share and gains {}", to, slot);
                }
            }
            before = Some((percents, table));
        }
    }

    // rule: R3. Two arms, whatever became of the table before: what is added, and nothing else.
    #[test]
    fn from_ten_to_twenty_percent_the_added_tenth_of_the_keys_moves(walk in any_walk()) {
        let mut map = walk.iter().fold(SlotMap::new(), |map, percents| reallocate(&map, &shares(percents)));
        map = reallocate(&map, &shares(&[90, 10]));
        let raised = table(&reallocate(&map, &shares(&[80, 20])));
        let (table, headers) = (table(&map), HeaderMap::new());
        let pairs: Vec<_> = (0..SLOTS).map(|slot| (drawn(&table, &headers, slot), drawn(&raised, &headers, slot))).collect();
        let of = |pair| pairs.iter().filter(|p| **p == pair).count();
        prop_assert_eq!((of((0, 0)), of((1, 1)), of((0, 1)), of((1, 0))), (8_000, 1_000, 1_000, 0));
        // Of users as of slots: within four standard deviations, because each case has other slots.
        let users = 20_000;
        let moved = (0..users).map(|user| slot_of_key(SALT, format!("user-{user}").as_bytes()));
        let moved = moved.filter(|slot| pairs[usize::from(*slot)] == (0, 1)).count();
        let sigma = (f64::from(users) * 0.1 * 0.9).sqrt();
        prop_assert!((moved as f64 - f64::from(users) * 0.1).abs() <= 4.0 * sigma, "{}", moved);
    }
}
