use std::os::unix::fs::symlink;
use std::time::Instant;

use rstest::rstest;

use super::*;

fn hasty() -> Patience {
    let (connect, stall) = (Duration::from_millis(200), Duration::from_millis(200));
    Patience { connect, stall, retries: 1, pause: Duration::from_millis(5) }
}

fn folder() -> (tempfile::TempDir, Arc<dyn Cabinet>) {
    let place = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/made/for/it", place.path().display()).parse().unwrap();
    let cabinet = open_cabinet(&uri, &[], hasty()).unwrap();
    (place, cabinet)
}

#[tokio::test]
async fn a_folder_of_this_machine_keeps_files() {
    let (place, cabinet) = folder();
    cabinet.put("waiting/b.json", "1".into()).await.unwrap();
    cabinet.put("waiting/b.json", "22".into()).await.unwrap();
    cabinet.put_new("waiting/a.json", "3".into()).await.unwrap();
    let again = cabinet.put_new("waiting/a.json", "4".into()).await.unwrap_err();
    assert!(matches!(again, CabinetError::Exists(_)), "{again}");
    assert_eq!(cabinet.get("waiting/a.json", 1).await.unwrap(), "3");
    let large = cabinet.get("waiting/b.json", 1).await.unwrap_err().to_string();
    assert!(large.contains("waiting/b.json has 2 bytes, allowed: 1"), "{large}");
    assert!(matches!(cabinet.get("waiting/c.json", 9).await.unwrap_err(), CabinetError::Missing(_)));
    assert!(cabinet.has("waiting/b.json").await.unwrap() && !cabinet.has("waiting/c.json").await.unwrap());
    cabinet.delete("waiting/b.json").await.unwrap();
    cabinet.delete("waiting/b.json").await.unwrap();
    assert_eq!(cabinet.list("waiting", "", 9).await.unwrap(), ["a.json"]);
    assert!(place.path().join("made/for/it/waiting/a.json").is_file());
}

#[tokio::test]
async fn names_come_in_order_and_in_parts() {
    let (_place, cabinet) = folder();
    assert!(cabinet.list("waiting", "", 3).await.unwrap().is_empty(), "there is no such folder yet");
    for name in ["d", "b", "e", "a", "c", "day/x"] {
        cabinet.put(&format!("waiting/{name}"), "".into()).await.unwrap();
    }
    cabinet.put("waiting-not/f", "".into()).await.unwrap();
    assert_eq!(cabinet.list("waiting", "", 3).await.unwrap(), ["a", "b", "c"]);
    assert_eq!(cabinet.list("waiting", "c", 9).await.unwrap(), ["d", "day/x", "e"]);
    assert!(cabinet.list("waiting", "e", 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn no_name_leads_out_of_the_folder() {
    let (_place, cabinet) = folder();
    for name in ["../x", "/etc/passwd", "a/../../x", "", "a//b", ".hidden", "a\\b", "a\0"] {
        let error = cabinet.put(name, "x".into()).await.unwrap_err();
        assert!(matches!(error, CabinetError::Refused { .. }), "{name:?}: {error}");
        assert!(matches!(cabinet.get(name, 9).await.unwrap_err(), CabinetError::Refused { .. }), "{name:?}");
        assert!(matches!(cabinet.delete(name).await.unwrap_err(), CabinetError::Refused { .. }), "{name:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_says_so() {
    let place = tempfile::tempdir().unwrap();
    let loops = place.path().join("loop");
    symlink(&loops, &loops).unwrap();
    let uri = format!("file://{}", loops.display()).parse().unwrap();
    let error = open_cabinet(&uri, &[], hasty()).unwrap_err();
    assert!(matches!(&error, CabinetError::Settings { .. }) && error.to_string().contains("loop"), "{error}");
    let error = open_cabinet(&"https://a.example/b/".parse().unwrap(), &[], hasty()).unwrap_err();
    assert_eq!(error.to_string(), "https://a.example/b/: allowed: file, s3, gs, az");
}

#[rstest]
#[case("https://minio.storage", "", true)]
#[case("http://minio.storage:9000", "", false)]
#[case("http://minio.storage:9000", "false", false)]
#[case("http://minio.storage:9000", "true", true)]
#[case("http://127.0.0.1:9000", "", true)]
#[case("http://localhost/path", "", true)]
#[case("http://[::1]:9000", "", true)]
#[case("http://127.0.0.1.example:9000", "", false)]
#[case("http://localhost@example", "", false)]
fn images_of_people_go_unencrypted_only_on_purpose(
    #[case] endpoint: &str,
    #[case] allowed: &str,
    #[case] is_taken: bool,
) {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let variables = [
        pair("AWS_ENDPOINT_URL", endpoint),
        pair("AWS_ALLOW_HTTP", allowed),
        pair("AWS_REGION", "eu-west-1"),
        // Of another provider.
        pair("AZURE_ALLOW_HTTP", "true"),
    ];
    let opened = open_cabinet(&"s3://team/review".parse().unwrap(), &variables, hasty());
    assert_eq!(opened.is_ok(), is_taken, "{opened:?}");
    if let Err(error) = opened {
        assert!(error.to_string().contains("set AWS_ALLOW_HTTP=true"), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let variables = [
        pair("AWS_ENDPOINT_URL", &endpoint),
        pair("AWS_ACCESS_KEY_ID", "someone"),
        pair("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
    ];
    let cabinet = open_cabinet(&"s3://team/review".parse().unwrap(), &variables, hasty()).unwrap();
    let begun = Instant::now();
    let error = cabinet.put("waiting/a", "x".into()).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("after 2 tries"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
