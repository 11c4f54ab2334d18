//! Images that servers keep.

use rstest::rstest;
use serde_json::{Value, json};

use crate::check;

const URI: &str = "uri: must be {s3,gs,az}://<bucket>/<path>, pvc://<claim>/<path> or file:///<path>";

#[rstest]
#[case(json!({"review": {"uri": "s3://team/review"}}), None)]
#[case(json!({"review": {"uri": "az://team/review/digits/", "secretName": "team-review"}}), None)]
#[case(json!({"review": {"uri": "pvc://reviews/digits"}}), None)]
#[case(json!({"review": {"uri": "file:///data/review"}}), None)]
#[case(json!({"review": {}}), Some("spec.server.review.uri"))]
#[case(json!({"review": {"uri": "s3://team"}}), Some(URI))]
#[case(json!({"review": {"uri": "s3://ab/review"}}), Some(URI))]
#[case(json!({"review": {"uri": "pvc://reviews/"}}), Some(URI))]
#[case(json!({"review": {"uri": "file:///"}}), Some(URI))]
#[case(json!({"review": {"uri": "file:///data/../etc"}}), Some(URI))]
#[case(json!({"review": {"uri": "s3://team/.hidden"}}), Some(URI))]
#[case(json!({"review": {"uri": "s3://team/a?versionId=1"}}), Some(URI))]
#[case(json!({"review": {"uri": "https://host/review/"}}), Some(URI))]
#[case(json!({"review": {"uri": format!("s3://team/{}", "a".repeat(512))}}), Some("spec.server.review.uri"))]
#[case(json!({"review": {"uri": "s3://team/review", "secretName": "S"}}), Some("spec.server.review.secretName"))]
#[case(
    json!({"review": {"uri": "pvc://reviews/digits", "secretName": "s"}}),
    Some("server.review: only s3, gs and az take a secretName")
)]
#[case(json!({"capture": {"uri": "gs://team/captures", "percent": 1}}), None)]
#[case(json!({"capture": {"uri": "gs://team/captures", "percent": 100, "secretName": "s"}}), None)]
#[case(json!({"capture": {"uri": "gs://team/captures"}}), Some("spec.server.capture.percent"))]
#[case(json!({"capture": {"uri": "gs://team/captures", "percent": 0}}), Some("spec.server.capture.percent"))]
#[case(json!({"capture": {"uri": "gs://team/captures", "percent": 101}}), Some("spec.server.capture.percent"))]
#[case(json!({"capture": {"uri": "ftp://team/captures", "percent": 5}}), Some(URI))]
#[case(
    json!({"capture": {"uri": "file:///c", "percent": 5, "secretName": "s"}}),
    Some("server.capture: only s3, gs and az take a secretName")
)]
#[case(
    json!({
        "review": {"uri": "s3://team/r", "secretName": "a"},
        "capture": {"uri": "s3://team/c", "percent": 5, "secretName": "a"},
    }),
    None
)]
#[case(
    json!({
        "review": {"uri": "s3://team/r", "secretName": "a"},
        "capture": {"uri": "s3://team/c", "percent": 5, "secretName": "b"},
    }),
    Some("server: review and capture have one secretName")
)]
fn images_are_kept_where_they_can_be(#[case] server: Value, #[case] message: Option<&str>) {
    check("/spec/server", server, message);
}
