//! A model that no volume has: a container of the pod fetches it from an object store and a web server before its server
//! starts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::ModelDeploymentStatus;
use e2e::node::story::{NAMESPACE, Story, address, serves};
use e2e::node::{Manifest, Node, Watcher};
use e2e::repository;
use tokio::process::{Child, Command};

use super::curl::{Answer, Curl};
use super::private::images as images_of;
use super::{has_weight, reviewed, say};

/// Its name, and that of the Secret with its credentials.
pub(crate) const NAME: &str = "fetched";
/// Port of the store, at the node's own address.
const PORT: u16 = 5_079;
pub(crate) const BUCKET: &str = "team-models";

/// What the store's clients are to know, beside where it is. Images go to it by plain HTTP, within the node.
pub(crate) const SECRETS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "an-id"),
    ("AWS_SECRET_ACCESS_KEY", "not-to-be-seen"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ALLOW_HTTP", "true"),
];

/// An emulator of S3 in the node's own network.
pub(crate) struct Store {
    pub(crate) url: String,
    folder: tempfile::TempDir,
    _process: Child,
}

/// 1.0.0 comes out of a bucket, once its digest is the right one, and keeps images there for people; 1.1.0 comes as an archive from a web server.
pub(crate) async fn models_come_from_elsewhere(story: &Story) -> Result<()> {
    say("a deployment whose model is in a bucket");
    let failed = story.load.summary().failed();
    let store = Store::start(&story.node, &story.models.folder).await?;
    let watcher = Watcher::start(story.client.clone(), NAMESPACE, NAME, |change| say(&change.line()));
    let (first, better) = (story.models.first(), story.models.better());
    story.node.apply(&store.secret())?;
    story.node.apply(&reviewed::secret())?;
    let start = Instant::now();
    let bucket = Manifest {
        name: NAME.into(),
        uri: format!("s3://{BUCKET}/{}", first.version),
        replicas: 1,
        server: reviewed::server(),
        router: reviewed::router(),
        steps: "[{weight: 50, hold: 1h}]".into(),
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
    let first_answers = answers(story, 10).await?;
    ensure!(first_answers.iter().all(|answer| answer.version == first.version), "{first_answers:?}");
    reviewed::a_label_reaches_the_router(story, &store).await?;

    let start = Instant::now();
    let uri = format!("{}/{BUCKET}/{}.tar.gz", store.url, better.version);
    let archive = Manifest { digest: better.digest.clone(), uri, version: better.version.clone(), ..bucket };
    story.node.apply(&archive.yaml())?;
    let half = |s: &ModelDeploymentStatus| has_weight(s, 50);
    watcher.until(start, Duration::from_secs(120), "1.1.0 to get half of the requests", half).await?;
    let both = answers(story, 40).await?;
    let of_better = both.iter().filter(|answer| answer.version == better.version).count();
    ensure!((1..40).contains(&of_better), "{of_better} of 40 answers are of {}: {both:?}", better.version);

    story.node.kubectl(&["delete", "modeldeployment", NAME, "--wait=false"])?;
    story.node.kubectl(&["delete", "secret", NAME, &format!("{NAME}-labels")])?;
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
        for file in std::fs::read_dir(models.join("digits/1.0.0"))? {
            let file = file?;
            let name = file.file_name().into_string().ok().context("an artefact's files have plain names")?;
            store.put(&format!("/1.0.0/{name}"), Some(&file.path())).await?;
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
        command.args(["-H", "x-amz-acl: public-read"]);
        command.args(["--retry", "30", "--retry-delay", "1", "--retry-connrefused", "-X", "PUT"]);
        if let Some(file) = file {
            command.arg("--upload-file").arg(file);
        }
        output(command.arg(format!("{}/{BUCKET}{path}", self.url))).await.map(drop)
    }

    fn secret(&self) -> String {
        let known: String = SECRETS.map(|(name, value)| format!("{name}: '{value}', ")).concat();
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {NAME}, namespace: {NAMESPACE}}}, stringData: \
             {{{known}AWS_ENDPOINT_URL: '{}'}}}}",
            self.url
        )
    }
}

fn with_secret(manifest: &Manifest) -> String {
    let fetched = manifest.yaml().replace("sha256:", &format!("secretName: {NAME}, sha256:"));
    fetched + "  automation: {level: partial, deferBelow: 1}\n"
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

/// What so many images by the Service are answered with; none is sent twice, and none may fail.
async fn answers(story: &Story, images: usize) -> Result<Vec<Answer>> {
    let url = format!("{}/predict-file", address(&story.node, NAME)?);
    let all = images_of(&story.models.images)?;
    let answers = Curl::new().post(&url, all.iter().cycle().take(images)).await?;
    ensure!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    Ok(answers)
}

pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
