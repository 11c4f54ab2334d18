//! What is matched, targeted and copied.

use api::{Match, MatchTo, RouteMirror};
use wire::PairOutcome;

use super::*;

/// Stable `names[0]` with all slots, and a candidate `names[1]` with so many; both are matched and targeted, and the
/// candidate gets copies.
fn preview(generation: i64, names: &[&str; 2], slots: u16) -> ModelRoute {
    let mut route = route(generation, names);
    route.spec.stable = Some(names[0].into());
    route.spec.candidate = Some(names[1].into());
    route.spec.revisions[0].slots = vec![SlotRange { from: slots, to: 10_000 }];
    route.spec.revisions[1].slots = vec![SlotRange { from: 0, to: slots }];
    route.spec.targeting = true;
    route.spec.matches =
        vec![Match { header: "x-group".into(), value: "beta".into(), to: MatchTo::Candidate }];
    route.spec.mirror = Some(RouteMirror { revision: names[1].into(), percent: 100 });
    route
}

fn answer(counts: &Arc<StateCounts>, revision: usize, assignment: Assignment, class: &str) {
    let choice = Choice { revision, assignment };
    let ticket = Ticket::new(counts.clone(), choice, 0, Instant::now());
    ticket.finish_answered(Outcome::Ok, Some(&headers(class, "0.75")));
}

/// Requests and items with a class on the page.
fn shown(ledger: &Ledger, revision: &str, assignment: Assignment) -> (u64, u64) {
    let page = ledger.page();
    let key = Key { revision: revision.into(), assignment };
    let counts = page.states.values().next_back().and_then(|keys| keys.get(&key));
    counts.map_or((0, 0), |counts| (counts.requests(), counts.classes.values().sum()))
}

// rule: C1, C5
#[test]
fn what_is_matched_or_targeted_is_never_split_and_shown_whole_only_where_it_is_all_that_a_candidate_has() {
    for (slots, whole) in [(0, 1), (100, 0)] {
        let ledger = Ledger::new("i".into());
        let mut route = preview(1, &["a", "b"], slots);
        route.spec.sticky = Some(Sticky::by_header("x-user-id"));
        let counts = ledger.enter(&Table::new(&route).unwrap());
        for assignment in [Assignment::Match, Assignment::Target] {
            answer(&counts, 0, assignment, "x");
            answer(&counts, 1, assignment, "x");
            assert_eq!(shown(&ledger, "a", assignment), (1, 0), "{slots} {assignment:?}");
            assert_eq!(shown(&ledger, "b", assignment), (1, whole), "{slots} {assignment:?}");
        }
        answer(&counts, 1, Assignment::Shadow, "x");
        assert_eq!(shown(&ledger, "b", Assignment::Shadow), (1, 1));
        assert_eq!(
            (shown(&ledger, "a", Assignment::Split), shown(&ledger, "b", Assignment::Split)),
            ((0, 0), (0, 0))
        );
        assert!(ledger.page().slots[&counts.state].seen().is_empty());
        // For people all of it is there.
        let key = Key { revision: "a".into(), assignment: Assignment::Match };
        assert_eq!(ledger.totals()[&key].counts.classes["x"], 1);
    }
}

// rule: C4
#[test]
fn pairs_are_counted_under_their_state_and_add_up_for_people() {
    let ledger = Arc::new(Ledger::new("i".into()));
    let registry = Registry::new();
    registry.register(Box::new(Collector::new(ledger.clone()))).unwrap();
    let mut before = vec![];
    for generation in 1..5 {
        let counts = ledger.enter(&Table::new(&preview(generation, &["a", "b"], 0)).unwrap());
        counts.pair(&Pair { outcome: PairOutcome::Agree, gap: Some(-0.5), ratio: Some(2.0) });
        counts.pair(&Pair { outcome: PairOutcome::Failed, gap: None, ratio: None });
        counts.drop_copy();
        let page = ledger.page();
        let pairs = &page.pairs[&counts.state]["b"];
        assert_eq!(pairs.outcomes, [1, 0, 1, 0, 1]);
        assert_eq!((pairs.gap[Grid::Gap.cell(-0.5).unwrap()], pairs.gap.iter().sum()), (1, 1u64));
        assert_eq!((pairs.ratio[Grid::Ratio.cell(2.0).unwrap()], pairs.ratio.iter().sum()), (1, 1u64));
        assert_eq!(Page::parse(&page.render()), Ok(page));
        before.push(counts);
    }
    // Those whose states are gone, and one that was still under way.
    before[0].drop_copy();
    drop(before);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("sluice_pairs_total{result=\"agree\",revision=\"b\"} 4\n"), "{text}");
    assert!(text.contains("sluice_pairs_total{result=\"dropped\",revision=\"b\"} 5\n"), "{text}");
    // A pin, or a table that copies nothing, has no pairs.
    let mut route = preview(9, &["a", "b"], 0);
    route.metadata.annotations = Some([(api::names::PIN.to_owned(), "a".to_owned())].into());
    let pinned = ledger.enter(&Table::new(&route).unwrap());
    pinned.drop_copy();
    assert!(!ledger.page().pairs.contains_key(&pinned.state));
}

// rule: C3
#[test]
fn the_page_fits_with_a_preview_that_is_copied_to() {
    let names_of = ["a-name-of-forty-characters-00000-1a2b3c4d", "a-name-of-forty-characters-00000-5e6f7a8b"];
    for (sticky, labelled) in [(false, false), (true, false), (false, true), (true, true)] {
        let ledger = named(labelled);
        let mut states = vec![];
        for generation in [i64::MAX - 1, i64::MAX] {
            let mut route = preview(generation, &names_of, 0);
            route.spec.sticky = sticky.then(|| Sticky::by_header("x-user-id"));
            let counts = ledger.enter(&Table::new(&route).unwrap());
            for assignment in Assignment::ALL.into_iter().filter(|a| *a != Assignment::Pin) {
                for revision in [0, 1] {
                    if counts.series[revision][assignment as usize].is_some() {
                        (0..1_100).for_each(|i| answer(&counts, revision, assignment, &format!("{i:048}")));
                    }
                }
                fill(&counts, assignment);
            }
            states.push(counts);
        }
        let text = ledger.page().render();
        assert!(text.len() <= endpoint::PAGE_LIMIT, "{} bytes", text.len());
        let kept = names_kept(&states[1], 1, Assignment::Shadow);
        println!("sticky {sticky}, labelled {labelled}: {} bytes, {kept} names", text.len());
        // With every cell of all of it filled, labels leave room for hardly any.
        assert!(kept > if labelled { 0 } else { 10 }, "{kept} names of the longest kind");
    }
}
