//! The process that people ask.

use model_server::review::{Desk, Item, ItemId, Media, Ranked};
use rstest::rstest;

use super::common::png;
use super::*;

async fn lay(place: &Path, decision: &str) -> Item {
    let time = jiff::Timestamp::now();
    let item = Item {
        id: ItemId::new(time),
        time,
        model: "digits".into(),
        version: "1.0.0".into(),
        revision: "digits-1".into(),
        request_id: Some("r-1".into()),
        ticket: Some("the-ticket".into()),
        decision: decision.into(),
        media_type: Media::Png,
        prediction: Some("seven".into()),
        confidence: Some(0.41),
        probabilities: vec![Ranked { class: "seven".into(), probability: Some(0.41) }],
        index: 0,
        classes: vec!["one".into(), "seven".into()],
    };
    Desk::new(cabinet(place)).lay(&item, png(8, 8, 99).into()).await.unwrap();
    item
}

#[tokio::test]
async fn people_see_label_and_count() {
    let place = tempfile::tempdir().unwrap();
    let review = Review::start(place.path(), None, None).await;
    assert_eq!(review.json("/items").await, json!({"items": [], "next": null, "explains": false}));
    let (open, blind) = (lay(place.path(), "defer").await, lay(place.path(), "human").await);
    let listed = review.json("/items?limit=1").await;
    let next = listed["next"].as_str().unwrap();
    let rest = review.json(&format!("/items?after={next}&limit=5")).await;
    let all = [&listed["items"][0], &rest["items"][0]];
    for shown in all {
        let is_blind = shown["decision"] == "human";
        assert_eq!(shown.get("prediction").is_none(), is_blind);
        for hidden in ["ticket", "the-ticket"] {
            assert!(!shown.to_string().contains(hidden), "{shown}");
        }
    }
    // Nor by another way, until there is a label.
    let shown = review.json(&format!("/items/{}", blind.id)).await.to_string();
    assert!(!shown.contains("0.41") && !shown.contains("prediction"), "{shown}");

    let image = review.get(&format!("/items/{}/image", open.id)).send().await.unwrap();
    assert_eq!(image.headers()["content-type"], "image/png");
    assert_eq!(image.headers()["x-content-type-options"], "nosniff");
    assert_eq!(image.headers()["content-security-policy"], "default-src 'none'; sandbox");
    assert_eq!(image.headers()["cache-control"], "no-store");
    assert_eq!(image.bytes().await.unwrap(), png(8, 8, 99));
    // More than may be on their way at one time, one after the other.
    for _ in 0..20 {
        let again = review.get(&format!("/items/{}/image", open.id)).timeout(Duration::from_secs(5));
        assert_eq!(again.send().await.unwrap().bytes().await.unwrap(), png(8, 8, 99));
    }

    let given = review.label(open.id.as_str(), "seven", "Ada").await;
    assert_eq!(given.status(), 200);
    let taken = review.label(open.id.as_str(), "one", "Bob").await;
    assert_eq!(taken.status(), 409);
    let taken: Value = taken.json().await.unwrap();
    assert_eq!((&taken["label"], &taken["by"]), (&json!("seven"), &json!("Ada")));
    assert_eq!(review.label(blind.id.as_str(), "one", "").await.status(), 200);
    let done = review.json(&format!("/items/{}", blind.id)).await;
    assert_eq!(
        (&done["prediction"], &done["label"], &done["by"]),
        (&json!("seven"), &json!("one"), &Value::Null)
    );
    assert!(review.json("/items").await["items"].as_array().unwrap().is_empty());

    let report = review.json("/report").await;
    assert_eq!((&report["labels"], &report["complete"]), (&json!(2), &json!(true)));
    let groups = report["groups"].as_array().unwrap();
    let of = |decision: &str| groups.iter().find(|group| group["decision"] == decision).unwrap();
    assert_eq!((&of("defer")["agreed"], &of("human")["agreed"]), (&json!(1), &json!(0)));
    assert_eq!(of("human")["confusion"], json!([{"predicted": "seven", "label": "one", "count": 1}]));
    let metrics = reqwest::get(format!("{}/metrics", review.admin)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("sluice_review_labels_total{outcome=\"given\"} 2"), "{metrics}");
    review.end().await;
}

#[tokio::test]
async fn nobody_comes_in_without_the_token() {
    let place = tempfile::tempdir().unwrap();
    let review = Review::start(place.path(), None, None).await;
    let item = lay(place.path(), "defer").await;
    let id = &item.id;
    for path in
        ["/items".to_owned(), format!("/items/{id}"), format!("/items/{id}/image"), "/report".to_owned()]
    {
        for token in ["", "wrong", "a-token-of-reviewer", "a-token-of-reviewers2"] {
            let answer = Client::new().get(format!("{}{path}", review.url)).bearer_auth(token);
            let answer = answer.send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
                (401, &"Bearer".parse().unwrap())
            );
        }
    }
    let label =
        Client::new().post(format!("{}/items/{id}/label", review.url)).body("{}").send().await.unwrap();
    assert_eq!(label.status(), 401);
    // The page holds no secret, and nothing of elsewhere.
    let page = reqwest::get(format!("{}/", review.url)).await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains("Review") && !page.contains("http://") && !page.contains("https://"));
    // A token that changes counts from the next request on; one that is gone lets nobody in.
    std::fs::write(place.path().join("token"), "another-token-of-reviewers").unwrap();
    assert_eq!(review.get("/items").send().await.unwrap().status(), 401);
    let other = Client::new().get(format!("{}/items", review.url)).bearer_auth("another-token-of-reviewers");
    assert_eq!(other.send().await.unwrap().status(), 200);
    std::fs::write(place.path().join("token"), "").unwrap();
    assert_eq!(review.get("/items").bearer_auth("").send().await.unwrap().status(), 503);
    review.end().await;
}

#[rstest]
#[case("GET", "/items?limit=0", "", 400, "limit is 0, allowed: 1..=100")]
#[case("GET", "/items?limit=101", "", 400, "limit is 101")]
#[case("GET", "/items?after=../../x", "", 400, "32 lower-case hex digits")]
#[case("GET", "/items?order=newest", "", 400, "")]
#[case("GET", "/items/..%2F..%2Ftoken", "", 404, "32 lower-case hex digits")]
#[case("GET", "/items/%2e%2e%2ftoken/image", "", 404, "32 lower-case hex digits")]
#[case("GET", "/items/ABCDEF0123456789abcdef0123456789/image", "", 404, "32 lower-case hex digits")]
#[case("GET", "/items/00000000000000000000000000000000", "", 404, "there is no such item")]
#[case("GET", "/items/00000000000000000000000000000000/image", "", 404, "there is no such item")]
#[case(
    "POST",
    "/items/00000000000000000000000000000000/label",
    r#"{"label": "one"}"#,
    404,
    "there is no such item"
)]
#[case("POST", "/items/ID/label", r#"{"label": "nine"}"#, 400, "allowed: one of the item's classes")]
#[case("POST", "/items/ID/label", r#"{"label": "one", "as": "x"}"#, 400, "unknown field `as`")]
#[case("POST", "/items/ID/label", r#"{"by": "x"}"#, 400, "missing field `label`")]
#[case("POST", "/items/ID/label", "label=one", 400, "the body must be")]
#[case(
    "POST",
    "/items/ID/label",
    r#"{"label": "one", "by": "a\u0000b"}"#,
    400,
    "by is too long or holds control"
)]
#[case("POST", "/items/ID/label", LONG, 413, "allowed: 16384 bytes")]
#[case("POST", "/items/ID/explain", "", 404, "no --explain")]
#[case("POST", "/items", "", 405, "does not take this method")]
#[case("GET", "/token", "", 404, "there is no such path")]
#[tokio::test]
async fn what_is_wrong_is_named(
    #[case] method: &str,
    #[case] path: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] message: &str,
) {
    let place = tempfile::tempdir().unwrap();
    let review = Review::start(place.path(), None, None).await;
    let item = lay(place.path(), "defer").await;
    let url = format!("{}{}", review.url, path.replace("ID", item.id.as_str()));
    let body =
        if body == LONG { format!("{{\"label\": \"{}\"}}", "x".repeat(20_000)) } else { body.to_owned() };
    let request = Client::new().request(method.parse().unwrap(), url).bearer_auth(TOKEN).body(body);
    let answer = request.send().await.unwrap();
    let (found, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert!(found == status && text.contains(message), "{found} {text}");
    // Nothing was labelled.
    assert_eq!(review.json("/items").await["items"].as_array().unwrap().len(), 1);
    review.end().await;
}

/// Stands for a body that is too long.
const LONG: &str = "LONG";

#[tokio::test]
async fn what_is_no_image_is_not_given() {
    let place = tempfile::tempdir().unwrap();
    let review = Review::start(place.path(), None, None).await;
    let item = lay(place.path(), "defer").await;
    let svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>";
    cabinet(place.path()).put(&format!("images/{}", item.id), svg.into()).await.unwrap();
    let answer = review.get(&format!("/items/{}/image", item.id)).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (422, &"application/json".parse().unwrap())
    );
    review.end().await;
}

#[tokio::test]
async fn two_processes_over_one_folder_agree() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) =
        (Review::start(place.path(), None, None).await, Review::start(place.path(), None, None).await);
    for _ in 0..10 {
        let item = lay(place.path(), "assist").await;
        let (a, b) = tokio::join!(
            one.label(item.id.as_str(), "one", "Ada"),
            two.label(item.id.as_str(), "seven", "Bob")
        );
        let mut statuses = [a.status().as_u16(), b.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
    assert_eq!(one.json("/report").await["labels"], 10);
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn a_model_server_explains() {
    let place = tempfile::tempdir().unwrap();
    let server = common::start(common::LIMITS, 8, Duration::from_secs(1)).await;
    let review = Review::start(place.path(), None, Some(&server.url(""))).await;
    let (open, blind) = (lay(place.path(), "assist").await, lay(place.path(), "human").await);
    assert_eq!(review.json("/items").await["explains"], true);
    let ask = |id: &ItemId, query: &str| {
        Client::new().post(format!("{}/items/{id}/explain{query}", review.url)).bearer_auth(TOKEN).send()
    };
    let told: Value = ask(&open.id, "").await.unwrap().json().await.unwrap();
    assert!(told["picture"].as_str().unwrap().starts_with("data:image/png;base64,"));
    let told: Value = ask(&open.id, "?class=bright%2C%20or%20white").await.unwrap().json().await.unwrap();
    assert_eq!(told["class"], "bright, or white");
    let wrong = ask(&open.id, "?class=blue%26x%3D").await.unwrap();
    assert_eq!(wrong.status(), 400);
    let refused = ask(&blind.id, "").await.unwrap();
    assert_eq!(refused.status(), 403, "it would show what the model says");
    server.stop.cancel();
    server.task.await.unwrap();
    assert_eq!(ask(&open.id, "").await.unwrap().status(), 502);
    review.end().await;
}
