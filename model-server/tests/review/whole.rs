//! The whole way: a server that is started as in a pod, people, and a router.

use model_server::serve;

use super::common::{base64, options, png, ready};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_unsure_answer_to_a_label_that_the_router_counts() {
    let place = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/artefacts/safetensors");
    let digest = sources::digest::of_directory(&model).unwrap();
    let (listen, admin) = (common::free_port(), common::free_port());
    let mut options = options(&model, &digest, listen, admin);
    options.keep.review = Some(format!("file://{}", place.path().join("review").display()).parse().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve::run(options, async { drop(stopped.await) }));
    ready(admin).await;

    let mut ids = Vec::new();
    for n in 0..3u8 {
        let request = Client::new()
            .post(format!("http://127.0.0.1:{listen}/predict"))
            .header("x-sluice-automation", "partial 1")
            .header("x-sluice-ticket", format!("ticket-{n}"))
            .json(&json!({"image": base64(&png(32, 32, 40 * n))}));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["decision"], "defer", "{answer}");
        ids.push(answer["review"].as_str().unwrap().to_owned());
    }
    // What was taken is written before the server ends.
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();

    // The router is not there at first.
    let router = Taking::default();
    *router.instead.lock().unwrap() = Some(StatusCode::SERVICE_UNAVAILABLE);
    let address = router.start().await;
    let review = Review::start(place.path(), Some(&address), None).await;
    let items = review.json("/items").await;
    let listed: Vec<&str> =
        items["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), 3);
    assert!(ids.iter().all(|id| listed.contains(&&**id)), "{listed:?} {ids:?}");
    let classes = items["items"][0]["classes"].as_array().unwrap().clone();
    let label = classes[1].as_str().unwrap();
    for id in &ids[..2] {
        assert_eq!(review.label(id, label, "Ada").await.status(), 200);
    }
    assert_eq!(
        review.json("/items").await["items"].as_array().unwrap().len(),
        1,
        "labelled ones do not wait"
    );
    assert_eq!(review.json("/report").await["feedback"]["untold"], 2);
    review.end().await;

    // Another process goes on, once the router is there.
    *router.instead.lock().unwrap() = None;
    let review = Review::start(place.path(), Some(&address), None).await;
    router.has(2).await;
    assert_eq!(review.label(&ids[2], label, "Bob").await.status(), 200);
    router.has(3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut tickets: Vec<Value> =
        router.told.lock().unwrap().iter().map(|told| told["ticket"].clone()).collect();
    tickets.sort_by_key(Value::to_string);
    assert_eq!(tickets, ["ticket-0", "ticket-1", "ticket-2"]);
    for told in router.told.lock().unwrap().iter() {
        assert_eq!(told["label"], label);
        assert!(told["class"].is_string() && told["confidence"].as_f64().is_some_and(|c| c < 1.0), "{told}");
    }
    let done = review.json(&format!("/items/{}", ids[0])).await;
    assert!(done["feedback"]["code"].is_null() && done["feedback"]["id"] == *ids[0], "{done}");
    let report = review.json("/report").await;
    assert_eq!(report["feedback"]["accepted"], 3, "{report}");
    assert_eq!(report["feedback"]["untold"], 0, "{report}");
    review.end().await;
}
