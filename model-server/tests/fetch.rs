//! `model-server fetch` as a process: what it prints, its exit codes, and that it may be killed at any time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../../sources/tests/common/site.rs"]
#[allow(dead_code, reason = "it is that of the tests of sources, which use more of it")]
mod site;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use site::{Page, Site};

const MODEL: usize = 2_000_000;

fn fetch(uri: &str, to: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-server"));
    command.args(["fetch", "--uri", uri, "--to"]).arg(to).args(more).env_clear();
    // libtorch is found by it where it is not beside the program.
    command.envs(std::env::vars().filter(|(name, _)| name == "LD_LIBRARY_PATH" || name == "PATH"));
    command
}

async fn done(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// An artefact that cannot be served, which is the server's business, and its digest.
async fn site() -> (Site, String) {
    let files =
        [("metadata.json", vec![b'{'; 10]), ("reference.json", vec![b'}'; 10]), ("model.pt", vec![7; MODEL])];
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let digest = sources::digest::of_directory(folder.path()).unwrap();
    let pages = files.map(|(name, bytes)| (format!("/m/{name}"), Page::new(&bytes)));
    (Site::new(pages).await, digest)
}

#[tokio::test]
async fn a_fetch_prints_what_it_did() {
    let (site, digest) = site().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("m");
    let output = done(fetch(&site.uri("/m/"), &to, &["--sha256", &digest, "--json"])).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "sha256": digest, "downloaded": MODEL + 20, "resumed": 0, "present": false,
    });
    assert_eq!(json, expected);
    let output = done(fetch(&site.uri("/m/"), &to, &["--sha256", &digest])).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("/m, which was there"));
}

#[tokio::test]
async fn exit_codes_say_whether_it_is_worth_another_try() {
    let (site, digest) = site().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("m");
    let gone = "http://127.0.0.1:1/m/";
    let sha256 = ["--sha256", &digest];
    for (uri, more, code, said) in [
        (gone, vec!["--retries", "0"], 1, "could not be had, after 1 tries"),
        (&site.uri("/n/"), vec![], 3, "/n/metadata.json is not there"),
        (&site.uri("/m/"), vec!["--max-bytes", "1000"], 3, "bytes or more, allowed: 1000"),
        (&site.uri("/m"), vec![], 2, "the path must end in .tar"),
    ] {
        let output = done(fetch(uri, &to, &[&sha256[..], &more].concat())).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{uri}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{uri}: {stderr}");
        assert!(!to.exists(), "{uri}");
    }
    let output = done(fetch(&site.uri("/m/"), &to, &[])).await;
    assert_eq!(output.status.code(), Some(3));
    let output = done(fetch(&site.uri("/m/"), &to, &["--sha256", &"0".repeat(64)])).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&digest));
    assert!(!to.exists());
}

#[tokio::test]
async fn one_that_is_killed_leaves_nothing_half_and_the_next_completes() {
    let (site, digest) = site().await;
    // 1 MB a second.
    site.change("/m/model.pt", |page| page.pace = 1000);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("m");
    let part = folder.path().join(".m.fetch/tree/model.pt");
    let length = || std::fs::metadata(&part).map_or(0, |found| found.len());
    let mut came = 0;
    for _ in 0..3 {
        let mut command = fetch(&site.uri("/m/"), &to, &["--sha256", &digest]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while length() < came + 200_000 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        came = length();
        assert!(!to.exists());
    }
    site.change("/m/model.pt", |page| page.pace = 0);
    let output = done(fetch(&site.uri("/m/"), &to, &["--sha256", &digest, "--json"])).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["resumed"].as_u64().unwrap() >= came, "{json}");
    assert_eq!(json["downloaded"].as_u64().unwrap() + json["resumed"].as_u64().unwrap(), MODEL as u64 + 20);
    assert_eq!(sources::digest::of_directory(&to).unwrap(), digest);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["m"]);
    // Each goes on where the one before was killed.
    let asked = site.asked("/m/model.pt");
    let last = asked.last().unwrap();
    assert_eq!(last.range, Some(format!("bytes={came}-")));
    assert_eq!(last.sent as u64, MODEL as u64 - came);
}

#[tokio::test]
async fn sigterm_ends_it() {
    let (site, digest) = site().await;
    site.change("/m/model.pt", |page| page.pace = 100);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("m");
    let mut command = fetch(&site.uri("/m/"), &to, &["--sha256", &digest]);
    let process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while site.asked.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kill = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(kill.success());
    let output = tokio::task::spawn_blocking(move || process.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("stopped by a signal"), "{said}");
    assert!(!to.exists());
}
