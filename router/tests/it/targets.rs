//! Requests that go to one revision ahead of the slots.

use api::{Match, MatchTo, ModelRoute};
use prometheus::TextEncoder;
use wire::{Assignment, Outcome};

use crate::rig::{Rig, ready, route};
use crate::servers::{Server, ok, refusing, status};
use crate::wire_http::post;

const TARGETED: &str = "x-sluice-target: candidate\r\n";
const MATCHED: &str = "x-group: beta\r\n";

/// A table with a candidate `b` of this share, that may be targeted, and is matched by a group.
fn preview(share: u16) -> ModelRoute {
    let mut route = route(share);
    route.spec.candidate = Some("b".into());
    route.spec.targeting = true;
    route.spec.matches =
        vec![Match { header: "x-group".into(), value: "beta".into(), to: MatchTo::Candidate }];
    route
}

async fn answered_by(rig: &Rig, headers: &str) -> String {
    let answer = post(rig.address, &format!("x-user-id: u\r\n{headers}"), b"x").await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.header("x-sluice-revision").unwrap().to_owned()
}

// rule: C1, C5
#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_without_a_share_is_matched_and_targeted_and_nothing_of_it_is_split() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let rig = Rig::start(preview(0), ready(&[a.address]), ready(&[b.address])).await;
    assert_eq!(answered_by(&rig, TARGETED).await, "b");
    assert_eq!(answered_by(&rig, "x-sluice-target: b\r\n").await, "b");
    assert_eq!(answered_by(&rig, MATCHED).await, "b");
    assert_eq!(answered_by(&rig, &format!("x-sluice-target: stable\r\n{MATCHED}")).await, "a");
    let seen = |revision, assignment| {
        let counts = rig.counts(revision, assignment);
        (counts.outcome(Outcome::Ok), counts.classes.values().sum::<u64>(), counts.doubt.iter().sum::<u64>())
    };
    assert_eq!(seen("b", Assignment::Target), (2, 2, 2), "a preview is judged by these");
    assert_eq!(seen("b", Assignment::Match), (1, 1, 1));
    assert_eq!(seen("a", Assignment::Target), (1, 0, 0));
    assert_eq!((rig.outcome("a"), rig.outcome("b")), (None, None));
    assert!(rig.slots().seen().is_empty());
    // The servers are not told who was asked for; the rest of the head is theirs.
    for message in a.seen().iter().chain(&b.seen()) {
        assert_eq!(message.header("x-sluice-target"), None);
    }
    assert_eq!(b.seen()[2].header("x-group"), Some("beta"));
}

// rule: C2, R5
#[tokio::test(flavor = "multi_thread")]
async fn what_the_candidate_cannot_take_stable_answers() {
    let (a, gone) = (Server::start(|_, _| ok()).await, refusing().await);
    for candidates in [vec![], vec![gone]] {
        let rig = Rig::start(preview(0), ready(&[a.address]), ready(&candidates)).await;
        for (headers, assignment) in [(TARGETED, Assignment::Target), (MATCHED, Assignment::Match)] {
            assert_eq!(answered_by(&rig, headers).await, "a");
            let counts = rig.counts("b", assignment);
            assert_eq!((counts.outcome(Outcome::Fallback), counts.requests()), (1, 1), "{headers}");
            assert!(counts.classes.is_empty(), "the answer was another's");
        }
        assert_eq!((rig.outcome("a"), rig.outcome("b")), (None, None));
    }
}

// rule: R5
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_cuts_previews_too() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| status(500)).await);
    let mut rig = Rig::start(preview(0), ready(&[a.address]), ready(&[b.address])).await;
    assert_eq!(post(rig.address, TARGETED, b"x").await.unwrap().status(), 500);
    rig.route.spec.candidate = None;
    rig.next();
    for headers in [TARGETED, "x-sluice-target: b\r\n", MATCHED] {
        for _ in 0..20 {
            assert_eq!(answered_by(&rig, headers).await, "a");
        }
    }
    assert_eq!(b.seen().len(), 1);
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 60)), "they are split like any other");
    // A pin to stable cuts them while the operator is down.
    rig.route.spec.candidate = Some("b".into());
    rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), "a".to_owned())].into());
    rig.next();
    assert_eq!(
        (answered_by(&rig, TARGETED).await, answered_by(&rig, MATCHED).await),
        ("a".into(), "a".into())
    );
    assert_eq!((b.seen().len(), rig.counts("a", Assignment::Pin).requests()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_vain_is_split_counted_and_not_passed_on() {
    let a = Server::start(|_, _| ok()).await;
    let mut rig = Rig::start(preview(0), ready(&[a.address]), vec![]).await;
    let in_vain = |rig: &Rig| {
        let text = TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
        let line = text.lines().find(|l| l.starts_with("sluice_router_targets_ignored_total "));
        line.and_then(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(answered_by(&rig, "x-sluice-target: nobody\r\n").await, "a");
    assert_eq!(in_vain(&rig), 1);
    assert_eq!((answered_by(&rig, "x-sluice-target: a\r\n").await, in_vain(&rig)), ("a".into(), 1));
    rig.route.spec.targeting = false;
    rig.next();
    assert_eq!((answered_by(&rig, TARGETED).await, in_vain(&rig)), ("a".into(), 2));
    assert_eq!((answered_by(&rig, "").await, in_vain(&rig)), ("a".into(), 2));
    assert!(a.seen().iter().all(|message| message.header("x-sluice-target").is_none()));
    assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 3)));
}
