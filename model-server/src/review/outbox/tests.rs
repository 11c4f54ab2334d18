use std::time::Instant;

use crate::review::item::tests::item;
use crate::review::testing::{End, Ending, folder};

use super::*;

fn room() -> Room {
    Room { images: 4, bytes: 1 << 20, writers: 2, time: Duration::from_millis(200) }
}

fn parcel(bytes: usize) -> Parcel {
    Parcel { item: item("defer"), image: vec![7; bytes].into() }
}

fn dropped(metrics: &KeptMetrics, reason: &str) -> u64 {
    metrics.dropped.with_label_values(&["review", reason]).get()
}

#[tokio::test]
async fn what_is_taken_is_written() {
    let (place, cabinet) = folder();
    let metrics = KeptMetrics::new(&Registry::new()).unwrap();
    let outbox = Outbox::for_review(&cabinet, room(), &metrics).unwrap();
    let parcels = [parcel(10), parcel(10), parcel(10)];
    for parcel in &parcels {
        assert!(outbox.push(parcel.clone()));
    }
    outbox.flush(Duration::from_secs(5)).await;
    assert_eq!(metrics.kept.with_label_values(&["review"]).get(), 3);
    assert_eq!(Desk::new(cabinet.clone()).waiting(None, 9).await.unwrap().items.len(), 3);

    let outbox = Outbox::for_capture(&cabinet, room(), &metrics).unwrap();
    let mut captured = parcel(10);
    captured.item.time = "2026-11-27T23:59:59Z".parse().unwrap();
    assert!(outbox.push(captured.clone()));
    outbox.flush(Duration::from_secs(5)).await;
    let day = place.path().join("captures/2026-11-27");
    let id = &captured.item.id;
    assert_eq!(std::fs::read(day.join(format!("{id}.png"))).unwrap(), [7; 10]);
    let record = std::fs::read(day.join(format!("{id}.json"))).unwrap();
    assert_eq!(serde_json::from_slice::<Item>(&record).unwrap(), captured.item);
}

#[tokio::test]
async fn a_store_that_hangs_holds_nobody_up() {
    let (_place, cabinet) = folder();
    let hanging: Arc<dyn Cabinet> = Ending::new(&cabinet, 0, End::Hang);
    let metrics = KeptMetrics::new(&Registry::new()).unwrap();
    let outbox = Outbox::for_review(&hanging, room(), &metrics).unwrap();
    let begun = Instant::now();
    // Two are with the writers, once they have run; four wait.
    let taken = (0..100).filter(|_| outbox.push(parcel(1000))).count();
    assert!((4..=6).contains(&taken), "{taken}");
    assert_eq!(dropped(&metrics, "full"), 100 - taken as u64);
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // Each is given up in its time.
    outbox.flush(Duration::from_secs(5)).await;
    assert_eq!((dropped(&metrics, "failed"), dropped(&metrics, "ended")), (taken as u64, 0));
    // At the end nobody waits for longer than there is time.
    assert!(outbox.push(parcel(1000)));
    let begun = Instant::now();
    outbox.flush(Duration::from_millis(50)).await;
    assert!(begun.elapsed() < Duration::from_millis(150), "{:?}", begun.elapsed());
    assert_eq!(dropped(&metrics, "ended"), 1);
    assert_eq!(metrics.kept.with_label_values(&["review"]).get(), 0);
}

#[tokio::test]
async fn bytes_are_limited_and_come_back() {
    let (_place, cabinet) = folder();
    let metrics = KeptMetrics::new(&Registry::new()).unwrap();
    let outbox = Outbox::for_review(&cabinet, room(), &metrics).unwrap();
    assert!(!outbox.push(parcel(1 << 20)), "there is something beside the image");
    assert!(outbox.push(parcel(600_000)));
    assert!(!outbox.push(parcel(600_000)));
    outbox.flush(Duration::from_secs(5)).await;
    assert!(outbox.push(parcel(600_000)));
    assert_eq!(dropped(&metrics, "full"), 2);
}

#[tokio::test]
async fn a_store_that_fails_is_counted_and_comes_back() {
    let (_place, cabinet) = folder();
    let failing = Ending::new(&cabinet, 1, End::Before);
    let metrics = KeptMetrics::new(&Registry::new()).unwrap();
    let outbox = Outbox::for_review(&(failing.clone() as Arc<dyn Cabinet>), room(), &metrics).unwrap();
    // The image is written, its record is not: nobody sees it.
    assert!(outbox.push(parcel(10)));
    outbox.flush(Duration::from_secs(5)).await;
    assert_eq!(dropped(&metrics, "failed"), 1);
    assert!(Desk::new(cabinet.clone()).waiting(None, 9).await.unwrap().items.is_empty());
    failing.left.store(2, std::sync::atomic::Ordering::SeqCst);
    assert!(outbox.push(parcel(10)));
    outbox.flush(Duration::from_secs(5)).await;
    assert_eq!(metrics.kept.with_label_values(&["review"]).get(), 1);
}
