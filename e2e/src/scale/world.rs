//! API server, crowd, operator and what is seen of the deployments.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::{ModelDeployment, ModelDeploymentStatus};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::requests::{Audit, Requests};
use super::usage::{self, Memory};
use super::{Settings, Window};
use crate::apiserver::{ApiServer, Audited};
use crate::hollow::{Crowd, Reads};
use crate::operator::{Operator, Place};

/// The deployments are in so many namespaces.
const NAMESPACES: usize = 10;
/// Clients that create and change at one time.
const CLIENTS: usize = 8;
/// Longest time for anything.
const LIMIT: Duration = Duration::from_secs(600);
/// Without a request for so long is at rest.
const REST: Duration = Duration::from_secs(5);

/// What the operator lives in.
pub struct World {
    /// The pods.
    pub crowd: Crowd,
    client: Client,
    operator: Option<Operator>,
    audited: Audited,
    audit: Audit,
    /// Requests that were read from the log and not taken yet.
    requests: Requests,
    deployments: Store<ModelDeployment>,
    _watch: AbortOnDropHandle<()>,
    logs: tempfile::TempDir,
    // Last: everything above needs it.
    _server: ApiServer,
}

/// What is counted up from the beginning of a window.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    cpu: Duration,
    pages: Reads,
}

impl World {
    /// Starts everything but the operator.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(settings: Settings) -> Result<Self> {
        let (server, audited) = ApiServer::audited().await?;
        let client = server.client().await?;
        let namespaces = Api::<Namespace>::all(client.clone());
        for i in 0..NAMESPACES {
            let namespace = serde_json::from_value(json!({"metadata": {"name": namespace(i)}}))?;
            namespaces.create(&PostParams::default(), &namespace).await?;
        }
        let crowd = Crowd::start(client.clone(), settings.rate).await?;
        let (deployments, writer) = reflector::store();
        let all = Api::<ModelDeployment>::all(client.clone());
        let watch = reflector::reflector(writer, watcher(all, watcher::Config::default()).default_backoff());
        let watch = tokio::spawn(watch.for_each(async |_| {}));
        Ok(Self {
            crowd,
            client,
            operator: None,
            audit: Audit::open(&audited.log)?,
            audited,
            requests: Requests::default(),
            deployments,
            _watch: AbortOnDropHandle::new(watch),
            logs: tempfile::tempdir()?,
            _server: server,
        })
    }

    /// Starts an operator, and waits until it leads if there was none before. Says when it was started.
    ///
    /// # Errors
    /// When it does not.
    pub async fn operate(&mut self) -> Result<Instant> {
        let kubeconfig = self.audited.kubeconfig.to_str().context("a path of UTF-8")?;
        let logs: &Path = self.logs.path();
        let at = Instant::now();
        let place = Place { kubeconfig, namespace: None, identity: "operator", logs, filter: "info" };
        self.operator = Some(Operator::start(place).await?);
        let leases = Api::<Lease>::namespaced(self.client.clone(), "default");
        let leads = async || {
            let lease = leases.get_opt("sluice-operator").await?;
            let holder = lease.and_then(|lease| lease.spec?.holder_identity);
            anyhow::Ok(holder.is_some_and(|holder| !holder.is_empty()))
        };
        while !leads().await? {
            self.check("operator leads", usize::from(at.elapsed() > LIMIT), 0)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(at)
    }

    /// Ends the operator with SIGTERM.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn terminate(&mut self) -> Result<()> {
        self.operator.take().context("no operator runs")?.terminate().await?;
        Ok(())
    }

    /// Applies the same change to each of these deployments, as several people at a time.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn each(&self, numbers: std::ops::Range<usize>, change: &Value) -> Result<()> {
        let apply = PatchParams::apply("person").force();
        stream::iter(numbers)
            .map(|i| {
                let api = Api::<ModelDeployment>::namespaced(self.client.clone(), &namespace(i));
                let (name, apply, mut object) = (format!("model-{i}"), &apply, change.clone());
                object["apiVersion"] = json!("sluice.dev/v1alpha1");
                object["kind"] = json!("ModelDeployment");
                object["metadata"]["name"] = json!(name);
                async move { api.patch(&name, apply, &Patch::Apply(&object)).await.map(drop) }
            })
            .buffer_unordered(CLIENTS)
            .try_collect::<()>()
            .await?;
        Ok(())
    }

    /// Waits until `n` deployments are as wanted; returns the seconds since `from`.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn until(
        &self,
        what: &str,
        n: usize,
        from: Instant,
        wanted: impl Fn(&ModelDeployment, &ModelDeploymentStatus) -> bool,
    ) -> Result<f64> {
        self.wait(what, n, from, || self.count(&wanted)).await
    }

    /// Waits until a count has come to `n`; returns the seconds since `from`.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait(&self, what: &str, n: usize, from: Instant, count: impl Fn() -> usize) -> Result<f64> {
        let (found, seconds) = self.reach(what, n, from, LIMIT, count).await;
        self.check(what, n, found)?;
        Ok(seconds)
    }

    /// How many deployments are as wanted.
    #[must_use]
    pub fn count(&self, wanted: impl Fn(&ModelDeployment, &ModelDeploymentStatus) -> bool) -> usize {
        let none = ModelDeploymentStatus::default();
        let all = self.deployments.state();
        all.iter().filter(|o| wanted(o, o.status.as_ref().unwrap_or(&none))).count()
    }

    /// Waits until a count has come to `n`, or this long; returns it with the seconds since `from`.
    pub async fn reach(
        &self,
        what: &str,
        n: usize,
        from: Instant,
        limit: Duration,
        count: impl Fn() -> usize,
    ) -> (usize, f64) {
        let mut told = Instant::now();
        loop {
            let now = count();
            if now >= n || from.elapsed() > limit {
                return (now, from.elapsed().as_secs_f64());
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                say(&format!("{now} of {n} {what}, after {:.0} s", from.elapsed().as_secs_f64()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn check(&self, what: &str, wanted: usize, found: usize) -> Result<()> {
        if found < wanted {
            let log = self.operator.as_ref().map(Operator::tail).unwrap_or_default();
            bail!("waited {LIMIT:?}: {found} of {wanted} {what}; the operator's log:\n{log}");
        }
        Ok(())
    }

    /// Waits until the operator has asked nothing but its Lease of the API server for a while; of pods it may
    /// read on, as it does after a promotion. Returns the requests since they were taken last.
    ///
    /// # Errors
    /// When it goes on writing.
    pub async fn rest(&mut self) -> Result<Requests> {
        let (from, mut changed) = (Instant::now(), Instant::now());
        while changed.elapsed() < REST {
            let found = self.audit.take()?;
            if found.writes() + found.reads() > 0 {
                changed = Instant::now();
            }
            self.requests.add(&found);
            self.check("operator at rest", usize::from(from.elapsed() > LIMIT), 0)?;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(std::mem::take(&mut self.requests))
    }

    /// Requests since they were taken last.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn take_requests(&mut self) -> Result<Requests> {
        let found = self.audit.take()?;
        self.requests.add(&found);
        Ok(std::mem::take(&mut self.requests))
    }

    /// Watches the operator for some seconds; requests from before must have been taken.
    ///
    /// # Errors
    /// When it ends meanwhile.
    pub async fn window(&mut self, seconds: u64) -> Result<Window> {
        let mark = self.mark()?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let (now, requests) = (self.mark()?, self.take_requests()?);
        Ok(Window {
            seconds: (now.at - mark.at).as_secs_f64(),
            cpu: (now.cpu - mark.cpu).as_secs_f64(),
            memory: self.memory()?,
            requests,
            pages: Reads {
                all: now.pages.all - mark.pages.all,
                evidence: now.pages.evidence - mark.pages.evidence,
            },
            load: usage::load()?,
        })
    }

    fn mark(&self) -> Result<Mark> {
        Ok(Mark { at: Instant::now(), cpu: self.cpu()?, pages: self.crowd.reads() })
    }

    /// Processor time of the operator's process so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration> {
        usage::cpu(self.pid()?)
    }

    /// Memory of the operator now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> Result<Memory> {
        usage::memory(self.pid()?)
    }

    fn pid(&self) -> Result<u32> {
        self.operator.as_ref().and_then(Operator::pid).context("the operator has ended")
    }
}

fn namespace(i: usize) -> String {
    format!("team-{}", i % NAMESPACES)
}

/// Tells of progress.
pub(super) fn say(text: &str) {
    eprintln!("bench-operator: {text}");
}
