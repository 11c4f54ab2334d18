//! Keys in cookies: taken as they come, given to whoever has none.

use std::collections::BTreeSet;

use api::{ModelRoute, RouteMirror, Sticky};
use router::slot_of_key;
use wire::{Assignment, SlotSet};

use crate::grpc::{Client, grpc_server};
use crate::rig::{Rig, ready, route, until};
use crate::servers::{Act, Server, ok, status};
use crate::wire_http::{Message, Wire, post};

fn by_cookie(b: u16) -> ModelRoute {
    let mut route = route(b);
    route.spec.sticky = Some(Sticky::by_cookie("sluice_user"));
    route
}

/// The key that an answer gives.
fn given(answer: &Message) -> Option<String> {
    let mut all = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    let line = all.next().map(|(_, value)| value.clone());
    assert!(all.next().is_none(), "{answer:?}");
    let line = line?;
    let (pair, attributes) = line.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
    let key = pair.strip_prefix("sluice_user=").unwrap();
    assert!(key.len() == 32 && key.bytes().all(|c| c.is_ascii_hexdigit()), "{key}");
    Some(key.to_owned())
}

// rule: R3, C5 (the first request counts for the slot of all later ones)
#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_gets_one_and_stays_where_it_began() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| status(500)).await);
    let rig = Rig::start(by_cookie(5_000), ready(&[a.address]), ready(&[b.address])).await;
    let mut wire = Wire::connect(rig.address).await.unwrap();
    let (mut keys, mut revisions) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..60 {
        let first = wire.post("", b"x").await.unwrap();
        let key = given(&first).expect("it has none yet");
        let revision = first.header("x-sluice-revision").unwrap().to_owned();
        assert_eq!(revision == "b", slot_of_key("digits-1", key.as_bytes()) < 5_000, "the slot is the key's");
        for _ in 0..2 {
            let later = wire.post(&format!("cookie: a=1; sluice_user={key}\r\n"), b"x").await.unwrap();
            assert_eq!((later.header("x-sluice-revision"), given(&later)), (Some(&*revision), None));
        }
        keys.insert(key);
        revisions.insert(revision);
    }
    assert_eq!((keys.len(), revisions.len()), (60, 2));
    let expected: SlotSet = keys.iter().map(|key| slot_of_key("digits-1", key.as_bytes())).collect();
    assert_eq!(rig.slots().seen(), &expected, "no slot but those of the keys");
    assert_eq!(rig.slots().failed(), &expected.and(&rig.slots().owned("b")), "failures too");
    // What the client sends is passed on as it is, and nothing is added.
    let seen = [a.seen(), b.seen()].concat();
    let cookies = |message: &Message| message.header("cookie").map(str::to_owned);
    assert_eq!(seen.iter().filter(|message| cookies(message).is_none()).count(), 60);
    assert!(seen.iter().filter_map(cookies).all(|line| line.starts_with("a=1; sluice_user=")));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_value_is_a_key_and_an_applications_own_cookie_is_left_alone() {
    let own = "set-cookie: sluice_user=theirs; Secure\r\n";
    let a = Server::start(move |n, _| if n == 0 { Act::Answer(200, own, String::new()) } else { ok() }).await;
    let rig = Rig::start(by_cookie(0), ready(&[a.address]), vec![]).await;
    let answer = post(rig.address, "", b"x").await.unwrap();
    let all: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!((all.len(), all[0].1.as_str()), (1, "sluice_user=theirs; Secure"));
    for (cookie, has_key) in [
        ("cookie: sluice_user=theirs\r\n", true),
        ("cookie: sluice_user=\"a b\", c\r\n", true),
        ("cookie: x=1\r\ncookie: sluice_user=2\r\n", true),
        ("cookie: sluice_user=\r\n", false),
        ("cookie: sluice_user\r\n", false),
        ("cookie: xsluice_user=1; sluice_user2=2\r\n", false),
    ] {
        assert_eq!(given(&post(rig.address, cookie, b"x").await.unwrap()).is_none(), has_key, "{cookie}");
    }
}

// rule: C1 (a key that decides nothing is not given)
#[tokio::test(flavor = "multi_thread")]
async fn forced_answers_give_no_key() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut route = by_cookie(5_000);
    route.spec.candidate = Some("b".into());
    route.spec.targeting = true;
    route.spec.matches =
        vec![api::Match { header: "x-group".into(), value: "beta".into(), to: api::MatchTo::Candidate }];
    let mut rig = Rig::start(route, ready(&[a.address]), ready(&[b.address])).await;
    for headers in ["x-group: beta\r\n", "x-sluice-target: stable\r\n"] {
        assert_eq!(given(&post(rig.address, headers, b"x").await.unwrap()), None, "{headers}");
    }
    assert!(given(&post(rig.address, "", b"x").await.unwrap()).is_some());
    rig.route.metadata.annotations = Some([(api::names::PIN.to_owned(), "a".to_owned())].into());
    rig.next();
    assert_eq!(given(&post(rig.address, "", b"x").await.unwrap()), None, "pinned");
    assert_eq!(
        given(&post(rig.address, "x-request-timeout: soon\r\n", b"x").await.unwrap()),
        None,
        "refused"
    );
}

// rule: C5 (a router that answers itself counts for the slot too)
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_router_and_shadows_that_answer_nobody_give_a_key() {
    let rig = Rig::start(by_cookie(0), vec![], vec![]).await;
    let answer = post(rig.address, "", b"x").await.unwrap();
    let key = given(&answer).unwrap();
    assert_eq!(answer.status(), 503);
    assert!(rig.slots().failed().iter().eq([slot_of_key("digits-1", key.as_bytes())]));
    let b = Server::start(|_, _| ok()).await;
    let mut alone = by_cookie(0);
    alone.spec.revisions.remove(0);
    alone.spec.stable = None;
    alone.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    let rig = Rig::start(alone, vec![], ready(&[b.address])).await;
    let answer = post(rig.address, "", b"x").await.unwrap();
    let key = given(&answer).unwrap();
    assert_eq!(answer.status(), 202);
    until("the copy is counted", || rig.counts("b", Assignment::Shadow).requests() == 1).await;
    assert!(rig.slots().seen().iter().eq([slot_of_key("digits-1", key.as_bytes())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_given_no_cookie_and_http2s_many_are_one_for_a_server() {
    let (grpc, _) = grpc_server("seven", "0").await;
    let rig = Rig::start(by_cookie(0), ready(&[grpc]), vec![]).await;
    let answer = Client::connect(rig.address).await.ask("application/grpc").await.unwrap();
    assert!(!answer.1.contains_key("set-cookie"));
    let a = Server::start(|_, _| ok()).await;
    let rig = Rig::start(by_cookie(0), ready(&[a.address]), vec![]).await;
    let mut client = Client::connect(rig.address).await;
    let answer = client.ask_with("application/json", &[("cookie", "x=1"), ("cookie", "sluice_user=2")]).await;
    assert!(!answer.unwrap().1.contains_key("set-cookie"));
    let lines: Vec<_> = a.seen()[0].headers.iter().filter(|(name, _)| name == "cookie").cloned().collect();
    assert_eq!(lines, [("cookie".to_owned(), "x=1; sluice_user=2".to_owned())]);
}
