use std::collections::BTreeSet;
use std::path::Path;

use axum::http::StatusCode;
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::review::item::tests::item;
use crate::review::testing::{End, Ending, Taking, courier, folder};

async fn laid(desk: &Desk, decision: &str) -> Item {
    let item = item(decision);
    desk.lay(&item, "image".into()).await.unwrap();
    item
}

fn files(place: &Path, below: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.join(below)) else { return vec![] };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_image_waits_until_somebody_decides() {
    let (place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    let (first, second) = (laid(&desk, "defer").await, laid(&desk, "assist").await);
    let page = desk.waiting(None, 9).await.unwrap();
    let mut expected = vec![first.clone(), second];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(page, Page { items: expected, next: None });
    assert_eq!(desk.image(&first.id).await.unwrap(), "image");

    let wrong = desk.label(&first.id, "nine", None).await.unwrap_err();
    assert_eq!(wrong.to_string(), "label is \"nine\", allowed: one of the item's classes");
    let done = desk.label(&first.id, "one", Some("Ada")).await.unwrap();
    let again = desk.label(&first.id, "seven", Some("Bob")).await.unwrap_err();
    let LabelError::Taken(standing) = again else { panic!("{again}") };
    assert_eq!(*standing, done);
    assert_eq!(desk.find(&first.id).await.unwrap(), Some(Found::Done(done)));
    assert_eq!(desk.waiting(None, 9).await.unwrap().items.len(), 1);
    let unknown = desk.label(&ItemId::new(Timestamp::now()), "one", None).await.unwrap_err();
    assert!(matches!(unknown, LabelError::Unknown));

    // The router hears of it, once.
    let router = Taking::start().await;
    let courier = courier(cabinet, Some(&router.address), place.path());
    assert_eq!((courier.round().await.unwrap(), courier.round().await.unwrap()), (0, 0));
    let expected = json!({"ticket": "ticket-1", "class": "seven", "confidence": 0.41, "label": "one"});
    assert_eq!(*router.told.lock().unwrap(), [expected]);
    let told = desk.told(&first.id).await.unwrap().unwrap();
    assert_eq!((told.code, told.reason), (None, None));
    assert!(files(place.path(), "untold").is_empty());
}

#[tokio::test]
async fn lists_come_in_parts_and_skip_what_has_a_label() {
    let (_place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    let mut ids = BTreeSet::new();
    for _ in 0..7 {
        ids.insert(laid(&desk, "defer").await.id);
    }
    // A late write of a server: it has a label, and is there again.
    let back = ids.pop_first().unwrap();
    let again = desk.read::<Item>(&waiting(&back)).await.unwrap().unwrap();
    desk.label(&back, "one", None).await.unwrap();
    desk.lay(&again, "image".into()).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = desk.waiting(after.as_ref(), 2).await.unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items.into_iter().map(|item| item.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ids.into_iter().collect::<Vec<_>>());
    assert!(!cabinet.has(&waiting(&back)).await.unwrap(), "it is taken away");
    // What is no item harms nobody.
    cabinet.put("waiting/0.json", "{".into()).await.unwrap();
    cabinet.put(&waiting(&ItemId::new(Timestamp::now())), "{\"id\":".into()).await.unwrap();
    assert_eq!(desk.waiting(None, 100).await.unwrap().items.len(), 6);
}

#[tokio::test]
async fn of_many_reviewers_at_once_one_is_first() {
    let (_place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    for _ in 0..40 {
        let id = laid(&desk, "defer").await.id;
        let all = (0..6).map(|n| {
            let (desk, id) = (desk.clone(), id.clone());
            let (label, by) = (["one", "seven"][n % 2], format!("reviewer {n}"));
            tokio::spawn(async move { desk.label(&id, label, Some(&by)).await })
        });
        let (mut given, mut told) = (Vec::new(), Vec::new());
        for one in all.collect::<Vec<_>>() {
            match one.await.unwrap() {
                Ok(done) => given.push(done),
                Err(LabelError::Taken(first)) => told.push(*first),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((given.len(), told.len()), (1, 5));
        assert!(told.iter().all(|first| *first == given[0]), "all others are told who was first");
    }
    assert!(desk.waiting(None, 9).await.unwrap().items.is_empty());
}

/// Ends at every write of server, reviewer and courier in turn, goes on with all of them anew, and looks whether anything
/// is lost or there twice.
#[rstest]
#[case(End::Before)]
#[case(End::After)]
#[tokio::test]
async fn whenever_a_program_ends_nothing_is_lost_and_nothing_is_double(#[case] end: End) {
    // lay: 2 writes; label: 3; courier: 3 (waiting, told, announcement).
    let (mut ended_laying, mut ended_labelling, mut ended_telling) = (0, 0, 0);
    for writes in 0..=9 {
        let (place, cabinet) = folder();
        let broken = Ending::new(&cabinet, writes, end);
        let (before, after) = (Desk::new(broken.clone()), Desk::new(cabinet.clone()));
        let router = Taking::start().await;
        let item = item("defer");

        let is_laid = before.lay(&item, "image".into()).await.is_ok();
        if !is_laid {
            ended_laying += 1;
            // The server counts it as dropped. It is there as a whole, or nobody sees it.
            match after.find(&item.id).await.unwrap() {
                Some(Found::Waiting(found)) => {
                    assert_eq!((found, after.image(&item.id).await.unwrap()), (item.clone(), "image".into()));
                }
                found => assert_eq!(found, None),
            }
            after.lay(&item, "image".into()).await.unwrap();
        }
        let labelled = before.label(&item.id, "one", Some("Ada")).await;
        if is_laid && labelled.is_err() {
            ended_labelling += 1;
        }
        let teller = courier(broken, Some(&router.address), place.path());
        let round = teller.round().await;
        if labelled.is_ok() && round.is_err() {
            ended_telling += 1;
        }

        // All of them anew.
        let is_waiting = after.waiting(None, 9).await.unwrap().items.iter().any(|found| found.id == item.id);
        let standing = match after.find(&item.id).await.unwrap().unwrap() {
            Found::Done(done) => {
                assert!(!is_waiting, "{writes}: it has a label and waits");
                assert_eq!((&*done.label, done.by.as_deref()), ("one", Some("Ada")));
                assert!(matches!(after.label(&item.id, "seven", None).await, Err(LabelError::Taken(_))));
                "one"
            }
            Found::Waiting(_) => {
                assert!(is_waiting, "{writes}: it has no label and does not wait");
                assert!(labelled.is_err(), "{writes}: a label that was given is gone");
                after.label(&item.id, "seven", Some("Bob")).await.unwrap();
                "seven"
            }
        };
        let teller = courier(cabinet.clone(), Some(&router.address), place.path());
        teller.round().await.unwrap();
        teller.round().await.unwrap();
        assert_eq!(router.count(), 1, "{writes}: the router counts it once");
        assert_eq!(router.told.lock().unwrap()[0]["label"], standing);
        assert!(after.told(&item.id).await.unwrap().unwrap().code.is_none());
        assert_eq!(after.image(&item.id).await.unwrap(), "image");
        assert!(files(place.path(), "waiting").is_empty() && files(place.path(), "done").len() == 1);
        // An announcement whose label never came goes after an hour.
        assert!(files(place.path(), "untold").len() <= 1, "{writes}: {:?}", files(place.path(), "untold"));
    }
    assert!(
        ended_laying >= 2 && ended_labelling >= 2 && ended_telling >= 2,
        "{ended_laying} {ended_labelling} {ended_telling}"
    );
}

#[tokio::test]
async fn an_announcement_without_a_label_goes_after_an_hour() {
    let (place, cabinet) = folder();
    let courier = courier(cabinet.clone(), None, place.path());
    let id = ItemId::new(Timestamp::now());
    let (now, old) = (Timestamp::now(), Timestamp::now() - SignedDuration::from_mins(61));
    cabinet.put(&marker(&id, "0123456789abcdef"), json(&now)).await.unwrap();
    cabinet.put(&marker(&id, "fedcba9876543210"), json(&old)).await.unwrap();
    assert_eq!(courier.round().await.unwrap(), 1);
    assert_eq!(files(place.path(), "untold"), [format!("{id}-0123456789abcdef")]);
}

#[rstest]
// The router is away, or does not let it in: it is told later.
#[case(StatusCode::SERVICE_UNAVAILABLE, json!({}), None)]
#[case(StatusCode::UNAUTHORIZED, json!({}), None)]
#[case(StatusCode::BAD_REQUEST, json!({"error": "missing field `id`"}), None)]
#[case(StatusCode::OK, json!("what?"), None)]
#[case(StatusCode::OK, json!({"accepted": 0, "refused": []}), None)]
// It was told before.
#[case(StatusCode::OK, json!({"accepted": 0, "refused": [{"index": 0, "code": "replayed", "reason": "r"}]}), Some(None))]
// It refuses it for good.
#[case(StatusCode::OK, json!({"accepted": 0, "refused": [{"index": 0, "code": "expired", "reason": "r"}]}), Some(Some("expired")))]
#[tokio::test]
async fn only_what_the_router_says_of_a_label_is_final(
    #[case] status: StatusCode,
    #[case] body: serde_json::Value,
    #[case] code: Option<Option<&str>>,
) {
    let (place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    let router = Taking::start().await;
    *router.instead.lock().unwrap() = Some((status, body));
    let courier = courier(cabinet, Some(&router.address), place.path());
    let id = laid(&desk, "defer").await.id;
    desk.label(&id, "one", None).await.unwrap();
    let left = courier.round().await.unwrap();
    let told = desk.told(&id).await.unwrap();
    assert_eq!(told.as_ref().map(|told| told.code.as_deref()), code);
    assert_eq!(left, usize::from(code.is_none()));
    // Once it is there again, it hears of what was not settled, and of nothing else.
    *router.instead.lock().unwrap() = None;
    assert_eq!(courier.round().await.unwrap(), 0);
    assert_eq!(router.count(), usize::from(code.is_none()));
}

#[tokio::test]
async fn labels_wait_for_a_router_that_is_away() {
    let (place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    // Nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = courier(cabinet.clone(), Some(&format!("http://{free}")), place.path());
    let router = Taking::start().await;
    let there = courier(cabinet, Some(&router.address), place.path());
    for n in 0..3 {
        let item = Item { ticket: Some(format!("ticket {n}")), ..item("assist") };
        desk.lay(&item, "image".into()).await.unwrap();
        desk.label(&item.id, "one", None).await.unwrap();
    }
    // Without a ticket, and without a class, there is nothing to tell.
    for item in
        [Item { ticket: None, ..item("defer") }, Item { prediction: None, confidence: None, ..item("defer") }]
    {
        desk.lay(&item, "image".into()).await.unwrap();
        desk.label(&item.id, "one", None).await.unwrap();
    }
    assert!(away.round().await.unwrap() >= 3);
    assert!(desk.waiting(None, 9).await.unwrap().items.is_empty(), "people are not asked again");
    assert_eq!(there.round().await.unwrap(), 0);
    assert_eq!(router.count(), 3);
}

#[tokio::test]
async fn what_is_old_goes_as_a_whole() {
    let (place, cabinet) = folder();
    let desk = Desk::new(cabinet.clone());
    let now = Timestamp::now();
    let aged = |hours| {
        let time = now - SignedDuration::from_hours(hours);
        Item { id: ItemId::new(time), time, ..item("defer") }
    };
    let all = [aged(30), aged(25), aged(23), aged(0)];
    for item in &all {
        desk.lay(item, "image".into()).await.unwrap();
    }
    desk.label(&all[0].id, "one", None).await.unwrap();
    desk.label(&all[2].id, "one", None).await.unwrap();
    let router = Taking::start().await;
    courier(cabinet, Some(&router.address), place.path()).round().await.unwrap();
    // image, done and told of the first, image and item of the second.
    assert_eq!(desk.expire(now - SignedDuration::from_hours(24)).await.unwrap(), 5);
    for (item, is_there) in all.iter().zip([false, false, true, true]) {
        assert_eq!(desk.find(&item.id).await.unwrap().is_some(), is_there);
        assert_eq!(desk.image(&item.id).await.is_ok(), is_there);
    }
    assert_eq!(desk.expire(now - SignedDuration::from_hours(24)).await.unwrap(), 0);
}
