//! The story of the demo, chapter by chapter. Each chapter does what a person would do, waits for what must
//! happen, and returns what was measured; the demo prints it, the node tests assert it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, ModelDeploymentStatus, ModelRollout, Outcome, Phase, Record, names};
use kube::Api;
use kube::api::{Patch, PatchParams};

use super::{Change, Models, Node, Version, Watcher};
use crate::load::{Load, Settings, Summary};

/// Namespace of everything.
pub const NAMESPACE: &str = "default";
/// Name of the ModelDeployment.
pub const NAME: &str = "digits";
/// Between two readings of the routers in the demo.
const INTERVAL: Duration = Duration::from_secs(5);

/// What a rollback took.
#[derive(Debug, Clone)]
pub struct TakenBack {
    /// The sentence of the decision.
    pub reason: String,
    /// From the decision, which follows the page that completes the breach, until every router served weight 0.
    pub to_zero: Duration,
    /// From the first share of the bad version until then.
    pub exposed: Duration,
}

/// The story so far.
pub struct Story {
    /// The cluster.
    pub node: Node,
    /// The versions.
    pub models: Models,
    /// Follows the ModelDeployment.
    pub watcher: Watcher,
    /// The client that sends all the time.
    pub load: Load,
    /// For what kubectl would be too slow for.
    pub client: kube::Client,
}

/// A ModelDeployment of the story.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Name of the ModelDeployment.
    pub name: String,
    /// Model version.
    pub version: String,
    /// Where the artefact is.
    pub uri: String,
    /// Its digest.
    pub digest: String,
    /// Pods of the stable revision.
    pub replicas: u32,
    /// CPU that a model server asks for: another one makes another revision of the same model.
    pub cpu: String,
    /// Steps, as a YAML list.
    pub steps: String,
    /// Another strategy in place of a canary of these steps, as YAML.
    pub strategy: Option<String>,
    /// Further fields of the server beside its resources, each as YAML behind a comma.
    pub server: String,
    /// How requests are assigned, as YAML.
    pub routing: String,
    /// Settings of the routers, as YAML.
    pub router: String,
    /// Another analysis in place of the demo's, as YAML.
    pub analysis: Option<String>,
    /// Deadline.
    pub deadline: String,
}

impl Manifest {
    /// The demo's rollout of a version: 10 %, 50 %, each for 15 s.
    #[must_use]
    pub fn new(version: &Version) -> Self {
        Self {
            name: NAME.into(),
            version: version.version.clone(),
            uri: format!("pvc://models/digits/{}", version.version),
            digest: version.digest.clone(),
            replicas: 2,
            cpu: "100m".into(),
            steps: "[{weight: 10, hold: 15s, minRequests: 100}, {weight: 50, hold: 15s, minRequests: 500}]"
                .into(),
            strategy: None,
            server: String::new(),
            routing: "{}".into(),
            router: "{}".into(),
            analysis: None,
            deadline: "2m".into(),
        }
    }

    /// As YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let Self { name, version, uri, digest, replicas, cpu, server, routing, router, deadline, .. } = self;
        let canary = || format!("{{canary: {{steps: {}}}}}", self.steps);
        let strategy = self.strategy.clone().unwrap_or_else(canary);
        let analysis = self.analysis.clone().unwrap_or_else(analysis);
        format!(
            "apiVersion: sluice.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  replicas: {replicas}
  model: {{version: {version}, uri: '{uri}', sha256: {digest}}}
  server: {{resources: {{requests: {{cpu: {cpu}, memory: 128Mi}}, limits: {{memory: 1Gi}}}}{server}}}
  routing: {routing}
  router: {router}
  strategy: {strategy}
  analysis: {analysis}
  rollback: {{keepWarm: 30m}}
  progressDeadline: {deadline}
"
        )
    }
}

/// By what the demo judges.
fn analysis() -> String {
    let interval = INTERVAL.as_secs();
    format!(
        "
    interval: {interval}s
    metrics:
    - {{name: errors, errorRate: {{}}, max: 0.02}}
    - {{name: classes, drift: {{feature: class, statistic: psi, against: stable}}, max: 0.25}}
    - {{name: confidence, drift: {{feature: confidence, statistic: ks, against: stable}}, max: 0.5}}
    - {{name: inputs, drift: {{feature: brightness, statistic: psi, against: reference}}, max: 0.25, onBreach: alert}}"
    )
}

impl Story {
    /// Installs Sluice, serves the first version, and starts the client.
    ///
    /// # Errors
    /// When something did not happen in time.
    pub async fn begin(
        node: Node,
        models: Models,
        rate: u32,
        heard: impl Fn(&Change) + Send + 'static,
    ) -> Result<Self> {
        node.install()?;
        node.apply(&models.volume())?;
        let client = node.client().await?;
        let watcher = Watcher::start(client.clone(), NAMESPACE, NAME, heard);
        let first = models.first();
        let start = Instant::now();
        node.apply(&Manifest::new(first).yaml())?;
        watcher.until(start, Duration::from_secs(120), "1.0.0 to serve", |s| serves(s, first)).await?;
        let address = address(&node, NAME)?;
        let load = Load::start(Settings::new(&address, &models.images, models.predictions(), rate)).await?;
        Ok(Self { node, models, watcher, load, client })
    }

    /// 1.1.0: 10 %, 50 %, promoted.
    ///
    /// # Errors
    /// When it is not promoted in time.
    pub async fn good_version(&self) -> Result<Duration> {
        let better = self.models.better();
        let start = Instant::now();
        self.node.apply(&Manifest::new(better).yaml())?;
        self.watcher
            .until(start, Duration::from_secs(180), "1.1.0 to be promoted", |s| serves(s, better))
            .await?;
        Ok(start.elapsed())
    }

    /// 1.2.0: breaches at 10 %, taken back by itself.
    ///
    /// # Errors
    /// When it is not taken back in time.
    pub async fn bad_version(&self) -> Result<TakenBack> {
        let start = Instant::now();
        self.node.apply(&Manifest::new(self.models.bad()).yaml())?;
        let rolled_back = |s: &ModelDeploymentStatus| s.phase == Some(Phase::RolledBack);
        let change = self
            .watcher
            .until(start, Duration::from_secs(180), "1.2.0 to be taken back", rolled_back)
            .await?;
        let name = change.status.rollout.clone().context("a rollout has a name")?;
        let rollout = self.ended(&name).await?;
        let status = rollout.status.unwrap_or_default();
        ensure!(status.outcome == Some(Outcome::RolledBack), "{name} ended as {:?}", status.outcome);
        let at = |reason: &str| {
            let entry = status.record.iter().find(|r| r.reason == reason);
            entry.with_context(|| format!("{name} has no record of {reason}: {:?}", status.record))
        };
        let (served, decided, zero) = (at("StageServed")?, at("RollingBack")?, at("RolledBack")?);
        Ok(TakenBack {
            reason: decided.message.clone(),
            to_zero: between(decided, zero)?,
            exposed: between(served, zero)?,
        })
    }

    /// A bare rollback is refused: the newest rollout is undone already (V1). Returns the words of the refusal.
    ///
    /// # Errors
    /// When it is not refused in time.
    pub async fn second_press(&self) -> Result<String> {
        // By uid: an earlier object of the same name may have been refused something too.
        let uid = self.node.kubectl(&["get", "modeldeployment", NAME, "-o", "jsonpath={.metadata.uid}"])?;
        let selector = format!("reason=ActionRefused,involvedObject.uid={uid}");
        let refused = || {
            let messages = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
            self.node.kubectl(&["get", "events", "--field-selector", &selector, "-o", messages])
        };
        let before = refused()?.lines().count();
        self.annotate("rollback")?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(message) = refused()?.lines().nth(before) {
                return Ok(message.to_owned());
            }
            ensure!(Instant::now() < deadline, "no event says that the rollback was refused");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `rollback:<revision of 1.0.0>`; returns the time from the annotation until every router served it.
    ///
    /// # Errors
    /// When 1.0.0 is not back in time.
    pub async fn back_to_first(&self) -> Result<(String, Duration)> {
        let revision = self.revision_of(self.models.first()).await?;
        let start = Instant::now();
        self.annotate(&format!("rollback:{revision}"))?;
        let asked = Instant::now();
        let all = |s: &ModelDeploymentStatus| {
            s.traffic.iter().any(|t| t.revision == revision && t.acknowledged == Some(100))
        };
        let change = self.watcher.until(start, Duration::from_secs(60), "1.0.0 to be back", all).await?;
        Ok((revision.clone(), change.at.saturating_duration_since(asked)))
    }

    /// Stops the client.
    pub async fn finish(self) -> Summary {
        self.load.stop().await
    }

    /// Puts the on-call annotation on, as a person would.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub fn annotate(&self, verb: &str) -> Result<()> {
        self.node
            .kubectl(&[
                "annotate",
                "modeldeployment",
                NAME,
                &format!("sluice.dev/action={verb}"),
                "--overwrite",
            ])
            .map(drop)
    }

    /// The same without kubectl, for who measures: returns when it was asked.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn act(&self, verb: &str) -> Result<Instant> {
        let deployments: Api<ModelDeployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = serde_json::json!({"metadata": {"annotations": {names::ACTION: verb}}});
        let asked = Instant::now();
        deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(asked)
    }

    /// The revision of a version, from the audit trail.
    ///
    /// # Errors
    /// When it was never rolled out.
    pub async fn revision_of(&self, version: &Version) -> Result<String> {
        let rollouts: Api<ModelRollout> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = rollouts.list(&kube::api::ListParams::default()).await?;
        let found =
            all.items.iter().find(|r| r.spec.deployment == NAME && r.spec.to_version == version.version);
        Ok(found.with_context(|| format!("no ModelRollout to {}", version.version))?.spec.to.clone())
    }

    /// The ModelRollout, once its outcome is written.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn ended(&self, name: &str) -> Result<ModelRollout> {
        let rollouts: Api<ModelRollout> = Api::namespaced(self.client.clone(), NAMESPACE);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let rollout = rollouts.get(name).await?;
            if rollout.status.as_ref().is_some_and(|s| s.outcome.is_some()) || Instant::now() > deadline {
                return Ok(rollout);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether a version is stable and has all the traffic it is to have.
#[must_use]
pub fn serves(status: &ModelDeploymentStatus, version: &Version) -> bool {
    status.phase == Some(Phase::Healthy)
        && status.stable.as_ref().is_some_and(|s| s.model.version == version.version)
}

/// The address of a deployment's Service from this host, as `http://ip[:port]`. The host reaches the node's
/// Services directly; those of kind, which runs in a container, through a port of its own (hack/kind.yaml).
///
/// # Errors
/// With kubectl's own words.
pub fn address(node: &Node, name: &str) -> Result<String> {
    if std::env::var("CLUSTER").is_ok_and(|kind| kind == "kind") {
        node.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}-outside, namespace: {NAMESPACE}}},
spec: {{type: NodePort, selector: {{sluice.dev/deployment: {name}, sluice.dev/role: router}},
ports: [{{port: 80, targetPort: http, nodePort: 30080}}]}}}}"
        ))?;
        return Ok("http://127.0.0.1:30080".into());
    }
    let ip = node.kubectl(&["get", "service", name, "-o", "jsonpath={.spec.clusterIP}"])?;
    Ok(format!("http://{ip}"))
}

fn between(from: &Record, to: &Record) -> Result<Duration> {
    let span = to.time.0.duration_since(from.time.0);
    span.try_into().with_context(|| format!("{} is recorded before {}", to.reason, from.reason))
}
