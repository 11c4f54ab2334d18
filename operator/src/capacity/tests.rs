//! Literal objects, and a reader against an API server on loopback.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::index::Key;

fn read<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// A server with 1 core and 1 Gi requested, 2 Gi limited.
fn server() -> PodSpec {
    read(json!({"containers": [{"name": "server", "resources": {
        "requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"},
    }}]}))
}

fn wants(new: u32, unplaced: u32) -> Vec<Coming> {
    vec![Coming { revision: "digits-b".into(), new, unplaced, pod: server() }]
}

fn quota(hard: &Value, used: &Value) -> ResourceQuota {
    read(
        json!({"metadata": {"name": "team"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}),
    )
}

fn node_of(name: &str, spec: &Value) -> Node {
    read(json!({
        "metadata": {"name": name, "labels": {"pool": "cpu"}}, "spec": spec,
        "status": {
            "allocatable": {"cpu": "3900m", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
}

fn node(name: &str) -> Node {
    node_of(name, &json!({}))
}

fn pod_on(node: &str, cpu: &str, phase: &str) -> Pod {
    read(json!({
        "metadata": {"name": "other"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    }))
}

#[test]
fn a_quota_is_named_with_what_is_needed_and_what_is_free() {
    // rule: K5
    let of = |hard: Value, used: Value, new| by_quotas(&wants(new, new), &[quota(&hard, &used)]);
    let cpu = |used: &str, new| of(json!({"requests.cpu": "4"}), json!({"requests.cpu": used}), new);
    assert_eq!(cpu("2", 2), None, "just fits");
    assert_eq!(cpu("2500m", 2).as_deref(), Some("ResourceQuota team: requests.cpu 2 needed, 1.5 of 4 free"));
    let memory = |new| of(json!({"limits.memory": "8Gi"}), json!({"limits.memory": "5Gi"}), new);
    assert_eq!(
        memory(2).as_deref(),
        Some("ResourceQuota team: limits.memory 4096Mi needed, 3072Mi of 8192Mi free")
    );
    assert_eq!(memory(1), None);
    let pods = of(json!({"pods": "10"}), json!({"pods": "10"}), 1);
    assert_eq!(pods.as_deref(), Some("ResourceQuota team: pods 1 needed, 0 of 10 free"));
    assert_eq!(of(json!({"pods": "10"}), json!({"pods": "12"}), 0), None, "nothing new is let in");
    assert_eq!(of(json!({"services": "1", "requests.storage": "1"}), json!({"services": "1"}), 3), None);
}

#[test]
fn a_quota_that_no_pod_without_an_amount_passes_is_said() {
    let found = by_quotas(&wants(1, 1), &[quota(&json!({"limits.cpu": "4"}), &json!({}))]);
    assert_eq!(
        found.as_deref(),
        Some("ResourceQuota team limits limits.cpu, and refuses pods that name none, as those of digits-b")
    );
    let gpus = quota(&json!({"requests.nvidia.com/gpu": "1"}), &json!({"requests.nvidia.com/gpu": "1"}));
    assert_eq!(by_quotas(&wants(1, 1), &[gpus]), None, "they ask for none");
    let mut scoped = quota(&json!({"pods": "0"}), &json!({}));
    scoped.spec.as_mut().unwrap().scopes = Some(vec!["BestEffort".into()]);
    assert_eq!(by_quotas(&wants(1, 1), &[scoped]), None, "left out");
}

fn on(nodes: Vec<Node>, pods: &[Pod], unplaced: u32) -> Option<String> {
    let mut free = Free::of(nodes);
    pods.iter().for_each(|pod| free.take(pod));
    by_nodes(&wants(0, unplaced), &free)
}

#[test]
fn pods_are_placed_on_what_the_nodes_have_left() {
    assert_eq!(on(vec![node("a"), node("b")], &[], 6), None, "three on each");
    let found = on(vec![node("a"), node("b")], &[], 7).unwrap();
    assert_eq!(
        found,
        "nodes have room for 6 of 7 pods of digits-b, each needs cpu 1 (at most 0.9 free on one node), memory 1024Mi \
         (at most 5120Mi free on one node), pods 1 (at most 107 free on one node)"
    );
    let busy = [pod_on("a", "2", "Running"), pod_on("a", "3", "Succeeded"), pod_on("b", "500m", "Pending")];
    assert_eq!(on(vec![node("a"), node("b")], &busy, 4), None);
    assert!(on(vec![node("a"), node("b")], &busy, 5).is_some());
    let first = vec![wants(0, 3).remove(0), Coming { revision: "digits-c".into(), ..wants(0, 1).remove(0) }];
    let found = by_nodes(&first, &Free::of(vec![node("a")])).unwrap();
    assert!(found.starts_with("nodes have room for 0 of 1 pods of digits-c"), "{found}");
}

#[test]
fn a_node_that_takes_no_such_pod_has_no_room_for_it() {
    let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
    assert!(on(vec![node_of("a", &json!({"unschedulable": true})), node_of("b", &taint)], &[], 1).is_some());
    let mut asleep = node("a");
    asleep.status.as_mut().unwrap().conditions = None;
    assert!(on(vec![asleep], &[], 1).is_some());
    let place = |pod: Value, node: &Node| {
        let mut coming = wants(0, 1);
        let mut all = serde_json::to_value(&coming[0].pod).unwrap();
        all.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        coming[0].pod = read(all);
        by_nodes(&coming, &Free::of(vec![node.clone()])).is_none()
    };
    let tainted = node_of("b", &taint);
    assert!(place(json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}), &tainted));
    assert!(place(json!({"tolerations": [{"key": "gpu", "value": "yes"}]}), &tainted));
    assert!(!place(json!({"tolerations": [{"key": "gpu", "value": "no"}]}), &tainted));
    assert!(!place(json!({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}), &tainted));
    assert!(place(json!({"nodeSelector": {"pool": "cpu"}}), &node("a")));
    assert!(!place(json!({"nodeSelector": {"pool": "gpu"}}), &node("a")));
}

#[test]
fn what_is_missing_is_what_has_no_node_and_what_is_not_there() {
    let mut leaving = pod_on("a", "1", "Running");
    leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let pods = [pod_on("a", "1", "Running"), pod_on("", "1", "Pending"), leaving];
    assert_eq!(pods::missing(4, pods.iter()), (2, 3));
    assert_eq!(pods::missing(1, pods.iter()), (0, 0));
}

#[test]
fn a_pod_asks_for_what_the_scheduler_counts() {
    let with = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": "1Mi"}});
    let pod: PodSpec = read(json!({
        "initContainers": [
            {"name": "fetch", "resources": with("3")},
            {"name": "sidecar", "restartPolicy": "Always", "resources": with("500m")},
        ],
        "containers": [{"name": "a", "resources": with("1")}, {"name": "b", "resources": with("250m")}],
        "overhead": {"cpu": "100m"},
    }));
    let mib = 1_048_576.0;
    assert_eq!(requests(&pod), BTreeMap::from([("cpu".into(), 3.1), ("memory".into(), 3.0 * mib)]));
}

#[test]
fn a_shortage_is_told_in_the_condition_and_as_news_once() {
    let mut status = ModelDeploymentStatus::default();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let waits = "digits-b has 0 of 2 ready pods";
    crate::status::set(
        &mut status.conditions,
        ("Progressing", "True", "RollingOut"),
        waits.into(),
        None,
        now,
    );
    let before = status.clone();
    let room = Room { short: Some("pods".into()), unknown: Some("nodes may not be listed".into()) };
    room.tell(&mut status);
    assert_eq!(
        status.conditions[0].message,
        "digits-b has 0 of 2 ready pods; does not fit: pods; nodes may not be listed"
    );
    assert_eq!((room.is_news(Some(&before)), room.is_news(Some(&status))), (Some("pods"), None));
    let told = before.clone();
    Room::default().tell(&mut status);
    assert_eq!((Room::default().is_news(Some(&before)), told), (None, before));
}

/// What the API server was asked for.
type Paths = Arc<Mutex<Vec<String>>>;

/// An API server with one small node, whose pods come in two pages, and a quota that may not be read.
async fn api_server() -> (Client, Paths) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, paths) = (listener.local_addr().unwrap(), Paths::default());
    let asked = paths.clone();
    let app = Router::new().fallback(async move |uri: Uri| {
        asked.lock().unwrap().push(uri.path().to_owned());
        answer(&uri)
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap(), paths)
}

fn answer(uri: &Uri) -> Response {
    let list = |kind: &str, next: &str, items: Value| {
        let meta = json!({"continue": next});
        Json(json!({"apiVersion": "v1", "kind": kind, "metadata": meta, "items": items})).into_response()
    };
    let second = uri.query().is_some_and(|query| query.contains("continue=more"));
    match uri.path() {
        "/api/v1/nodes" => list("NodeList", "", json!([node("a")])),
        "/api/v1/pods" if second => list("PodList", "", json!([pod_on("a", "2", "Running")])),
        "/api/v1/pods" => list("PodList", "more", json!([pod_on("a", "1", "Running")])),
        _ => StatusCode::FORBIDDEN.into_response(),
    }
}

#[tokio::test]
async fn only_pods_that_wait_cause_a_look_and_what_may_not_be_read_is_said() {
    let (client, paths) = api_server().await;
    let (wake, mut woken) = unbounded();
    let reader = Reader::new(client, true, wake);
    let (waiting, placed) = (Key::new("digits").within("team"), Key::new("letters").within("team"));
    assert_eq!(reader.look(&placed, wants(1, 1)), Room::default(), "nothing waits for the answer");
    assert_eq!(reader.look(&waiting, wants(1, 1)), Room::default());
    // Its pod has a node by the time that anyone would look.
    assert_eq!(reader.look(&placed, Vec::new()), Room::default());
    timeout(Duration::from_secs(10), woken.next()).await.unwrap().unwrap();
    let room = reader.look(&waiting, wants(1, 1));
    let short = room.short.unwrap();
    assert!(short.contains("cpu 1 (at most 0.9 free on one node)"), "{short}");
    let unknown = "whether it fits is not fully known: ResourceQuotas may not be listed";
    assert_eq!(room.unknown.as_deref(), Some(unknown));
    let quotas = "/api/v1/namespaces/team/resourcequotas";
    assert_eq!(*paths.lock().unwrap(), [quotas, "/api/v1/nodes", "/api/v1/pods", "/api/v1/pods"]);
}

#[tokio::test]
async fn an_operator_of_one_namespace_says_that_it_does_not_see_the_nodes() {
    let (client, paths) = api_server().await;
    let reader = Reader::new(client, false, unbounded().0);
    let key = Key::new("digits").within("team");
    let _ = reader.look(&key, wants(1, 1));
    let looks = async {
        loop {
            if let Some(unknown) = reader.look(&key, wants(1, 1)).unknown {
                return unknown;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let unknown = timeout(Duration::from_secs(10), looks).await.unwrap();
    assert!(
        unknown.ends_with("the room on nodes is not known: the operator sees one namespace"),
        "{unknown}"
    );
    assert_eq!(paths.lock().unwrap().len(), 1);
}
