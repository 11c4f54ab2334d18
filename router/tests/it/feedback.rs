//! Labels, from the answer that they are about to the page that the operator reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::TextEncoder;
use router::{Feedback, serve_feedback};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use wire::{Assignment, Grid, Key, Page};

use crate::rig::{Rig, ready, route};
use crate::servers::{Act, Server, ok, refusing, status};
use crate::wire_http::{Message, Wire, post};

const TOKEN: &str = "the-token-of-the-clients";

/// A mounted Secret.
pub(crate) fn secret(key: &str, classes: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), key.repeat(8)).unwrap();
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    if let Some(classes) = classes {
        std::fs::write(folder.path().join("classes"), classes).unwrap();
    }
    folder
}

pub(crate) async fn serve(feedback: Arc<Feedback>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_feedback(listener, feedback));
    address
}

/// A router whose `b` gets no share, with the port of its labels.
async fn start(classes: Option<&str>, script: fn(usize, &Message) -> Act) -> (Rig, Server, SocketAddr) {
    let server = Server::start(script).await;
    let rig = Rig::start(route(0), ready(&[server.address]), vec![]).await;
    rig.feedback.load(secret("ours", classes).path()).unwrap();
    let port = serve(rig.feedback.clone()).await;
    (rig, server, port)
}

async fn send(port: SocketAddr, token: &str, body: &str) -> Message {
    let head = format!(
        "POST /feedback HTTP/1.1\r\nhost: d\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut wire = Wire::connect(port).await.unwrap();
    wire.send(head + body).await.unwrap();
    wire.read().await.unwrap()
}

/// What became of one label.
pub(crate) async fn send_label(port: SocketAddr, label: &Value) -> Value {
    let answer = send(port, TOKEN, &label.to_string()).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The answer to one label: how many were taken, and why not.
pub(crate) async fn label(port: SocketAddr, id: &str, label: &str) -> (u64, String) {
    let taken = send_label(port, &json!({"id": id, "label": label})).await;
    let why = taken["refused"][0]["reason"].as_str().unwrap_or_default().to_owned();
    (taken["accepted"].as_u64().unwrap(), why)
}

/// The id of the next answer.
async fn id(rig: &Rig) -> Option<String> {
    let answer = post(rig.address, "", b"x").await.unwrap();
    answer.header("x-sluice-prediction-id").map(str::to_owned)
}

/// What the page says of the labels of `a`, over all states: right and all of the state's own, and of earlier ones.
fn labelled(rig: &Rig) -> [(u64, u64); 2] {
    let page = Page::parse(&rig.ledger.page().render()).unwrap();
    let key = Key { revision: "a".into(), assignment: Assignment::Split };
    let mut sum = wire::Feedback::default();
    page.feedback.values().filter_map(|keys| keys.get(&key)).for_each(|counts| sum.add(counts));
    [sum.own(), sum.earlier()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_counted_for_the_answer_that_it_names() {
    let (mut rig, _a, port) = start(None, |_, _| ok()).await;
    let (right, wrong) = (id(&rig).await.unwrap(), id(&rig).await.unwrap());
    assert_eq!(label(port, &right, "seven").await, (1, String::new()));
    assert_eq!(label(port, &wrong, "one").await, (1, String::new()));
    assert_eq!(labelled(&rig), [(1, 2), (0, 0)]);
    let page = rig.ledger.page();
    let counts = page.feedback.values().flat_map(|keys| keys.values()).next().unwrap();
    let cell = Grid::Doubt.cell(1.0 - 0.9).unwrap() | 3;
    assert_eq!(counts.cells.each_ref().map(|cells| cells[cell]), [1, 1], "by the answer's confidence");
    // rule: C2. The answer's state decides, also when the label comes under the next one.
    let (late, later) = (id(&rig).await.unwrap(), id(&rig).await.unwrap());
    rig.next();
    assert_eq!(label(port, &late, "seven").await.0, 1);
    assert_eq!(labelled(&rig), [(2, 3), (0, 0)]);
    assert_eq!(rig.ledger.page().feedback.len(), 1);
    // Its state is not on the page any more: it is told apart.
    rig.next();
    assert_eq!(label(port, &later, "one").await.0, 1);
    assert_eq!(labelled(&rig)[1], (0, 1));
    // And nobody is left to count it for.
    let gone = id(&rig).await.unwrap();
    for revision in &mut rig.route.spec.revisions {
        revision.name = format!("{}-new", revision.name);
    }
    rig.route.spec.stable = Some("a-new".into());
    rig.next();
    rig.next();
    assert_eq!(label(port, &gone, "seven").await, (0, "id: its revision is no longer served here".into()));
    let text = TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
    for line in [
        "sluice_labels_total{assignment=\"split\",result=\"correct\",revision=\"a\"} 2",
        "sluice_labels_total{assignment=\"split\",result=\"wrong\",revision=\"a\"} 2",
        "sluice_labels_refused_total{reason=\"gone\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_signed_here_is_too_old_or_was_taken_is_refused() {
    let (rig, _a, port) = start(Some("seven\none\n"), |_, _| ok()).await;
    let forged = "id: not one that these routers gave";
    let id_1 = id(&rig).await.unwrap();
    let last = if id_1.ends_with('A') { 'Q' } else { 'A' };
    let changed = format!("{}{last}", &id_1[..id_1.len() - 1]);
    for wrong in ["", "nonsense", changed.as_str(), &"A".repeat(5_000)] {
        assert_eq!(label(port, wrong, "seven").await, (0, forged.into()), "{wrong}");
    }
    // Another deployment's key.
    let other = Arc::new(Feedback::new(rig.ledger.clone(), Duration::from_secs(60)));
    other.load(secret("else", None).path()).unwrap();
    let (taken, why) = label(serve(other).await, &id_1, "seven").await;
    assert_eq!(taken, 0);
    assert!(
        why.starts_with("id: signed with the key ") && why.contains(", which is not in the Secret"),
        "{why}"
    );
    // A label that is no class may be put right.
    assert_eq!(label(port, &id_1, "seventeen").await, (0, "label: no class of this model".into()));
    assert_eq!(label(port, &id_1, "seven").await, (1, String::new()));
    assert_eq!(label(port, &id_1, "seven").await, (0, "id: its label was taken before".into()));
    // Another router of the same deployment takes ids of this one, for as long as they are young.
    let strict = Arc::new(Feedback::new(rig.ledger.clone(), Duration::ZERO));
    strict.load(secret("ours", None).path()).unwrap();
    let strict = serve(strict).await;
    let old = id(&rig).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(label(strict, &old, "seven").await, (0, "id: the answer is too old".into()));
    assert_eq!(labelled(&rig), [(1, 1), (0, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_became_of_each() {
    let (rig, _a, port) = start(None, |_, _| ok()).await;
    let ids = [id(&rig).await.unwrap(), id(&rig).await.unwrap()];
    let list = json!([
        {"id": ids[0], "label": "seven"}, {"id": "x", "label": "seven"}, {"id": ids[1], "label": "one"},
        {"id": ids[0], "label": "one"},
    ]);
    let answer = send(port, TOKEN, &list.to_string()).await;
    let taken: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &taken["accepted"]), (200, &json!(2)));
    let refused = json!([
        {"index": 1, "code": "forged", "reason": "id: not one that these routers gave"},
        {"index": 3, "code": "replayed", "reason": "id: its label was taken before"},
    ]);
    assert_eq!(taken["refused"], refused);
    assert_eq!(labelled(&rig), [(1, 2), (0, 0)]);
    // The same in an object.
    let list =
        json!({"labels": [{"id": id(&rig).await.unwrap(), "label": "one"}, {"id": "x", "label": "y"}]});
    let answer = send(port, TOKEN, &list.to_string()).await;
    let taken: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&taken["accepted"], &taken["refused"][0]["index"]), (&json!(1), &json!(1)));
    let taken = send(port, TOKEN, "{\"labels\": []}").await;
    assert_eq!(taken.text(), "{\"accepted\":0,\"refused\":[]}");
    let text = TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
    for line in [
        "sluice_feedback_requests_total{code=\"200\"} 3",
        "sluice_labels_refused_total{reason=\"forged\"} 2",
        "sluice_labels_refused_total{reason=\"replayed\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none_are_told_why() {
    let (rig, _a, port) = start(None, |_, _| ok()).await;
    let one = json!({"id": id(&rig).await.unwrap(), "label": "seven"});
    for (token, body, status, said) in [
        ("", one.to_string(), 401, "must be Bearer and the token"),
        ("another-token-of-clients", one.to_string(), 401, "must be Bearer and the token"),
        (TOKEN, "{".into(), 400, "or a list of them: EOF"),
        (TOKEN, json!({"id": "x"}).to_string(), 400, "missing field `label`"),
        (TOKEN, json!({}).to_string(), 400, "missing field `id`"),
        (TOKEN, json!({"ticket": "x", "label": "y"}).to_string(), 400, "missing field `class`"),
        (TOKEN, json!({"ticket": "x", "id": "x", "label": "y"}).to_string(), 400, "`ticket` beside `id`"),
        (TOKEN, json!({"id": "x", "class": "z", "label": "y"}).to_string(), 400, "beside `id`, which has"),
        (
            TOKEN,
            json!({"ticket": "x", "class": "z", "confidence": 1.5, "label": "y"}).to_string(),
            400,
            "`confidence` is 1.5, allowed: 0..=1",
        ),
        (TOKEN, json!({"labels": [], "id": "x"}).to_string(), 400, "`labels` beside `id` or `label`"),
        (TOKEN, json!({"labels": [one.clone(), {"id": "x"}]}).to_string(), 400, "missing field `label`"),
        (TOKEN, json!({"label": [one.clone()]}).to_string(), 400, "expected a string"),
        (TOKEN, json!({"id": "x", "label": 7}).to_string(), 400, "expected a string"),
        (TOKEN, json!([one.clone(), 7]).to_string(), 400, "invalid type"),
        (
            TOKEN,
            json!(vec![json!({"id": "x", "label": "y"}); 1_001]).to_string(),
            413,
            "1001 labels, at most 1000",
        ),
        (
            TOKEN,
            json!({"labels": vec![json!({"id": "x", "label": "y"}); 1_001]}).to_string(),
            413,
            "1001 labels, at most 1000",
        ),
        (TOKEN, json!({"id": "x".repeat(70_000), "label": "y"}).to_string(), 413, "larger than 65536 bytes"),
    ] {
        let answer = send(port, token, &body).await;
        assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")), "{said}");
        assert!(answer.text().contains(said), "{}", answer.text());
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
    }
    for (first, status) in [("GET /feedback", 405), ("POST /predict", 404)] {
        let mut wire = Wire::connect(port).await.unwrap();
        wire.send(format!("{first} HTTP/1.1\r\nhost: d\r\ncontent-length: 0\r\n\r\n")).await.unwrap();
        assert_eq!(wire.read().await.unwrap().status(), status, "{first}");
    }
    assert_eq!(labelled(&rig), [(0, 0), (0, 0)], "nothing of a bad list is taken");
}

// rule: C1, C2, C3
#[tokio::test(flavor = "multi_thread")]
async fn only_answers_that_are_evidence_have_a_name() {
    let script: fn(usize, &Message) -> Act = |n, _| match n {
        0 => Act::Answer(200, "x-prediction: a,b,-\r\nx-sluice-prediction-id: mine\r\n", "batch".into()),
        1 => Act::Answer(
            200,
            "x-prediction: -\r\nx-confidence: NaN\r\nx-sluice-prediction-id: mine\r\n",
            "null".into(),
        ),
        2 => status(500),
        _ => ok(),
    };
    let (mut rig, _a, port) = start(None, script).await;
    let batch = id(&rig).await;
    // One of three at most, and that one counts; the withheld one may have been drawn.
    if let Some(batch) = batch {
        let parts: Vec<&str> = batch.split(',').collect();
        let named: Vec<usize> = (0..parts.len()).filter(|i| parts[*i] != "-").collect();
        assert!(parts.len() == 3 && named.len() == 1 && named[0] < 2, "{batch}");
        assert_eq!(label(port, parts[named[0]], ["a", "b"][named[0]]).await.0, 1);
        assert_eq!(labelled(&rig)[0], (1, 1));
    }
    assert_eq!(id(&rig).await, None, "no answer, no name, whatever the server says");
    assert_eq!(id(&rig).await, None, "an error");
    assert!(id(&rig).await.is_some());
    // Stable answers for a revision without endpoints.
    rig.route.spec.revisions = route(10_000).spec.revisions;
    rig.next();
    assert_eq!(id(&rig).await, None, "another one than was drawn");
    rig.endpoints.insert("digits-b".into(), ready(&[refusing().await]));
    rig.next();
    assert_eq!(id(&rig).await, None, "another one than was drawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_answers_have_no_name_and_labels_wait() {
    let server = Server::start(|_, _| ok()).await;
    let rig = Rig::start(route(0), ready(&[server.address]), vec![]).await;
    let port = serve(rig.feedback.clone()).await;
    assert_eq!(id(&rig).await, None);
    let answer = send(port, TOKEN, "{}").await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
    let folder = secret("ours", None);
    std::fs::write(folder.path().join("key"), "short").unwrap();
    assert!(rig.feedback.load(folder.path()).is_err());
    assert_eq!(id(&rig).await, None);
    // The Secret comes later.
    std::fs::write(folder.path().join("key"), "ours".repeat(8)).unwrap();
    rig.feedback.load(folder.path()).unwrap();
    let id = id(&rig).await.unwrap();
    assert_eq!(label(port, &id, "seven").await.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_without_losing_the_labels_of_what_it_signed() {
    let (rig, _a, port) = start(None, |_, _| ok()).await;
    let folder = secret("ours", None);
    let write = |file: &str, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|key| key.repeat(8)).collect();
        std::fs::write(folder.path().join(file), lines.join("\n")).unwrap();
        rig.feedback.load(folder.path()).unwrap();
    };
    let before = [id(&rig).await.unwrap(), id(&rig).await.unwrap(), id(&rig).await.unwrap()];
    // The next one is taken before it signs, so that no router signs what another one refuses.
    let ahead = Arc::new(Feedback::new(rig.ledger.clone(), Duration::from_secs(60)));
    write("other-keys", &["next"]);
    assert_eq!(label(port, &before[0], "seven").await, (1, String::new()));
    std::fs::write(folder.path().join("key"), "next".repeat(8)).unwrap();
    ahead.load(folder.path()).unwrap();
    write("other-keys", &["ours", "once"]);
    assert_eq!(label(port, &before[1], "seven").await, (1, String::new()));
    let since = id(&rig).await.unwrap();
    assert_eq!(label(serve(ahead).await, &since, "seven").await, (1, String::new()));
    // Once all that it signed is too old it may go. The same key signs on.
    write("other-keys", &[]);
    let (taken, why) = label(port, &before[2], "seven").await;
    assert!(taken == 0 && why.contains("which is not in the Secret"), "{why}");
    assert_eq!(label(port, &id(&rig).await.unwrap(), "one").await, (1, String::new()));
    let text = TextEncoder::new().encode_to_string(&rig.registry.gather()).unwrap();
    assert!(text.contains("sluice_labels_refused_total{reason=\"key\"} 1"), "{text}");
}
