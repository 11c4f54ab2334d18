//! A second ModelDeployment beside that of the story, with routers of its own and a client that is curl.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeploymentStatus, Phase};
use e2e::node::story::{NAMESPACE, Story, serves};
use e2e::node::{Change, Manifest, Node, Version, Watcher};
use tempfile::TempDir;

use super::curl::Curl;
use super::{has_weight, say};

/// Its name.
pub(crate) const NAME: &str = "private";
/// What clients call it, and its certificates say.
pub(crate) const HOST: &str = "private.default.svc";
/// Secret of the certificate.
const TLS: &str = "private-tls";
/// Secret of the labels.
const LABELS: &str = "private-labels";
/// Pods of its routers.
const ROUTERS: &str = "sluice.dev/deployment=private,sluice.dev/role=router";
/// How many routers there are.
pub(crate) const REPLICAS: usize = 2;

/// An image and its true class.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) label: String,
}

/// A pod of a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Router {
    pub(crate) name: String,
    pub(crate) ip: String,
    /// Uid, and how often its container was restarted.
    pub(crate) life: String,
}

/// The deployment, once it serves 1.0.0.
pub(crate) struct Private<'a> {
    pub(crate) story: &'a Story,
    watcher: Watcher,
    folder: TempDir,
    /// Address of its Service.
    service: String,
    images: Vec<Image>,
    /// What clients that label need.
    pub(crate) token: String,
}

impl<'a> Private<'a> {
    /// Serves 1.0.0 by TLS, with an access log and labels.
    pub(crate) async fn begin(story: &'a Story) -> Result<Self> {
        say("a second deployment: TLS, an access log, labels");
        story.node.load("broken-server")?;
        let folder = tempfile::tempdir()?;
        certify(folder.path(), "first")?;
        certify(folder.path(), "second")?;
        let images = images(&story.models.images)?;
        let token = format!("{:032x}", rand::random::<u128>());
        let watcher = Watcher::start(story.client.clone(), NAMESPACE, NAME, |change| say(&change.line()));
        let mut private = Self { story, watcher, folder, service: String::new(), images, token };
        private.use_certificate("first")?;
        private.story.node.apply(&private.labels())?;
        let (start, first) = (Instant::now(), story.models.first());
        private.apply(&private.manifest(first))?;
        private.until(start, 90, "1.0.0 to serve", |s| serves(s, first)).await?;
        private.service =
            story.node.kubectl(&["get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}"])?;
        Ok(private)
    }

    /// Removes what it has made.
    pub(crate) fn end(self) -> Result<()> {
        self.story.node.kubectl(&["delete", "modeldeployment", NAME, "--wait=false"])?;
        self.story.node.kubectl(&["delete", "secret", TLS, LABELS]).map(drop)
    }

    /// A version in one stage of 50 % that waits for a person, judged by a latency that none of them has.
    pub(crate) fn manifest(&self, version: &Version) -> Manifest {
        Manifest {
            name: NAME.into(),
            replicas: 1,
            cpu: "50m".into(),
            steps: "[{weight: 50, hold: 1h}]".into(),
            router: format!(
                "{{replicas: {REPLICAS}, accessLog: {{sample: 100}}, tls: {{secretName: {TLS}}}, \
                 feedback: {{secretName: {LABELS}}}}}"
            ),
            analysis: Some(analysis("{name: slow, latency: {quantile: 0.5}, max: 20}")),
            ..Manifest::new(version)
        }
    }

    pub(crate) fn apply(&self, manifest: &Manifest) -> Result<()> {
        self.story.node.apply(&manifest.yaml()).map(drop)
    }

    /// Waits for a status.
    pub(crate) async fn until(
        &self,
        from: Instant,
        seconds: u64,
        what: &str,
        fits: impl Fn(&ModelDeploymentStatus) -> bool,
    ) -> Result<Change> {
        self.watcher.until(from, Duration::from_secs(seconds), what, fits).await
    }

    /// Starts a rollout and waits until both routers give the candidate half of the requests. Returns its revision.
    pub(crate) async fn at_half(&self, manifest: &Manifest) -> Result<String> {
        let start = Instant::now();
        self.apply(manifest)?;
        let change = self.until(start, 60, "50 % to be acknowledged", |s| has_weight(s, 50)).await?;
        Ok(change.status.candidate.context("it has a share")?.revision)
    }

    /// Waits until the candidate is taken back. Returns when, and why.
    pub(crate) async fn taken_back(&self, from: Instant, seconds: u64) -> Result<(Instant, String)> {
        let back = |s: &ModelDeploymentStatus| s.phase == Some(Phase::RolledBack);
        let change = self.until(from, seconds, "the candidate to be taken back", back).await?;
        let rollout = self.story.ended(&change.status.rollout.context("a rollout has a name")?).await?;
        let record = rollout.status.unwrap_or_default().record;
        let decided = record.iter().find(|r| r.reason == "RollingBack");
        Ok((change.at, decided.with_context(|| format!("no decision in {record:?}"))?.message.clone()))
    }

    /// A person takes the candidate back.
    pub(crate) async fn abort(&self) -> Result<()> {
        let asked = Instant::now();
        let verb = "sluice.dev/action=abort";
        self.story.node.kubectl(&["annotate", "modeldeployment", NAME, verb, "--overwrite"])?;
        self.taken_back(asked, 30).await.map(drop)
    }

    /// The certificate of this name, in PEM.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.crt"))
    }

    /// Puts it into the Secret.
    pub(crate) fn use_certificate(&self, name: &str) -> Result<()> {
        let (cert, key) = (self.certificate(name), self.certificate(name).with_extension("key"));
        let secret = self.story.node.kubectl(&[
            "create",
            "secret",
            "tls",
            TLS,
            &format!("--cert={}", cert.display()),
            &format!("--key={}", key.display()),
            "--dry-run=client",
            "-o",
            "yaml",
        ])?;
        self.story.node.apply(&secret).map(drop)
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that comes by the Service and trusts nobody yet.
    pub(crate) fn stranger(&self) -> Curl {
        Curl::new().with("connect-to", format!("{HOST}:443:{}:443", self.service))
    }

    /// A client that comes by the Service and trusts both certificates.
    pub(crate) fn client(&self) -> Result<Curl> {
        Ok(self.stranger().with("cacert", self.both()?.display()))
    }

    /// The same that comes to one router.
    pub(crate) fn client_of(&self, router: &Router) -> Result<Curl> {
        Ok(to(router).with("cacert", self.both()?.display()))
    }

    /// A file of both certificates.
    fn both(&self) -> Result<PathBuf> {
        let both = self.file("both.crt");
        if !both.exists() {
            let read = |name| std::fs::read_to_string(self.certificate(name));
            std::fs::write(&both, read("first")? + &read("second")?)?;
        }
        Ok(both)
    }

    /// Where labels are posted.
    pub(crate) fn feedback(&self) -> String {
        format!("http://{}:{}{}", self.service, wire::endpoint::FEEDBACK_PORT, wire::endpoint::FEEDBACK)
    }

    /// So many images, of all classes.
    pub(crate) fn images(&self, n: usize) -> impl Iterator<Item = &Image> {
        self.images.iter().cycle().take(n)
    }

    /// One of them.
    pub(crate) fn image(&self) -> Image {
        self.images[0].clone()
    }

    /// Its routers that run.
    pub(crate) fn routers(&self) -> Result<Vec<Router>> {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.metadata.uid} \
                    {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
        let running = "--field-selector=status.phase=Running";
        let pods = self.story.node.kubectl(&["get", "pods", "-l", ROUTERS, running, "-o", path])?;
        let router = |line: &str| {
            let (name, rest) = line.split_once(' ')?;
            let (ip, life) = rest.split_once(' ')?;
            Some(Router { name: name.into(), ip: ip.into(), life: life.into() })
        };
        let routers: Vec<Router> = pods.lines().filter_map(router).collect();
        ensure!(routers.len() == REPLICAS, "{REPLICAS} routers are to run: {pods}");
        Ok(routers)
    }

    fn labels(&self) -> String {
        let classes: BTreeSet<&str> = self.images.iter().map(|image| image.label.as_str()).collect();
        let classes = classes.into_iter().collect::<Vec<_>>().join("\\n");
        let (key, token) = (format!("{:064x}", rand::random::<u128>()), &self.token);
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {LABELS}, namespace: {NAMESPACE}}}, \
             stringData: {{key: '{key}', token: '{token}', classes: \"{classes}\"}}}}"
        )
    }
}

/// An analysis by one metric every second. The tests that come by default are off, so that what a chapter is about is what
/// decides.
pub(crate) fn analysis(metric: &str) -> String {
    let off = ["errors", "latency", "lowConfidence", "accuracy", "change"]
        .map(|t| format!("{t}: {{onBreach: ignore}}"));
    format!("{{interval: 1s, metrics: [{metric}], sequential: {{{}}}}}", off.join(", "))
}

/// A client that comes to one router and trusts nobody yet.
pub(crate) fn to(router: &Router) -> Curl {
    let port = wire::endpoint::ROUTER_PORT;
    Curl::new().with("connect-to", format!("{HOST}:443:{}:{port}", router.ip))
}

/// The access log of a router: its lines for what was posted.
pub(crate) fn access_log(node: &Node, router: &Router) -> Result<Vec<serde_json::Value>> {
    let log = node.kubectl(&["logs", &router.name, "--tail=-1"])?;
    let lines = log.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>();
    let lines = lines.context("each line of a router's log is JSON")?;
    Ok(lines.into_iter().filter(|line| line["target"] == "access" && line["method"] == "POST").collect())
}

/// A certificate that vouches for itself, with its key.
fn certify(folder: &Path, name: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=private", "-addext", &format!("subjectAltName=DNS:{HOST}")])
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .arg("-out")
        .arg(folder.join(format!("{name}.crt")))
        .output()
        .context("openssl cannot be started (hack/ground installs it)")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The test images, in an order that mixes classes.
pub(crate) fn images(folder: &Path) -> Result<Vec<Image>> {
    let text = std::fs::read(folder.join("labels.json")).context("labels of the images")?;
    let labels: BTreeMap<String, String> = serde_json::from_slice(&text)?;
    ensure!(!labels.is_empty(), "there are no images in {}", folder.display());
    Ok(labels.into_iter().map(|(name, label)| Image { path: folder.join(name), label }).collect())
}
