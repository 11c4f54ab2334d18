//! What people see of a model: who decides, where it looks, and the page to try it.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::time::Duration;

use common::{LIMITS, Server, base64, encode, error_of, png, start};
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::{Client, Response};
use rstest::rstest;
use serde_json::{Value, json};

async fn server() -> Server {
    start(LIMITS, 8, Duration::from_secs(1)).await
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: Value) -> Response {
    let request = Client::new().post(server.url(path)).json(&body);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

#[rstest]
#[case("full", None)]
#[case("partial 0.5", Some("auto"))]
#[case("partial 1", Some("defer"))]
#[case("assist", Some("assist"))]
#[case("shadow", Some("human"))]
// What a newer router says: a person decides.
#[case("partial 0.5 on-tuesdays", Some("assist"))]
#[tokio::test]
async fn an_answer_says_who_decides(#[case] policy: &str, #[case] decision: Option<&str>) {
    let server = server().await;
    let headers = [("x-sluice-automation", policy)];
    let image = base64(&png(4, 4, 255));
    let one: Value = post(&server, "/predict", &headers, json!({"image": image})).await.json().await.unwrap();
    assert_eq!(one.get("decision").and_then(Value::as_str), decision);
    assert_eq!(one["prediction"], "bright, or white", "the answer is there in any case");
    let many = post(&server, "/predict", &headers, json!({"images": [image, image]})).await;
    let many: Value = many.json().await.unwrap();
    assert_eq!(many["predictions"][1].get("decision").and_then(Value::as_str), decision);
    let none = post(&server, "/predict", &[], json!({"image": image})).await.json::<Value>().await.unwrap();
    assert!(none.get("decision").is_none(), "without a policy nothing is said of it");
}

#[tokio::test]
async fn an_explanation_shows_what_the_class_hangs_on() {
    let server = server().await;
    // Bright at the left: without that it is not bright.
    let image = RgbImage::from_fn(4, 4, |x, _| Rgb([if x < 2 { 255 } else { 51 }; 3]));
    let image = base64(&encode(&image.into(), ImageFormat::Png));
    let answer = post(&server, "/explain", &[], json!({"image": image})).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-sluice-evidence"], "none");
    for header in ["x-prediction", "x-confidence", "x-input-stats", "x-output-stats"] {
        assert!(!answer.headers().contains_key(header), "{header}: an explanation is no evidence");
    }
    let told: Value = answer.json().await.unwrap();
    assert_eq!(
        (&told["prediction"], &told["class"]),
        (&json!("bright, or white"), &json!("bright, or white"))
    );
    assert_eq!(told["grid"], json!({"columns": 4, "rows": 4}));
    let drops: Vec<f64> = serde_json::from_value(told["drops"].clone()).unwrap();
    assert_eq!(drops.len(), 16);
    let side = |columns: [usize; 2]| {
        drops.iter().enumerate().filter(|(i, _)| columns.contains(&(i % 4))).map(|(_, d)| d).sum::<f64>()
    };
    assert!(side([0, 1]) > 0.1 && side([0, 1]) > side([2, 3]), "{drops:?}");
    assert!(told["picture"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));

    let other = post(&server, "/v2/models/light/explain?class=dark", &[], json!({"image": image})).await;
    assert_eq!(other.json::<Value>().await.unwrap()["class"], "dark");
    let drawn = post(&server, "/explain", &[("accept", "image/png")], json!({"image": image})).await;
    assert_eq!(drawn.headers()["content-type"], "image/png");
    let drawn = image::load_from_memory(&drawn.bytes().await.unwrap()).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (256, 256));
}

#[rstest]
#[case("/explain", json!({"images": []}), 400, "one image is explained at a time: {\"image\": base64}")]
#[case("/explain", json!({"image": "AAAA"}), 422, "not an image of an accepted format")]
#[case("/explain?class=blue", json!({"image": base64(&png(4, 4, 9))}), 400, "class is \"blue\"")]
#[case("/v2/models/other/explain", json!({"image": ""}), 404, "there is no model \"other\"")]
#[tokio::test]
async fn what_cannot_be_explained_is_named(
    #[case] path: &str,
    #[case] body: Value,
    #[case] status: u16,
    #[case] message: &str,
) {
    let (found, told) = error_of(post(&server().await, path, &[], body).await).await;
    assert!(found == status && told.contains(message), "{found} {told}");
}

#[tokio::test]
async fn a_page_to_try_the_model_needs_nothing_from_elsewhere() {
    let page = reqwest::get(server().await.url("/")).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains("Try the model") && !page.contains("http://") && !page.contains("https://"));
}
