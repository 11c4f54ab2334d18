//! A model that no volume has: a container of the pod fetches it from an object store and a web server before its server
//! starts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::node::story::{NAMESPACE, Story, address, serves};
use e2e::node::{Manifest, Node, Watcher};
use e2e::repository;
use tokio::process::{Child, Command};

use super::curl::{Answer, Curl};
use super::private::images;
use super::say;

/// Its name, and that of the Secret with its credentials.
pub(crate) const NAME: &str = "fetched";
/// Port of the store, at the node's own address.
const PORT: u16 = 5_079;
const BUCKET: &str = "team-models";

/// An emulator of S3 in the node's own network.
struct Store {
    url: String,
    folder: tempfile::TempDir,
    _process: Child,
}

/// 1.0.0 comes out of a bucket, once its digest is the right one; 1.1.0 as an archive from a web server.
pub(crate) async fn models_come_from_elsewhere(story: &Story) -> Result<()> {
    say("a deployment whose model is in a bucket");
    let failed = story.load.summary().failed();
    let store = Store::start(&story.node, &story.models.folder).await?;
    let watcher = Watcher::start(story.client.clone(), NAMESPACE, NAME, |change| say(&change.line()));
    let (first, better) = (story.models.first(), story.models.better());
    story.node.apply(&store.secret())?;
    let start = Instant::now();
    let bucket = Manifest {
        name: NAME.into(),
        uri: format!("s3://{BUCKET}/{}", first.version),
        replicas: 1,
        router: "{replicas: 1}".into(),
        steps: "[]".into(),
        ..Manifest::new(first)
    };
    let wrong = Manifest { digest: better.digest.clone(), ..bucket.clone() };
    story.node.apply(&with_secret(&wrong))?;
    let told = until_told(&story.node, "cannot fetch its model: ").await?;
    // Not by whom it was asked for, and nothing of the Secret.
    ensure!(told.contains(&first.digest) && told.contains(&better.digest), "{told}");
    println!("fetched: {told}");

    story.node.apply(&with_secret(&bucket))?;
    watcher.until(start, Duration::from_secs(120), "1.0.0 to serve", |s| serves(s, first)).await?;
    answered(story, &first.version).await?;
    only_one_container_has_the_credentials(&story.node)?;

    let start = Instant::now();
    let uri = format!("{}/{BUCKET}/{}.tar.gz", store.url, better.version);
    let archive = Manifest { digest: better.digest.clone(), uri, version: better.version.clone(), ..bucket };
    story.node.apply(&archive.yaml())?;
    watcher.until(start, Duration::from_secs(120), "1.1.0 to serve", |s| serves(s, better)).await?;
    answered(story, &better.version).await?;

    story.node.kubectl(&["delete", "modeldeployment", NAME, "--wait=false"])?;
    story.node.kubectl(&["delete", "secret", NAME])?;
    ensure!(story.load.summary().failed() == failed, "requests were lost: {}", story.load.summary());
    Ok(())
}

impl Store {
    /// With both versions: 1.0.0 as a folder, 1.1.0 as an archive.
    async fn start(node: &Node, models: &Path) -> Result<Self> {
        let stores = output(Command::new(repository().join("hack/stores")).arg("path")).await?;
        let program = PathBuf::from(stores.trim()).join("moto/bin/moto_server");
        ensure!(program.exists(), "{} is missing: hack/stores", program.display());
        let path = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
        let ip = node.kubectl(&["get", "nodes", "-o", path])?;
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let cluster = std::env::var("SLUICE_CLUSTER").unwrap_or_else(|_| "sluice".into());
        let process = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{cluster}"))
            .arg(program)
            .args(["-H", &ip, "-p", &PORT.to_string()])
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let store = Self { url: format!("http://{ip}:{PORT}"), folder, _process: process };
        store.put("", None).await?;
        for file in ["model.pt", "metadata.json", "reference.json"] {
            store.put(&format!("/1.0.0/{file}"), Some(&models.join("digits/1.0.0").join(file))).await?;
        }
        let archive = store.folder.path().join("1.1.0.tar.gz");
        let of = models.join("digits/1.1.0");
        output(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(of).arg(".")).await?;
        store.put("/1.1.0.tar.gz", Some(&archive)).await?;
        Ok(store)
    }

    /// Makes an object of a file, or the bucket. The store may have just been started.
    async fn put(&self, path: &str, file: Option<&Path>) -> Result<()> {
        let mut command = Command::new("curl");
        command.args([
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
            "--max-time",
            "20",
        ]);
        command.args(["--retry", "30", "--retry-delay", "1", "--retry-connrefused", "-X", "PUT"]);
        if let Some(file) = file {
            command.arg("--upload-file").arg(file);
        }
        output(command.arg(format!("{}/{BUCKET}{path}", self.url))).await.map(drop)
    }

    fn secret(&self) -> String {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {NAME}, namespace: {NAMESPACE}}}, stringData: \
             {{AWS_ACCESS_KEY_ID: an-id, AWS_SECRET_ACCESS_KEY: not-to-be-seen, AWS_REGION: us-east-1, \
             AWS_ENDPOINT_URL: '{}'}}}}",
            self.url
        )
    }
}

fn with_secret(manifest: &Manifest) -> String {
    manifest.yaml().replace("sha256:", &format!("secretName: {NAME}, sha256:"))
}

/// What a condition says that has these words.
async fn until_told(node: &Node, words: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let path = "jsonpath={range .status.conditions[*]}{.message}{\"\\n\"}{end}";
    loop {
        let told = node.kubectl(&["get", "modeldeployment", NAME, "-o", path])?;
        if let Some(line) = told.lines().find(|line| line.contains(words)) {
            return Ok(line.to_owned());
        }
        ensure!(Instant::now() < deadline, "no condition says {words:?}: {told}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Ten images by the Service are answered by this version, none is sent twice.
async fn answered(story: &Story, version: &str) -> Result<()> {
    let url = format!("{}/predict-file", address(&story.node, NAME)?);
    let images = images(&story.models.images)?;
    let answers = Curl::new().post(&url, images.iter().take(10)).await?;
    let good = |a: &&Answer| a.status == 200 && a.version == version;
    ensure!(answers.iter().filter(good).count() == 10, "{answers:?}");
    Ok(())
}

/// The pods that serve have them in the container that fetches, and nowhere else.
fn only_one_container_has_the_credentials(node: &Node) -> Result<()> {
    let selector = format!("sluice.dev/deployment={NAME},sluice.dev/role=server");
    let of = |containers: &str| {
        let path = format!("jsonpath={{.items[*].spec.{containers}[*].envFrom[*].secretRef.name}}");
        node.kubectl(&["get", "pods", "-l", &selector, "-o", &path])
    };
    let (fetching, serving) = (of("initContainers")?, of("containers")?);
    ensure!(fetching.contains(NAME) && serving.is_empty(), "fetching: {fetching:?}, serving: {serving:?}");
    Ok(())
}

async fn output(command: &mut Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
