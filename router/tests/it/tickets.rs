//! Answers that a person may have to decide about: their names go to the server before there is an answer.

use std::net::SocketAddr;

use api::{ModelRoute, RouteMirror};
use serde_json::{Value, json};
use wire::{Assignment, Grid, Key, Page};

use crate::feedback::{label, secret, send_label, serve};
use crate::rig::{Rig, in_condition, ready, route, until};
use crate::servers::{Server, ok};
use crate::wire_http::{Message, post};

const TICKET: &str = "x-sluice-ticket";

fn automated(automation: Option<&str>) -> ModelRoute {
    let mut route = route(0);
    route.spec.automation = automation.map(str::to_owned);
    route
}

/// Two revisions, of which `a` answers; `classes` are all there are.
async fn start(route: ModelRoute, a: &Server, b: &Server) -> (Rig, SocketAddr) {
    let rig = Rig::start(route, ready(&[a.address]), ready(&[b.address])).await;
    rig.feedback.load(secret("ours", Some("seven\none")).path()).unwrap();
    let port = serve(rig.feedback.clone()).await;
    (rig, port)
}

fn ticket(message: &Message) -> Option<String> {
    message.header(TICKET).map(str::to_owned)
}

/// Right and wrong labels of `a`, by the cell of the answer's confidence.
fn labelled(rig: &Rig) -> Vec<(usize, [u64; 2])> {
    let page = Page::parse(&rig.ledger.page().render()).unwrap();
    let key = Key { revision: "a".into(), assignment: Assignment::Split };
    let cells = page.feedback.values().filter_map(|keys| keys.get(&key)).flat_map(|counts| {
        (0..wire::CELLS).map(|cell| (cell, counts.cells.each_ref().map(|cells| cells[cell])))
    });
    cells.filter(|(_, counts)| *counts != [0, 0]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_label_comes_by_the_ticket_of_the_request() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let (rig, port) = start(automated(Some("partial 0.9")), &a, &b).await;
    let answer = post(rig.address, "x-sluice-ticket: mine\r\n", b"x").await.unwrap();
    let kept = ticket(&a.seen()[0]).unwrap();
    assert!(kept != "mine" && kept.len() <= 640);

    let of = |ticket: &str, class: &str, label: &str| json!({"ticket": ticket, "class": class, "confidence": 0.25, "label": label});
    let refused = |taken: &Value| taken["refused"][0]["code"].as_str().map(str::to_owned);
    for (sent, code) in [
        (of(&kept, "seven", "nine"), "class"),
        (of(&kept, "nine", "seven"), "class"),
        (of(&kept[..kept.len() - 2], "seven", "seven"), "forged"),
        (of(answer.header("x-sluice-prediction-id").unwrap(), "seven", "seven"), "forged"),
        (json!({"id": kept, "label": "seven"}), "forged"),
    ] {
        assert_eq!(refused(&send_label(port, &sent).await).as_deref(), Some(code), "{sent}");
    }
    assert_eq!(labelled(&rig), []);
    let taken = send_label(port, &of(&kept, "seven", "one")).await;
    assert_eq!(taken, json!({"accepted": 1, "refused": []}));
    let cell = Grid::Doubt.cell(0.75).unwrap() | 3;
    assert_eq!(labelled(&rig), [(cell, [1, 0])].map(|(cell, [wrong, right])| (cell, [right, wrong])));
    // The client may know the truth as well: one label of an answer counts.
    assert_eq!(refused(&send_label(port, &of(&kept, "seven", "one")).await).as_deref(), Some("replayed"));
    let by_id = label(port, answer.header("x-sluice-prediction-id").unwrap(), "one").await;
    assert_eq!(by_id, (0, "id: its label was taken before".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_a_ticket() {
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    for automation in [None, Some("full")] {
        let (rig, _port) = start(automated(automation), &a, &b).await;
        post(rig.address, "x-sluice-ticket: mine\r\n", b"x").await.unwrap();
        assert_eq!(a.seen().last().and_then(ticket), None, "{automation:?}");
    }
    // A copy: what it answers is nobody's.
    let mut mirrored = automated(Some("shadow"));
    mirrored.spec.candidate = Some("b".into());
    mirrored.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    let (rig, _port) = start(mirrored, &a, &b).await;
    post(rig.address, "x-sluice-ticket: mine\r\n", b"x").await.unwrap();
    assert!(a.seen().last().and_then(ticket).is_some());
    until("the copy is there", || b.seen().len() == 1).await;
    assert_eq!(ticket(&b.seen()[0]), None);
    // rule: C2. Stable in place of the one drawn: a label would say nothing of that one.
    let mut drawn = automated(Some("assist"));
    (drawn.spec.revisions[0].slots, drawn.spec.revisions[1].slots) =
        (vec![], drawn.spec.revisions[0].slots.clone());
    let rig =
        Rig::start(drawn, ready(&[a.address]), in_condition(&[b.address], router::Condition::Unready)).await;
    rig.feedback.load(secret("ours", None).path()).unwrap();
    let answer = post(rig.address, "", b"x").await.unwrap();
    assert_eq!(answer.header("x-sluice-revision"), Some("a"));
    assert_eq!(a.seen().last().and_then(ticket), None);
}
