//! The public API over loopback, around the tiny engine.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::time::Duration;

use common::{LIMITS, base64, encode, error_of, png, start};
use image::{DynamicImage, ImageFormat};
use reqwest::multipart::{Form, Part};
use rstest::rstest;
use serde_json::{Value, json};
use wire::Feature;

const DRAIN: Duration = Duration::from_secs(5);

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

fn file(bytes: Vec<u8>) -> Part {
    Part::bytes(bytes).file_name("image.png")
}

// rule: C3
#[tokio::test]
async fn one_image_is_answered_in_body_and_headers() {
    let server = start(LIMITS, 8, DRAIN).await;
    let ask = json!({"image": base64(&png(9, 7, 255)), "top_k": 2});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-model-version"), "1.0.0");
    // In the size of the input; the size is that of the image as it came.
    let stats = "brightness=1.00000 contrast=0.00000 sharpness=0.00000 saturation=0.00000 size=63";
    assert_eq!(header(&response, "x-input-stats"), stats);
    let said: Vec<_> = wire::header::decode_stats(header(&response, "x-output-stats").as_bytes()).collect();
    let [(Feature::Entropy, entropy), (Feature::Energy, energy)] = said[..] else { panic!("{said:?}") };
    // All logits of the tiny engine are negative.
    assert!((0.0..0.2).contains(&entropy) && (3.0..5.0).contains(&energy), "{said:?}");
    let class = wire::header::decode_class(header(&response, "x-prediction")).into_owned();
    assert_eq!(class, "bright, or white");
    let confidence: f64 = header(&response, "x-confidence").parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!((body["prediction"].as_str(), body["confidence"].as_f64()), (Some(&*class), Some(confidence)));
    assert_eq!((&body["version"], &body["revision"]), (&json!("1.0.0"), &json!("light-1")));
    let top = body["probabilities"].as_array().unwrap();
    assert_eq!((top.len(), &top[0]["class"], &top[1]["class"]), (2, &json!(class), &json!("grey")));
}

// rule: C3
#[tokio::test]
async fn a_batch_gives_one_value_per_image_in_order() {
    let server = start(LIMITS, 8, DRAIN).await;
    let jpeg = encode(&DynamicImage::new_rgb8(20, 20), ImageFormat::Jpeg);
    let ask = json!({"images": [base64(&png(4, 4, 255)), base64(&jpeg)]});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    assert_eq!(header(&response, "x-prediction"), "bright%2C%20or%20white,dark");
    assert_eq!(header(&response, "x-confidence").split(',').count(), 2);
    assert_eq!(header(&response, "x-input-stats").split(',').count(), 2);
    assert_eq!(header(&response, "x-output-stats").split(',').count(), 2);
    assert!(header(&response, "x-input-stats").ends_with("size=400"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["predictions"][1]["prediction"], "dark");

    let form =
        Form::new().part("file", file(png(4, 4, 0))).part("file", file(png(4, 4, 255))).text("top_k", "1");
    let response =
        reqwest::Client::new().post(server.url("/predict-file")).multipart(form).send().await.unwrap();
    assert_eq!(header(&response, "x-prediction"), "dark,bright%2C%20or%20white");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["predictions"][0]["probabilities"].as_array().unwrap().len(), 1);

    // A list of one is a list; one file is not.
    let ask = json!({"images": [base64(&png(4, 4, 255))]});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    assert!(response.json::<Value>().await.unwrap()["predictions"].is_array());
    let form = Form::new().part("file", file(png(4, 4, 0)));
    let response =
        reqwest::Client::new().post(server.url("/predict-file")).multipart(form).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["prediction"], "dark");
}

#[tokio::test]
async fn the_server_says_that_it_lives_and_what_it_serves() {
    let server = start(LIMITS, 8, DRAIN).await;
    let ping: Value = reqwest::get(server.url("/ping")).await.unwrap().json().await.unwrap();
    assert_eq!(ping["status"], "healthy");
    let info: Value = reqwest::get(server.url("/model-info")).await.unwrap().json().await.unwrap();
    assert_eq!((&info["version"], &info["revision"]), (&json!("1.0.0"), &json!("light-1")));
    assert_eq!(info["preprocessing"]["width"], 4);
    assert_eq!(info["digest"], "d".repeat(64));
}

/// A PNG whose header asks for `width` x `height`, cut after it.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    encode(&DynamicImage::new_luma8(width, height), ImageFormat::Png)[..60].to_vec()
}

#[rstest]
#[case::no_json("{", 400, "not the JSON that was expected: EOF")]
#[case::not_an_object("[]", 400, "not the JSON that was expected")]
#[case::empty("", 400, "the body is empty")]
#[case::missing("{}", 400, "image is missing")]
#[case::null(r#"{"image": null}"#, 400, "image is missing")]
#[case::misspelt(r#"{"imge": "x"}"#, 400, "unknown field `imge`")]
#[case::number(r#"{"image": 7}"#, 400, "invalid type: integer `7`, expected a string")]
#[case::both(r#"{"image": "", "images": []}"#, 400, "allowed: one of them")]
#[case::no_images(r#"{"images": []}"#, 400, "the request has 0 images, allowed: 1..=4")]
#[case::many(r#"{"images": ["","","","",""]}"#, 400, "the request has 5 images, allowed: 1..=4")]
#[case::bad_base64(r#"{"image": "a b"}"#, 400, "the image is not base64: ' ' at 1, allowed: base64 in lines")]
#[case::data_url(r#"{"image": "data:image/png,AA"}"#, 400, "the image is a data: URL that is not base64")]
#[case::no_image(
    r#"{"image": "aGVsbG8="}"#,
    422,
    "not an image of an accepted format; accepted: PNG, JPEG, WebP"
)]
#[case::no_bytes(r#"{"image": ""}"#, 422, "the image is empty (0 bytes)")]
#[case::bad_utf8("\"\u{0}\"", 400, "not the JSON that was expected")]
#[tokio::test]
async fn a_wrong_body_is_a_4xx_that_says_what_is_wrong(
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] message: &str,
) {
    let server = start(LIMITS, 8, DRAIN).await;
    let request = reqwest::Client::new().post(server.url("/predict"));
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(header(&response, "x-model-version"), "1.0.0");
    let (found, error) = error_of(response).await;
    assert!(found == status && error.contains(message), "{found} {error}");
}

#[rstest]
#[case::top_k(png(4, 4, 0), json!(4), 400, "top_k is 4, allowed: 1..=3")]
#[case::no_classes(png(4, 4, 0), json!(0), 400, "top_k is 0, allowed: 1..=3")]
#[case::bomb(bomb(4000, 4000), json!(1), 413, "the image has 4000x4000 pixels, allowed: 40000 in all")]
#[case::long(bomb(30_000, 1), json!(1), 413, "the image has 30000x1 pixels")]
#[case::truncated(png(50, 50, 9)[..70].to_vec(), json!(1), 422, "the PNG image is broken")]
#[case::half_jpeg(encode(&DynamicImage::new_rgb8(64, 64), ImageFormat::Jpeg)[..200].to_vec(), json!(1), 422,
    "the JPEG image is broken")]
#[case::gif(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".to_vec(), json!(1), 422, "accepted: PNG, JPEG, WebP")]
#[case::svg(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), json!(1), 422, "accepted: PNG, JPEG, WebP")]
#[tokio::test]
async fn a_wrong_image_is_a_4xx_that_says_what_is_wrong(
    #[case] image: Vec<u8>,
    #[case] top_k: Value,
    #[case] status: u16,
    #[case] message: &str,
) {
    let server = start(LIMITS, 8, DRAIN).await;
    let ask = json!({"image": base64(&image), "top_k": top_k});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    let (found, error) = error_of(response).await;
    assert!(found == status && error.contains(message), "{found} {error}");
    if message.starts_with("top_k") {
        return;
    }
    // The same in a form, and in a list that says which image it is.
    let form = Form::new().part("file", file(image.clone()));
    let response =
        reqwest::Client::new().post(server.url("/predict-file")).multipart(form).send().await.unwrap();
    assert_eq!(error_of(response).await, (found, error.clone()));
    let ask = json!({"images": [base64(&png(4, 4, 0)), base64(&image)]});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    assert_eq!(error_of(response).await, (found, format!("images[1]: {error}")));
}

#[rstest]
#[case::get("GET", "/predict", 405, "/predict does not take GET, allowed: POST")]
#[case::post("POST", "/ping", 405, "/ping does not take POST, allowed: GET")]
#[case::unknown("GET", "/predictions", 404, "there is no /predictions; known: GET /ping")]
#[case::no_type("POST", "/predict", 415, "Content-Type is missing, allowed: application/json")]
#[case::no_form("POST", "/predict-file", 415, "Content-Type is missing, allowed: multipart/form-data")]
#[tokio::test]
async fn a_wrong_request_is_a_4xx_that_says_what_is_wrong(
    #[case] method: reqwest::Method,
    #[case] path: &str,
    #[case] status: u16,
    #[case] message: &str,
) {
    let server = start(LIMITS, 8, DRAIN).await;
    let response = reqwest::Client::new().request(method, server.url(path)).send().await.unwrap();
    let (found, error) = error_of(response).await;
    assert!(found == status && error.starts_with(message), "{found} {error}");
}

#[rstest]
#[case::text("text/plain", "x", 415, "Content-Type is \"text/plain\", allowed: multipart/form-data")]
#[case::no_boundary("multipart/form-data", "x", 400, "the form is broken: Invalid `boundary`")]
#[case::cut(
    "multipart/form-data; boundary=b",
    "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nx",
    400,
    "the form is broken"
)]
#[case::no_file("multipart/form-data; boundary=b", "--b--\r\n", 400, "field file is missing")]
#[case::other(
    "multipart/form-data; boundary=b",
    "--b\r\ncontent-disposition: form-data; name=\"image\"\r\n\r\nx\r\n--b--\r\n",
    400,
    "field \"image\" is unknown"
)]
#[case::top_k(
    "multipart/form-data; boundary=b",
    "--b\r\ncontent-disposition: form-data; name=\"top_k\"\r\n\r\nall\r\n--b--\r\n",
    400,
    "top_k is \"all\""
)]
#[tokio::test]
async fn a_wrong_form_is_a_4xx_that_says_what_is_wrong(
    #[case] content_type: &str,
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] message: &str,
) {
    let server = start(LIMITS, 8, DRAIN).await;
    let request = reqwest::Client::new().post(server.url("/predict-file"));
    let response = request.header("content-type", content_type).body(body).send().await.unwrap();
    let (found, error) = error_of(response).await;
    assert!(found == status && error.contains(message), "{found} {error}");
}

#[tokio::test]
async fn images_of_a_request_are_limited_together() {
    let server = start(LIMITS, 8, DRAIN).await;
    let large = base64(&png(150, 150, 3));
    let ask = json!({"images": [large.clone(), large]});
    let response = reqwest::Client::new().post(server.url("/predict")).json(&ask).send().await.unwrap();
    let expected = (413, "the images have 45000 pixels together, allowed: 40000".to_owned());
    assert_eq!(error_of(response).await, expected);
}

/// What it says of each path is compared with the server by `hack/clients`.
#[tokio::test]
async fn the_document_is_of_this_version() {
    let server = start(LIMITS, 8, Duration::from_secs(1)).await;
    let document: Value = reqwest::get(server.url("/openapi.json")).await.unwrap().json().await.unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["paths"].as_object().unwrap().len() > 20);
}
