//! Answers that the model does not decide: the server keeps their images in a bucket, a person labels one, and the router
//! counts it.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::node::story::{NAMESPACE, Story};
use e2e::repository;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::fetched::{BUCKET, NAME, SECRETS, Store, output};
use super::say;

/// What reviewers and routers ask for.
const TOKEN: &str = "a-token-of-the-story";
/// Longest time until an image that was answered can be labelled, and until a label is counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a server that keeps what is deferred, as YAML behind other fields.
pub(crate) fn server() -> String {
    format!(", review: {{uri: 's3://{BUCKET}/review', secretName: {NAME}}}")
}

/// Settings of a router that takes labels, as YAML.
pub(crate) fn router() -> String {
    format!("{{replicas: 1, feedback: {{secretName: {NAME}-labels}}}}")
}

/// What a router needs for it.
pub(crate) fn secret() -> String {
    let key = format!("{:064x}", rand::random::<u128>());
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: {NAME}-labels, namespace: {NAMESPACE}}}, \
         stringData: {{key: '{key}', token: {TOKEN}}}}}"
    )
}

/// Images wait in the bucket; one gets a label, which the router accepts by the ticket that it gave.
pub(crate) async fn a_label_reaches_the_router(story: &Story, store: &Store) -> Result<()> {
    say("a person labels an image that the model deferred");
    let ip = story.node.kubectl(&["get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}"])?;
    let feedback = format!("http://{ip}:{}", wire::endpoint::FEEDBACK_PORT);
    let review = Review::start(store, &feedback)?;
    let waiting = review.until("images to wait", "items", |items| {
        items["items"].as_array().is_some_and(|items| !items.is_empty())
    });
    let waiting = waiting.await?;
    let item = &waiting["items"][0];
    ensure!(item["decision"] == "defer" && item["ticket"].is_null(), "reviewers need no ticket: {item}");
    let (id, said) = (item["id"].as_str().context("an id")?, item["prediction"].as_str().context("a class")?);
    let labelled =
        review.ask(&format!("items/{id}/label"), &["-d", &format!("{{\"label\": {said:?}}}")]).await?;
    ensure!(labelled["label"] == *said, "{labelled}");
    let told = review.until("the router to count it", "report", |report| report["feedback"]["untold"] == 0);
    let report = told.await?;
    let feedback = &report["feedback"];
    ensure!((&feedback["accepted"], &feedback["refused"]) == (&1.into(), &0.into()), "{report}");
    println!("reviewed: {} images waited, one label was accepted by the router", count(&waiting));
    Ok(())
}

fn count(waiting: &Value) -> usize {
    waiting["items"].as_array().map_or(0, Vec::len)
}

/// A review process on this machine, as a person would start it.
struct Review {
    address: String,
    folder: TempDir,
    _process: Child,
}

impl Review {
    fn start(store: &Store, feedback: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN)?;
        let log = File::create(folder.path().join("log"))?;
        let [listen, admin] = [free()?, free()?];
        let target =
            std::env::var("CARGO_TARGET_DIR").map_or_else(|_| repository().join("target"), PathBuf::from);
        let process = Command::new(target.join("release/model-server"))
            .args(["review", "--review", &format!("s3://{BUCKET}/review"), "--feedback", feedback])
            .arg("--token-file")
            .arg(&token)
            .arg("--feedback-token-file")
            .arg(&token)
            .args(["--listen", &listen, "--admin", &admin])
            .envs(SECRETS)
            .env("AWS_ENDPOINT_URL", &store.url)
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { address: format!("http://{listen}"), folder, _process: process })
    }

    async fn ask(&self, path: &str, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new("curl");
        command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20"]);
        command.args(["-H", &format!("authorization: Bearer {TOKEN}")]).args(arguments);
        let text = output(command.arg(format!("{}/{path}", self.address))).await?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    async fn until(&self, what: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            // It may have just been started.
            let found = self.ask(path, &[]).await;
            match found {
                Ok(found) if fits(&found) => return Ok(found),
                found => ensure!(
                    start.elapsed() < PATIENCE,
                    "waited for {what}: {found:?}; {}",
                    std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
                ),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// A free address of this machine.
fn free() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
