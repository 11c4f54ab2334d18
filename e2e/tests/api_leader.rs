//! Two candidates for one Lease, against a real API server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::{Duration, Instant};

use e2e::apiserver::ApiServer;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use operator::leader::{Campaign, Settings};

async fn candidate(namespace: &str, identity: &str) -> Campaign {
    let client = ApiServer::shared().await.unwrap().client().await.unwrap();
    let settings =
        Settings { namespace: namespace.into(), name: "sluice-operator".into(), identity: identity.into() };
    Campaign::start(client, settings)
}

async fn namespace() -> String {
    let server = ApiServer::shared().await.unwrap();
    server.namespace(&server.client().await.unwrap(), "leader").await.unwrap()
}

#[tokio::test]
async fn one_acts_at_a_time_and_a_release_is_seen_within_a_second() {
    // rule: K4
    let namespace = namespace().await;
    let first = candidate(&namespace, "first").await;
    first.acting().began().await;
    let second = candidate(&namespace, "second").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(first.acting().now() && !second.acting().now(), "the first one renews its lease");

    let (mut before, mut after) = (first.acting(), second.acting());
    let start = Instant::now();
    first.release().await;
    before.ended().await;
    after.began().await;
    let took = start.elapsed();
    println!("released and taken over in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    second.release().await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_over_within_six_seconds() {
    // rule: K4
    let namespace = namespace().await;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let name = namespace.clone();
    let first = runtime.spawn(async move { candidate(&name, "first").await }).await.unwrap();
    first.acting().began().await;
    let second = candidate(&namespace, "second").await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    // The process is gone, with everything in it.
    let killed = Instant::now();
    runtime.shutdown_background();
    second.acting().began().await;
    let took = killed.elapsed();
    println!("taken over {took:?} after the end of the first");
    assert!(took <= Duration::from_secs(6), "{took:?}");
    // It had stopped by itself before.
    assert!(!first.acting().now());
}

#[tokio::test]
async fn one_that_lost_its_lease_asks_for_it_again() {
    // rule: K4
    let namespace = namespace().await;
    let first = candidate(&namespace, "first").await;
    let mut acting = first.acting();
    acting.began().await;

    let client = ApiServer::shared().await.unwrap().client().await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let taken = Patch::Merge(serde_json::json!({"spec": {"holderIdentity": "other"}}));
    leases.patch("sluice-operator", &PatchParams::default(), &taken).await.unwrap();
    let start = Instant::now();
    acting.ended().await;
    println!("stopped {:?} after another one took it", start.elapsed());
    assert!(start.elapsed() <= Duration::from_secs(4));
    tokio::time::timeout(Duration::from_secs(7), acting.began()).await.expect("it leads again");
    println!("leads again after {:?}", start.elapsed());
    let holder = leases.get("sluice-operator").await.unwrap().spec.unwrap().holder_identity;
    assert_eq!(holder.as_deref(), Some("first"));
    first.release().await;
}
