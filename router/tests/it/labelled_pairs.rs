//! Labels of answers beside which a copy was answered: both are right, one of them is, or neither.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::RouteMirror;
use prometheus::TextEncoder;
use router::Feedback;
use serde_json::{Value, json};
use wire::{Page, PairOutcome};

use crate::feedback::{label, secret, serve};
use crate::rig::{Rig, ready, route, until};
use crate::servers::{Act, Server, ok};
use crate::wire_http::{Message, Wire, post};

/// A router that copies everything to `b`, which answers by the request's body, and its port of labels.
async fn start(shadow: fn(&str) -> Act) -> (Rig, [Server; 2], SocketAddr) {
    let a = Server::start(|_, _| ok()).await;
    let b = Server::start(move |_, message: &Message| shadow(&message.text())).await;
    let mut route = route(0);
    route.spec.candidate = Some("b".into());
    route.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
    let rig = Rig::start(route, ready(&[a.address]), ready(&[b.address])).await;
    rig.feedback.load(secret("ours", None).path()).unwrap();
    let port = serve(rig.feedback.clone()).await;
    (rig, [a, b], port)
}

/// The id of an answer whose copy was counted.
async fn id(rig: &Rig, body: &str) -> String {
    let before: u64 = rig.pairs().outcomes.iter().sum();
    let answer = post(rig.address, "", body.as_bytes()).await.unwrap();
    until("the copy is counted", || rig.pairs().outcomes.iter().sum::<u64>() > before).await;
    answer.header("x-sluice-prediction-id").unwrap().to_owned()
}

fn says(shadow: &str) -> Act {
    match shadow {
        "seven" => ok(),
        "eight" => Act::Answer(200, "x-prediction: eight\r\nx-confidence: 0.5\r\n", String::new()),
        "null" => Act::Answer(200, "x-prediction: -\r\nx-confidence: NaN\r\n", String::new()),
        "two" => Act::Answer(200, "x-prediction: seven,seven\r\n", String::new()),
        _ => Act::Answer(500, "", String::new()),
    }
}

// rule: C1, C2
#[tokio::test(flavor = "multi_thread")]
async fn a_label_says_who_of_both_was_right() {
    let (mut rig, _servers, port) = start(says).await;
    // Stable always says seven.
    for (shadow, truth, expected) in [
        ("seven", "seven", [1, 0, 0, 0]),
        ("eight", "seven", [1, 1, 0, 0]),
        ("eight", "eight", [1, 1, 1, 0]),
        ("seven", "one", [1, 1, 1, 1]),
        ("eight", "one", [1, 1, 1, 2]),
        // No answer that could be right or wrong.
        ("null", "seven", [1, 1, 1, 2]),
        ("two", "seven", [1, 1, 1, 2]),
        ("failing", "seven", [1, 1, 1, 2]),
    ] {
        let id = id(&rig, shadow).await;
        assert_eq!(label(port, &id, truth).await, (1, String::new()));
        assert_eq!(rig.pairs().labels, expected, "{shadow} {truth}");
        assert_eq!(label(port, &id, truth).await.0, 0, "once");
    }
    assert_eq!((rig.pairs().right(), rig.paired(PairOutcome::Disagree)), ((2, 2, 5), 5));
    // Under the state of the answer, and no more once that is gone.
    let [late, later] = [id(&rig, "seven").await, id(&rig, "seven").await];
    rig.next();
    assert_eq!(label(port, &late, "seven").await.0, 1);
    let page = Page::parse(&rig.ledger.page().render()).unwrap();
    let labels: Vec<_> = page.pairs.values().map(|all| all["b"].labels).collect();
    assert_eq!(labels, [[2, 1, 1, 2], [0; 4]]);
    rig.next();
    assert_eq!(label(port, &later, "seven").await.0, 1, "it is stable's, as before");
    assert_eq!(rig.pairs().labels, [0; 4]);
    let text = TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
    for line in [
        "sluice_pair_labels_total{result=\"both\",revision=\"b\"} 2",
        "sluice_pair_labels_total{result=\"neither\",revision=\"b\"} 2",
        "sluice_shadow_answers_forgotten_total 0",
        // For dashboards: what was named, and what was true.
        "sluice_labelled_classes_total{label=\"one\",prediction=\"seven\",revision=\"a\"} 2",
        "sluice_disagreements_total{revision=\"b\",shadow=\"eight\",stable=\"seven\"} 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_router_takes_the_label_and_knows_of_no_copy() {
    let (rig, _servers, _port) = start(says).await;
    let other = Arc::new(Feedback::new(rig.ledger.clone(), Duration::from_secs(60)));
    other.load(secret("ours", None).path()).unwrap();
    let other = serve(other).await;
    assert_eq!(label(other, &id(&rig, "seven").await, "seven").await, (1, String::new()));
    assert_eq!(rig.pairs().labels, [0; 4]);
    // Without labels the page is that of releases before them.
    assert!(!rig.ledger.page().render().contains("sluice_pair_labels"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_disagreements_are_on_a_page_for_people() {
    let (rig, _servers, _port) = start(says).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = listener.local_addr().unwrap();
    let pages = router::pages(rig.board.clone(), rig.ledger.clone());
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let page = async || {
        let mut wire = Wire::connect(admin).await.unwrap();
        wire.send("GET /disagreements HTTP/1.1\r\nhost: r\r\n\r\n").await.unwrap();
        serde_json::from_slice::<Value>(&wire.read().await.unwrap().body).unwrap()
    };
    assert_eq!(page().await, json!({"candidates": []}));
    for body in ["seven", "eight", "failing", "null"] {
        let before: u64 = rig.pairs().outcomes.iter().sum();
        post(rig.address, &format!("x-request-id: of-{body}\r\n"), body.as_bytes()).await.unwrap();
        until("the copy is counted", || rig.pairs().outcomes.iter().sum::<u64>() > before).await;
    }
    let page = page().await;
    let b = &page["candidates"][0];
    assert_eq!((&b["revision"], &b["total"]), (&json!("b"), &json!(2)));
    let expected = json!([
        {"stable": "seven", "shadow": "-", "count": 1}, {"stable": "seven", "shadow": "eight", "count": 1},
    ]);
    assert_eq!(b["classes"], expected);
    let recent: Vec<_> = b["recent"].as_array().unwrap().iter().map(|one| &one["requestId"]).collect();
    assert_eq!(recent, [&json!("of-null"), &json!("of-eight")]);
    let eight = &b["recent"][1];
    let sides = (&eight["stable"], &eight["shadow"]);
    let said = |class: &str, confidence: f64| json!({"class": class, "confidence": confidence});
    assert_eq!(sides, (&said("seven", 0.9), &said("eight", 0.5)));
    let time = eight["time"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
}
