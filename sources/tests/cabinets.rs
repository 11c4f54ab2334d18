//! Folders of object stores that many programs write into, as emulators speak (`hack/stores`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::emulator::{Emulator, az_variables, s3_variables, variables};
use common::{translate, upload};
use sources::{Cabinet, CabinetError, Patience, open_cabinet};

/// Emulators are slow.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    stall: Duration::from_secs(20),
    retries: 2,
    pause: Duration::from_millis(50),
};

async fn open(scheme: &str, variables: &[(String, String)]) -> Arc<dyn Cabinet> {
    // Makes the bucket.
    upload::all(scheme, variables, "team", "other", &BTreeMap::from([("x".into(), b"x".to_vec())])).await;
    open_cabinet(&format!("{scheme}://team/review").parse().unwrap(), variables, PATIENCE).unwrap()
}

/// Of many at once, one was first, and it is theirs that is there.
async fn of_many_who_create_a_file_one_has_it(cabinet: &Arc<dyn Cabinet>, rounds: u32, many: u32) {
    for round in 0..rounds {
        let name = format!("done/{round}.json");
        let all = (0..many).map(|n| {
            let (cabinet, name) = (cabinet.clone(), name.clone());
            tokio::spawn(async move { cabinet.put_new(&name, n.to_string().into()).await.map(|()| n) })
        });
        let mut winners = Vec::new();
        for one in all.collect::<Vec<_>>() {
            match one.await.unwrap() {
                Ok(n) => winners.push(n.to_string()),
                Err(error) => assert!(matches!(error, CabinetError::Exists(_)), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "of {name}");
        assert_eq!(cabinet.get(&name, 9).await.unwrap(), winners[0]);
    }
}

/// The whole story of one store.
async fn lives(cabinet: Arc<dyn Cabinet>) {
    let missing = cabinet.get("images/a", 9).await.unwrap_err();
    assert!(matches!(missing, CabinetError::Missing(_)), "{missing}");
    assert!(cabinet.list("waiting", "", 9).await.unwrap().is_empty());
    cabinet.put("images/a", "first".into()).await.unwrap();
    cabinet.put("images/a", "second".into()).await.unwrap();
    assert_eq!(cabinet.get("images/a", 6).await.unwrap(), "second");
    let large = cabinet.get("images/a", 5).await.unwrap_err();
    assert!(matches!(large, CabinetError::Large { found: 6, most: 5, .. }), "{large}");

    of_many_who_create_a_file_one_has_it(&cabinet, 5, 6).await;

    for name in ["c", "a", "b", "d"] {
        cabinet.put(&format!("waiting/{name}.json"), name.into()).await.unwrap();
    }
    assert_eq!(cabinet.list("waiting", "", 2).await.unwrap(), ["a.json", "b.json"]);
    assert_eq!(cabinet.list("waiting", "b.json", 9).await.unwrap(), ["c.json", "d.json"]);
    cabinet.delete("waiting/c.json").await.unwrap();
    cabinet.delete("waiting/c.json").await.unwrap();
    assert!(!cabinet.has("waiting/c.json").await.unwrap() && cabinet.has("waiting/d.json").await.unwrap());
    assert_eq!(cabinet.list("waiting", "", 9).await.unwrap(), ["a.json", "b.json", "d.json"]);
    // Who deletes makes room for another first.
    cabinet.delete("done/0.json").await.unwrap();
    cabinet.put_new("done/0.json", "again".into()).await.unwrap();
}

#[tokio::test]
async fn a_folder_of_this_machine() {
    let place = tempfile::tempdir().unwrap();
    let uri = format!("file://{}", place.path().display()).parse().unwrap();
    let cabinet = open_cabinet(&uri, &[], PATIENCE).unwrap();
    of_many_who_create_a_file_one_has_it(&cabinet, 50, 8).await;
}

#[tokio::test]
async fn s3() {
    let emulator = Emulator::s3();
    lives(open("s3", &s3_variables(&format!("http://127.0.0.1:{}", emulator.port))).await).await;
}

#[tokio::test]
async fn gs() {
    let emulator = Emulator::gs();
    let direct = variables(&[("GOOGLE_BASE_URL", &format!("http://127.0.0.1:{}", emulator.port))]);
    // Whoever writes needs a credential, and the node's are not asked for.
    let error = open_cabinet(&"gs://team/review".parse().unwrap(), &direct, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("allowed: GOOGLE_SERVICE_ACCOUNT_KEY"), "{error}");
    upload::all("gs", &direct, "team", "other", &BTreeMap::new()).await;
    let endpoint = translate::start(emulator.port).await;
    let variables = variables(&[("GOOGLE_BASE_URL", &endpoint), ("GOOGLE_BEARER_TOKEN", "anyone")]);
    lives(open_cabinet(&"gs://team/review".parse().unwrap(), &variables, PATIENCE).unwrap()).await;
}

#[tokio::test]
async fn az() {
    let emulator = Emulator::az();
    lives(open("az", &az_variables(&format!("http://127.0.0.1:{}", emulator.port))).await).await;
}

#[tokio::test]
async fn a_refusal_is_told_without_the_secret() {
    let emulator = Emulator::az();
    let mut variables = az_variables(&format!("http://127.0.0.1:{}", emulator.port));
    drop(open("az", &variables).await);
    let wrong = variables[1].1.replace("Eby8", "Abc8");
    variables[1].1.clone_from(&wrong);
    let cabinet = open_cabinet(&"az://team/review".parse().unwrap(), &variables, PATIENCE).unwrap();
    let error = cabinet.put_new("done/a", "x".into()).await.unwrap_err();
    assert!(matches!(error, CabinetError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains(&wrong), "{error}");
}
