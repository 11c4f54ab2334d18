//! Letters on their way to receivers on loopback, and what the records say of them.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{EVENT_REASONS, ModelDeployment, ModelRollout, ModelRolloutStatus, Notification, Record};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{Client, Config};
use prometheus::Registry;
use serde_json::{Value, json};
use strum::VariantNames;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::letter::{Happened, wants};
use super::*;
use crate::index::Key;
use crate::resources::Owner;
use crate::world::Trigger;

/// A receiver, and an API server that has one Secret.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    got: Vec<(String, Option<String>, Value)>,
    /// Answers to the next requests; then 200.
    answers: Vec<u16>,
    secret: Option<String>,
}

impl Receiver {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, this) = (listener.local_addr().unwrap(), self.clone());
        let app = Router::new().fallback(async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            this.answer(&uri, &headers, &body).await
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    async fn answer(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
        if uri.path() == "/api/v1/namespaces/team/secrets/sluice-notifications" {
            return match self.with(|s| s.secret.clone()) {
                Some(data) => Json(json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": {"url": data},
                }))
                .into_response(),
                None => StatusCode::FORBIDDEN.into_response(),
            };
        }
        if uri.path() == "/never" {
            sleep(Duration::from_secs(60)).await;
        }
        let id = headers.get("x-sluice-event-id").map(|v| v.to_str().unwrap().to_owned());
        let body = serde_json::from_slice(body).unwrap();
        let status = self.with(|s| {
            s.got.push((uri.path().to_owned(), id, body));
            if s.answers.is_empty() { 200 } else { s.answers.remove(0) }
        });
        (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, "/elsewhere")]).into_response()
    }

    fn messages(&self) -> Vec<String> {
        self.with(|s| s.got.iter().map(|(_, _, body)| body["message"].as_str().unwrap().to_owned()).collect())
    }
}

fn courier(api: SocketAddr, waiting: usize) -> (Courier, UnboundedReceiver<Trigger>) {
    let client = Client::try_from(Config::new(format!("http://{api}").parse().unwrap())).unwrap();
    let (wake, woken) = unbounded();
    let timing =
        Timing { attempt: Duration::from_secs(5), pauses: vec![Duration::from_millis(5); 2], waiting };
    (Courier::new(client, &Registry::new(), wake, timing).unwrap(), woken)
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let waits = async {
        while !is() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(Duration::from_secs(10), waits).await.is_ok(), "never: {what}");
}

fn key() -> Key {
    Key::new("digits").within("team")
}

fn owner() -> Owner {
    let deployment: ModelDeployment = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "team", "uid": "u"},
        "spec": {"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "strategy": {}},
    }))
    .unwrap();
    Owner::of(&deployment).unwrap()
}

fn notification(name: &str, webhook: &Value, reasons: &[&str]) -> Notification {
    serde_json::from_value(json!({"name": name, "webhook": webhook, "reasons": reasons})).unwrap()
}

fn at(address: SocketAddr, path: &str) -> Value {
    json!({"url": format!("http://{address}{path}")})
}

fn entry(reason: &str, message: &str, second: i64) -> Record {
    Record {
        time: MicroTime(Timestamp::from_second(second).unwrap()),
        reason: reason.into(),
        message: message.into(),
        weight: 10,
    }
}

fn rollout(status: ModelRolloutStatus) -> ModelRollout {
    let mut rollout: ModelRollout = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "digits-2"},
        "spec": {
            "deployment": "digits", "sequence": 2, "kind": "Rollout", "from": "digits-a", "fromVersion": "1.0.0",
            "to": "digits-b", "toVersion": "1.1.0", "stages": [], "salt": "s",
        },
    }))
    .unwrap();
    rollout.status = Some(status);
    rollout
}

/// One letter per path.
fn letters(address: SocketAddr, paths: &[&str], message: &str) -> Vec<(String, Letter)> {
    let owner = owner();
    let happened = Happened::unrecorded(&owner, ("Paused", message), Timestamp::UNIX_EPOCH);
    let letter = |path: &&str| {
        ((*path).to_owned(), happened.letter(&notification("n", &at(address, path), &[]).webhook))
    };
    paths.iter().map(letter).collect()
}

#[tokio::test]
async fn a_decision_is_told_once_to_each_that_wants_it_and_then_the_record_says_so() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let (courier, mut woken) = courier(address, 10);
    let (key, owner) = (key(), owner());
    let all = [
        notification("all", &at(address, "/all"), &[]),
        notification("stages", &at(address, "/stages"), &["StageServed"]),
    ];
    let mail = Mail { courier: &courier, key: &key, owner: &owner, notifications: &all };
    let record = vec![entry("RolloutStarted", "first", 1), entry("Approved", "nobody's", 1)];
    let mut status = ModelRolloutStatus { record, ..ModelRolloutStatus::default() };
    mail.mark(2, &mut status, 2);
    assert_eq!(status.untold, 2);
    let stored = rollout(status.clone());
    mail.tell(&stored);
    mail.tell(&stored);
    // More is decided before that is delivered.
    status.record.push(entry("StageServed", "third", 2));
    mail.mark(2, &mut status, 1);
    assert_eq!(status.untold, 3);
    mail.tell(&rollout(status.clone()));
    woken.next().await.unwrap();
    until("two letters", || receiver.with(|s| s.got.len()) == 2 && courier.handed(&key, 2) == (3, true))
        .await;
    mail.mark(2, &mut status, 0);
    assert_eq!(status.untold, 0);
    mail.tell(&rollout(status.clone()));
    mail.mark(2, &mut status, 0);
    sleep(Duration::from_millis(50)).await;
    let mut told =
        receiver.with(|s| s.got.iter().map(|g| (g.0.clone(), g.2["message"].clone())).collect::<Vec<_>>());
    told.sort_by_key(|(path, _)| path.clone());
    assert_eq!(told, [("/all".into(), json!("first")), ("/stages".into(), json!("third"))]);
    assert_eq!(courier.handed(&key, 2), (0, true), "forgotten");
}

#[tokio::test]
async fn what_a_crash_left_untold_is_told_by_the_next_process_under_the_same_id() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let (key, owner, all) = (key(), owner(), [notification("all", &at(address, "/"), &[])]);
    let record = vec![entry("Promoted", "old", 1), entry("Promoted", "new", 2)];
    let stored = rollout(ModelRolloutStatus { record, untold: 1, ..ModelRolloutStatus::default() });
    for process in 1..=2 {
        let (courier, _woken) = courier(address, 10);
        Mail { courier: &courier, key: &key, owner: &owner, notifications: &all }.tell(&stored);
        until("a letter", || receiver.with(|s| s.got.len()) == process).await;
    }
    let got = receiver.with(|s| std::mem::take(&mut s.got));
    assert_eq!(got[0], got[1]);
    assert_eq!(got[0].2["message"], "new");
    assert_eq!(got[0].1.as_deref(), got[0].2["id"].as_str());
}

#[tokio::test]
async fn what_waits_is_left_to_whoever_leads_next() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    receiver.with(|s| s.answers = vec![500]);
    let (courier, _woken) = courier(address, 10);
    assert!(courier.hand_over(&key(), Some(2), letters(address, &["/a"], "one")));
    assert!(courier.hand_over(&key(), Some(2), letters(address, &["/a"], "two")));
    until("the first attempt", || receiver.with(|s| s.got.len()) == 1).await;
    courier.stand_by();
    assert_eq!(courier.handed(&key(), 2), (0, true));
    sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.messages(), ["one"]);
    assert!(courier.hand_over(&key(), Some(2), letters(address, &["/a"], "three")));
    until("the next term", || receiver.messages() == ["one", "three"]).await;
}

#[tokio::test]
async fn a_server_error_is_tried_again_in_order_and_a_client_error_is_not() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let (courier, _woken) = courier(address, 10);
    receiver.with(|s| s.answers = vec![500, 429, 200, 400, 302, 500, 500, 500]);
    for message in ["one", "two", "three", "four", "five"] {
        assert!(courier.hand_over(&key(), None, letters(address, &["/a"], message)));
    }
    until("all are done", || courier.count("delivered") + courier.count("lost") == 5).await;
    // Two is refused, three leads elsewhere, four fails in every attempt.
    assert_eq!(receiver.messages(), ["one", "one", "one", "two", "three", "four", "four", "four", "five"]);
    assert_eq!((courier.count("delivered"), courier.count("lost")), (2, 3));
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_and_what_waits_is_bounded() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let (courier, _woken) = courier(address, 3);
    for _ in 0..2 {
        assert!(courier.hand_over(&key(), None, letters(address, &["/never"], "stuck")));
    }
    assert!(courier.hand_over(&key(), None, letters(address, &["/other"], "through")));
    until("the other", || receiver.messages() == ["through"] && courier.count("delivered") == 1).await;
    assert!(!courier.hand_over(&key(), Some(2), letters(address, &["/a", "/b"], "too many")), "both or none");
    assert_eq!((courier.count("refused"), courier.handed(&key(), 2)), (2, (0, true)));
    assert!(courier.hand_over(&key(), None, letters(address, &["/a"], "fits")));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_address_in_a_secret_is_read_when_it_is_needed_and_never_logged() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let (courier, _woken) = courier(address, 10);
    let log = Log::default();
    let writer = log.clone();
    // While a process has one subscriber only, what another test's thread logs first is switched off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // The libraries too, at their most talkative; this runtime has one thread, so it is all in here.
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let from = json!({"urlFrom": {"secretName": "sluice-notifications", "key": "url"}});
    let (key, owner, all) = (key(), owner(), [notification("n", &from, &[])]);
    let mail = Mail { courier: &courier, key: &key, owner: &owner, notifications: &all };

    mail.tell_unrecorded("Paused", "forbidden", Timestamp::UNIX_EPOCH);
    until("it is given up", || courier.count("lost") == 1).await;
    let url = format!("http://{address}/T0KEN?k=T0KEN");
    receiver.with(|s| s.secret = Some(base64(url.as_bytes())));
    receiver.with(|s| s.answers = vec![500, 404]);
    mail.tell_unrecorded("Paused", "goes there", Timestamp::UNIX_EPOCH);
    until("it is given up", || courier.count("lost") == 2).await;
    receiver.with(|s| s.secret = Some(base64(b"http://127.0.0.1:1/T0KEN")));
    mail.tell_unrecorded("Paused", "nobody there", Timestamp::UNIX_EPOCH);
    until("it is given up", || courier.count("lost") == 3).await;
    receiver.with(|s| s.secret = Some(base64(b"mailto:T0KEN")));
    mail.tell_unrecorded("Paused", "no address", Timestamp::UNIX_EPOCH);
    until("it is given up", || courier.count("lost") == 4).await;

    assert_eq!(receiver.with(|s| s.got[1].0.clone()), "/T0KEN");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for said in ["may not be read", "status 404", "no connection: refused", "the address is not http"] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(!log.contains("T0KEN"), "{log}");
    assert!(!format!("{:?}", letters(address, &["/T0KEN"], "m")[0].1).contains("T0KEN"));
}

fn base64(bytes: &[u8]) -> String {
    let bytes = k8s_openapi::ByteString(bytes.to_vec());
    serde_json::to_value(bytes).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_templates_are_what_the_documentation_says() {
    let (owner, rollout) = (owner(), rollout(ModelRolloutStatus::default()));
    let entry = entry("RollingBack", "errors: 3 > 2 & <!channel>", 1);
    let body = |happened: &Happened<'_>, template: &str| {
        let webhook = json!({"url": "http://h", "template": template});
        let letter = happened.letter(&notification("n", &webhook, &[]).webhook);
        serde_json::from_str::<Value>(&letter.body).unwrap()
    };
    let happened = Happened::recorded(&owner, &rollout, &entry, 0);
    insta::assert_json_snapshot!(body(&happened, "json"), @r#"
    {
      "deployment": "digits",
      "from": "digits-a",
      "fromVersion": "1.0.0",
      "id": "0897953965e3cbe7835936a49a9c55ad",
      "message": "errors: 3 > 2 & <!channel>",
      "namespace": "team",
      "reason": "RollingBack",
      "rollout": "digits-2",
      "time": "1970-01-01T00:00:01Z",
      "to": "digits-b",
      "toVersion": "1.1.0",
      "weight": 10
    }
    "#);
    let slack =
        "*RollingBack* team/digits (digits-2, 1.0.0 to 1.1.0, 10 %): errors: 3 &gt; 2 &amp; &lt;!channel&gt;";
    assert_eq!(body(&happened, "slack"), json!({"text": slack}));
    let alone = Happened::unrecorded(&owner, ("InvalidSpec", "why"), Timestamp::UNIX_EPOCH);
    assert_eq!(body(&alone, "slack"), json!({"text": "*InvalidSpec* team/digits: why"}));
    let other = Happened::recorded(&owner, &rollout, &entry, 1);
    assert_ne!(happened.id, other.id);
}

#[test]
fn every_reason_can_be_asked_for_and_the_default_is_what_people_should_know() {
    let scaled = [crate::scaling::SCALED_OUT, crate::scaling::SCALED_IN];
    let told = rollout::Reason::VARIANTS.iter().chain(&crate::status::TROUBLES).chain(&scaled);
    for reason in told {
        assert!(EVENT_REASONS.contains(reason), "api::EVENT_REASONS lacks {reason}");
    }
    let default = notification("n", &json!({"url": "http://h"}), &[]);
    let wanted: Vec<_> = EVENT_REASONS.into_iter().filter(|reason| wants(&default, reason)).collect();
    assert!(wanted.contains(&"RolledBack") && wanted.contains(&"InvalidSpec"), "{wanted:?}");
    assert!(!wanted.contains(&"StagePassed") && !wanted.contains(&"Approved"), "{wanted:?}");
    assert_eq!(wanted.len(), 16, "each default is a reason: {wanted:?}");
}
