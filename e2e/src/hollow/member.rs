//! One deployment of the crowd: its pods, and the tables that its routers serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use api::{ModelRoute, names};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
use wire::EndpointCounts;

use super::pages::Server;
use super::router::RouterPage;
use super::{Shared, controllers, kubelet, pages, router};

/// What a deployment's watches tell it.
#[derive(Debug)]
pub(super) enum News {
    /// A Deployment is like this.
    Workload(Box<Deployment>),
    /// A Deployment is gone.
    Gone(Box<Deployment>),
    /// The route table is like this.
    Route(Box<ModelRoute>),
    /// A revision is known.
    Revision(Box<ControllerRevision>),
}

impl News {
    pub(super) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Workload(object) | Self::Gone(object) => &object.metadata,
            Self::Route(object) => &object.metadata,
            Self::Revision(object) => &object.metadata,
        }
    }
}

/// A pod, ready from its beginning.
#[derive(Debug)]
struct Running {
    /// Uid of its Deployment.
    owner: String,
    template: String,
    is_router: bool,
    revision: String,
    _pages: AbortOnDropHandle<()>,
}

/// One deployment.
pub(super) struct Member {
    client: Client,
    namespace: String,
    writes: Arc<Semaphore>,
    shared: Shared,
    pods: BTreeMap<String, Running>,
    /// How many pods each Deployment had so far, by uid.
    made: BTreeMap<String, usize>,
    route: Option<ModelRoute>,
}

impl Member {
    pub(super) fn new(client: Client, namespace: &str, writes: Arc<Semaphore>, shared: Shared) -> Self {
        let (pods, made) = (BTreeMap::new(), BTreeMap::new());
        Self { client, namespace: namespace.to_owned(), writes, shared, pods, made, route: None }
    }

    /// Runs until nothing can be told any more.
    pub(super) async fn run(mut self, mut heard: mpsc::UnboundedReceiver<News>) {
        while let Some(news) = heard.recv().await {
            let done = match news {
                News::Workload(deployment) => self.workload(&deployment).await,
                News::Gone(deployment) => {
                    let uid = deployment.uid().unwrap_or_default();
                    self.keep(&uid, "", 0).await
                }
                News::Route(route) => {
                    self.route = Some(*route);
                    Ok(())
                }
                News::Revision(revision) => {
                    self.revision(&revision);
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::warn!(namespace = %self.namespace, %error, "the crowd");
            }
            self.serve();
        }
    }

    async fn workload(&mut self, deployment: &Deployment) -> kube::Result<()> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let uid = deployment.uid().unwrap_or_default();
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        let template = controllers::hash(&spec.template);
        let here = self.pods.values().filter(|p| p.owner == uid && p.template == template).count();
        for _ in here..wanted {
            self.make(deployment, &template).await?;
        }
        self.keep(&uid, &template, wanted).await?;
        self.report(deployment, wanted).await
    }

    /// All pods are ready: that they are so many is all there is to say.
    async fn report(&self, deployment: &Deployment, ready: usize) -> kube::Result<()> {
        let seen = deployment.status.clone().unwrap_or_default();
        let count = i32::try_from(ready).ok().filter(|n| *n > 0);
        let is_told = seen.observed_generation == deployment.metadata.generation;
        if is_told && seen.ready_replicas == count && seen.replicas == count {
            return Ok(());
        }
        let patch = json!({"status": {
            "observedGeneration": deployment.metadata.generation, "replicas": count, "readyReplicas": count,
            "availableReplicas": count, "updatedReplicas": count,
        }});
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let _write = self.writes.acquire().await;
        let patched =
            api.patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        expected(patched.map(drop))
    }

    async fn make(&mut self, deployment: &Deployment, template: &str) -> kube::Result<()> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let owner = deployment.uid().unwrap_or_default();
        let made = self.made.entry(owner.clone()).or_default();
        let ordinal = *made;
        *made += 1;
        let name = format!("{}-{template}-{ordinal}", deployment.name_any());
        let pod = kubelet::pod(deployment, spec, &name)?;
        let label = |key| pod.labels().get(key).cloned().unwrap_or_default();
        let (is_router, revision) = (label(names::ROLE) == names::ROLE_ROUTER, label(names::REVISION));
        let (listener, address) = kubelet::address().await;
        let server = Server { name: name.clone(), is_router, revision: revision.clone(), ordinal };
        let pages = AbortOnDropHandle::new(pages::serve(listener, server, self.shared.clone()));
        let running = Running { owner, template: template.to_owned(), is_router, revision, _pages: pages };
        self.pods.insert(name.clone(), running);
        // Before it can be seen: a ready pod's pages are read at once.
        self.serve();

        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let _write = self.writes.acquire().await;
        api.create(&PostParams::default(), &pod).await?;
        let status = Patch::Merge(json!({"status": kubelet::status(address.ip(), true)}));
        api.patch_status(&name, &PatchParams::default(), &status).await.map(drop)
    }

    /// Ends the pods of a Deployment that are of another template, or too many.
    async fn keep(&mut self, owner: &str, template: &str, wanted: usize) -> kube::Result<()> {
        let mine = self.pods.iter().filter(|(_, pod)| pod.owner == owner);
        let (fresh, old): (Vec<_>, Vec<_>) = mine.partition(|(_, pod)| pod.template == template);
        let doomed: Vec<String> =
            old.into_iter().chain(fresh.into_iter().skip(wanted)).map(|(name, _)| name.clone()).collect();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        for name in doomed {
            self.pods.remove(&name);
            self.shared.seen().routers.remove(&name);
            let _write = self.writes.acquire().await;
            let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            expected(api.delete(&name, &at_once).await.map(drop))?;
        }
        Ok(())
    }

    fn revision(&self, revision: &ControllerRevision) {
        let asked = revision.data.as_ref().and_then(|data| data.0.pointer("/asked/model"));
        let text = |key| asked.and_then(|model| model.get(key)?.as_str().map(str::to_owned));
        if let Some(version) = text("version") {
            self.shared.seen().models.insert(revision.name_any(), (version, text("sha256")));
        }
    }

    /// Brings the routers the table and the endpoints of now.
    fn serve(&self) {
        let now = Instant::now();
        let mut seen = self.shared.seen();
        for (name, _) in self.pods.iter().filter(|(_, pod)| pod.is_router) {
            let page = seen.routers.entry(name.clone()).or_insert_with(|| RouterPage::new(name, now));
            let Some(route) = &self.route else { continue };
            page.offer(router::table(route), now);
            page.endpoints =
                route.spec.revisions.iter().map(|r| (r.name.clone(), self.endpoints(&r.name))).collect();
        }
        seen.advance(now, &self.shared.script());
        // Nobody asks a crowd when its tables were served.
        seen.adopted.clear();
    }

    fn endpoints(&self, revision: &str) -> EndpointCounts {
        let ready = self.pods.values().filter(|pod| !pod.is_router && pod.revision == revision).count();
        EndpointCounts { ready: ready.try_into().unwrap_or_default(), ..EndpointCounts::default() }
    }
}

/// What is gone, or was changed by another, is told again.
fn expected(done: kube::Result<()>) -> kube::Result<()> {
    match done {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done,
    }
}
