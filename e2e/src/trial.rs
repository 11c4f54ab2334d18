//! One test's world: a namespace of its own, a hollow cluster and an operator.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::{ModelDeployment, ModelDeploymentStatus, ModelRollout, ModelRoute, Phase, names};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::hollow::{Adopted, Hollow};
use crate::operator::{Operator, Place};
use crate::proxy::Proxy;

/// Name of the ModelDeployment of a trial.
pub const NAME: &str = "digits";
/// Time between two readings, in every trial: the shortest that is allowed.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// One test's world.
pub struct Trial {
    /// For everything.
    pub client: Client,
    /// Its namespace.
    pub namespace: String,
    /// Nodes and controllers.
    pub hollow: Hollow,
    /// The first operator; taken out by tests that kill it.
    pub operator: Option<Operator>,
    server: &'static ApiServer,
    logs: tempfile::TempDir,
}

impl Trial {
    /// A namespace whose name begins with `name`, a hollow cluster and an operator.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(name: &str) -> Result<Self> {
        let mut trial = Self::without_operator(name).await?;
        trial.operator = Some(trial.another_operator("operator-0").await?);
        Ok(trial)
    }

    /// As [`Trial::start`], with every request of the operator through a proxy.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn through_a_proxy(name: &str) -> Result<(Self, Proxy)> {
        let mut trial = Self::without_operator(name).await?;
        let proxy = trial.proxy().await?;
        trial.operator = Some(trial.operator_through(&proxy, "operator-0").await?);
        Ok((trial, proxy))
    }

    /// A namespace whose name begins with `name` and a hollow cluster.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn without_operator(name: &str) -> Result<Self> {
        let server = ApiServer::shared().await?;
        let client = server.client().await?;
        let namespace = server.namespace(&client, name).await?;
        let hollow = Hollow::start(client.clone(), &namespace).await?;
        let logs = tempfile::tempdir()?;
        Ok(Self { client, namespace, hollow, operator: None, server, logs })
    }

    /// Another operator for the same namespace.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn another_operator(&self, identity: &str) -> Result<Operator> {
        self.operator_with(self.server.kubeconfig(), identity).await
    }

    /// Another operator, whose every request goes through this proxy.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn operator_through(&self, proxy: &Proxy, identity: &str) -> Result<Operator> {
        let kubeconfig = proxy.kubeconfig();
        self.operator_with(kubeconfig.to_str().context("its path is text")?, identity).await
    }

    /// A proxy for an operator of this namespace.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn proxy(&self) -> Result<Proxy> {
        Proxy::start(self.client.clone(), &self.namespace).await
    }

    async fn operator_with(&self, kubeconfig: &str, identity: &str) -> Result<Operator> {
        let (namespace, logs, filter) = (Some(&*self.namespace), self.logs(), "info,operator=debug");
        Operator::start(Place { kubeconfig, namespace, identity, logs, filter }).await
    }

    fn logs(&self) -> &Path {
        self.logs.path()
    }

    /// An API of the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies the ModelDeployment, as a person would.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, spec: &Value) -> Result<ModelDeployment> {
        let object = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": NAME}, "spec": spec,
        });
        let apply = PatchParams::apply("person").force();
        Ok(self.api::<ModelDeployment>().patch(NAME, &apply, &Patch::Apply(&object)).await?)
    }

    /// Applies the first version and waits until it serves; returns its revision.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn serve_first(&self, spec: &Value) -> Result<String> {
        self.apply(spec).await?;
        let version = spec.pointer("/model/version").and_then(Value::as_str).context("a version")?.to_owned();
        let status = self.until(20, "the first version to serve", |s| is_healthy(s, &version)).await?;
        Ok(status.stable.context("the condition was that there is one")?.revision)
    }

    /// Serves 1.0.0 and rolls 1.1.0 out until its first step, which is held so long, is served.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn first_step(&self, hold: &str) -> Result<ModelDeploymentStatus> {
        self.serve_first(&holding("1.0.0", hold)).await?;
        self.apply(&holding("1.1.0", hold)).await?;
        self.until(20, "the first step", |s| at_stage(s, 1)).await
    }

    /// Puts the on-call annotation on.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn act(&self, verb: &str) -> Result<Instant> {
        self.annotate::<ModelDeployment>(NAME, names::ACTION, Some(verb)).await
    }

    /// Sets or removes an annotation.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn annotate<K>(&self, name: &str, key: &str, value: Option<&str>) -> Result<Instant>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let at = Instant::now();
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(at)
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    /// When it is not within so many seconds; with all that is known.
    pub async fn until(
        &self,
        seconds: u64,
        what: &str,
        wanted: impl Fn(&ModelDeploymentStatus) -> bool,
    ) -> Result<ModelDeploymentStatus> {
        let status = |o: Option<&ModelDeployment>| o.and_then(|o| o.status.clone()).unwrap_or_default();
        let waiting = await_condition(self.api(), NAME, |o: Option<&ModelDeployment>| wanted(&status(o)));
        match tokio::time::timeout(Duration::from_secs(seconds), waiting).await {
            Ok(object) => Ok(status(object?.as_ref())),
            Err(_) => bail!("waited {seconds} s for {what}\n{}", self.report().await),
        }
    }

    /// Waits until a test of anything says yes.
    ///
    /// # Errors
    /// When it does not within so many seconds.
    pub async fn eventually<T, F: Future<Output = Result<Option<T>>>>(
        &self,
        seconds: u64,
        what: &str,
        test: impl Fn() -> F,
    ) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(found) = test().await? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("waited {seconds} s for {what}\n{}", self.report().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The status now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn status(&self) -> Result<ModelDeploymentStatus> {
        Ok(self.api::<ModelDeployment>().get(NAME).await?.status.unwrap_or_default())
    }

    /// The route table now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn route(&self) -> Result<ModelRoute> {
        let all = self.api::<ModelRoute>().list(&ListParams::default()).await?;
        all.items.into_iter().next().context("there is no ModelRoute")
    }

    /// All rollouts, by number.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn rollouts(&self) -> Result<Vec<ModelRollout>> {
        let mut all = self.api::<ModelRollout>().list(&ListParams::default()).await?.items;
        all.sort_by_key(|rollout| rollout.spec.sequence);
        Ok(all)
    }

    /// Messages of the events with this reason.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn events(&self, reason: &str) -> Result<Vec<String>> {
        let parameters = ListParams::default().fields(&format!("reason={reason}"));
        let found = self.api::<Event>().list(&parameters).await?;
        Ok(found.items.into_iter().filter_map(|event| event.message).collect())
    }

    /// Waits until every router serves a table in which this revision has this share; says when the last of
    /// them began to.
    ///
    /// # Errors
    /// When they do not within so many seconds.
    pub async fn served(&self, revision: &str, percent: f64, seconds: u64) -> Result<Instant> {
        let what = format!("every router to give {percent} % to {revision}");
        self.eventually(seconds, &what, async || Ok(served(&self.hollow.adopted(), revision, percent))).await
    }

    /// Everything that helps to see why a test failed.
    pub async fn report(&self) -> String {
        let status = self.status().await.map_or_else(|e| e.to_string(), |s| text(&s));
        let rollouts = self.rollouts().await.unwrap_or_default();
        let records: Vec<String> =
            rollouts.iter().map(|r| format!("{}: {}", r.name_any(), text(&r.status))).collect();
        let route = self.route().await.map_or_else(|e| e.to_string(), |r| r.spec.shares);
        let log = self.operator.as_ref().map(Operator::tail).unwrap_or_default();
        format!(
            "namespace {}\nroute: {route}\nstatus: {status}\n{}\noperator:\n{log}",
            self.namespace,
            records.join("\n")
        )
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}

/// When the last router began to serve this share, if each of them does now.
fn served(adopted: &[Adopted], revision: &str, percent: f64) -> Option<Instant> {
    let mut newest = std::collections::BTreeMap::new();
    for table in adopted {
        newest.insert(&table.router, table);
    }
    let gives = |table: &Adopted| table.shares.get(revision).copied().unwrap_or(0.0) == percent;
    // The first table with this share after the last one without it, per router.
    let since = |router: &String| {
        let mine = adopted.iter().filter(|table| table.router == *router).rev();
        mine.take_while(|table| gives(table)).last().map(|table| table.at)
    };
    if newest.values().all(|table| gives(table)) {
        newest.keys().filter_map(|router| since(router)).max()
    } else {
        None
    }
}

/// Whether this version is stable and all is well.
#[must_use]
pub fn is_healthy(status: &ModelDeploymentStatus, version: &str) -> bool {
    status.phase == Some(Phase::Healthy)
        && status.stable.as_ref().is_some_and(|stable| stable.model.version == version)
}

/// Whether the rollout's present stage is this one and served.
#[must_use]
pub fn at_stage(status: &ModelDeploymentStatus, index: u32) -> bool {
    status.stage.as_ref().is_some_and(|stage| stage.index == index && stage.since.is_some())
}

/// The spec with another hold of the first step.
#[must_use]
pub fn holding(version: &str, hold: &str) -> Value {
    with(spec(version), &[("/strategy/canary/steps/0", json!({"weight": 10, "hold": hold}))])
}

/// A spec of this model version: two routers, two servers, short holds, a metric for errors.
#[must_use]
pub fn spec(version: &str) -> Value {
    json!({
        "replicas": 2,
        "model": {"version": version, "uri": format!("pvc://models/digits/{version}")},
        "strategy": {"canary": {"steps": [{"weight": 10, "hold": "1s"}, {"weight": 50, "hold": "1s"}]}},
        "analysis": {
            "interval": "1s",
            "metrics": [{"name": "errors", "errorRate": {}, "max": 0.05, "minSamples": 50}],
        },
        "rollback": {"keepWarm": "30m"},
        "progressDeadline": "30s",
    })
}

/// The spec without the sequential test of errors, where a threshold is what is tried.
#[must_use]
pub fn by_threshold(spec: Value) -> Value {
    with(spec, &[("/analysis/sequential", json!({"errors": {"onBreach": "ignore"}}))])
}

/// The spec with parts replaced, by JSON pointer (`/analysis/metrics/0/max`); `null` removes a field.
#[must_use]
pub fn with(mut spec: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = spec.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not in the spec"));
        match (parent, value) {
            (Value::Object(map), Value::Null) => drop(map.remove(field)),
            (Value::Object(map), value) => drop(map.insert(field.to_owned(), value.clone())),
            (Value::Array(list), value) => {
                let index: usize = field.parse().expect("a position in a list");
                list[index] = value.clone();
            }
            (other, _) => panic!("{pointer}: {other} has no fields"),
        }
    }
    spec
}
