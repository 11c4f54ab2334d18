//! The life of a pod: made, running with an address of its own, ready as scripted, ending with grace.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use api::names;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::controllers::Controllers;
use super::pages::{self, Server};
use super::router::RouterPage;
use super::script::Ready;

/// Name of the node of all pods.
pub(super) const NODE: &str = "hollow";
/// From the wish to delete a pod to its end; real programs drain longer, and the operator must not care.
const LAST_WORDS: Duration = Duration::from_millis(150);
/// From its creation until a router is ready, if it has a table.
const ROUTER_START: Duration = Duration::from_millis(50);

/// A pod.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) name: String,
    /// Uid of its Deployment.
    pub(super) owner: String,
    /// Hash of the template that it was made from.
    pub(super) template: String,
    /// Which pod of its owner it is, from 0.
    pub(super) ordinal: usize,
    pub(super) deployment: String,
    pub(super) revision: String,
    pub(super) is_router: bool,
    pub(super) born: Instant,
    pub(super) ready: bool,
    /// When its end was wished for, as the watch showed it.
    pub(super) ending: Option<Instant>,
    /// The watch has shown it.
    seen: bool,
    pub(super) address: SocketAddr,
    _pages: AbortOnDropHandle<()>,
}

impl Controllers {
    /// Takes over what the watch shows: pods that shall end, pods that are gone.
    pub(super) fn bury(&mut self) {
        let now = Instant::now();
        let shown = self.world.all::<Pod>();
        for pod in &shown {
            if let Some(life) = self.pods.get_mut(&pod.name_any()) {
                life.seen = true;
                if pod.metadata.deletion_timestamp.is_some() {
                    life.ending.get_or_insert(now);
                }
            }
        }
        let mut seen = self.shared.seen();
        self.pods.retain(|name, life| {
            let stays = !life.seen || shown.iter().any(|pod| pod.name_any() == *name);
            if !stays {
                seen.routers.remove(name);
            }
            stays
        });
    }

    /// Makes a pod of a Deployment, with its pages already served: its IP is in its first status.
    pub(super) async fn make_pod(&mut self, deployment: &Deployment, template: &str) -> kube::Result<()> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let owner = deployment.uid().unwrap_or_default();
        let ordinal = self.made.get(&owner).copied().unwrap_or(0);
        let name = format!("{}-{template}-{ordinal}", deployment.name_any());
        let pod = pod(deployment, spec, &name)?;
        let label = |key| pod.labels().get(key).cloned().unwrap_or_default();
        let is_router = label(names::ROLE) == names::ROLE_ROUTER;
        let (listener, address) = address().await;
        let server = Server { name: name.clone(), is_router, revision: label(names::REVISION), ordinal };
        let pages = AbortOnDropHandle::new(pages::serve(listener, server, self.shared.clone()));
        self.pods().create(&PostParams::default(), &pod).await?;
        self.made.insert(owner.clone(), ordinal + 1);
        let life = Life {
            name: name.clone(),
            owner,
            template: template.to_owned(),
            ordinal,
            deployment: label(names::DEPLOYMENT),
            revision: label(names::REVISION),
            is_router,
            born: Instant::now(),
            ready: false,
            ending: None,
            seen: false,
            address,
            _pages: pages,
        };
        let status = status(life.address.ip(), life.ready);
        self.pods.insert(name.clone(), life);
        self.write_status(&name, &status).await
    }

    /// Wishes for the end of a pod, with its own grace or this one.
    pub(super) async fn delete_pod(&mut self, name: &str, grace: Option<u32>) -> kube::Result<()> {
        let parameters = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.pods().delete(name, &parameters).await?;
        if let Some(life) = self.pods.get_mut(name) {
            life.ending.get_or_insert(Instant::now());
        }
        Ok(())
    }

    /// Brings readiness up to the script and ends what is over; says when the next of this is due.
    pub(super) async fn tend(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + Duration::from_secs(1);
        let (mut over, mut changed) = (Vec::new(), Vec::new());
        for (name, life) in &self.pods {
            if let Some(ending) = life.ending {
                let end = ending + LAST_WORDS;
                if end <= now {
                    over.push(name.clone());
                } else {
                    next = next.min(end);
                }
                continue;
            }
            let (ready, until) = self.readiness(life, now);
            next = until.map_or(next, |until| next.min(until));
            if ready != life.ready {
                changed.push((name.clone(), ready));
            }
        }
        for name in over {
            if let Err(error) = self.delete_pod(&name, Some(0)).await {
                self.complain("Pod", &name, &error);
            }
        }
        for (name, ready) in changed {
            let Some(life) = self.pods.get_mut(&name) else { continue };
            life.ready = ready;
            let status = status(life.address.ip(), life.ready);
            if let Err(error) = self.write_status(&name, &status).await {
                self.complain("Pod", &name, &error);
            }
        }
        next
    }

    /// Whether a pod is ready now, and when that may change.
    fn readiness(&self, life: &Life, now: Instant) -> (bool, Option<Instant>) {
        let after =
            |delay| if now >= life.born + delay { (true, None) } else { (false, Some(life.born + delay)) };
        if life.is_router {
            let serves = self.shared.seen().routers.get(&life.name).is_some_and(RouterPage::serves);
            return if serves { after(ROUTER_START) } else { (false, None) };
        }
        // Nothing is served before it is known what: the pods may be seen before their revision.
        let Some((version, _)) = self.world.model(&life.revision) else { return (false, None) };
        match self.shared.script().model(&version).ready {
            Ready::After(delay) => after(delay),
            Ready::Never => (false, None),
            Ready::Flapping(period) => {
                let turns = (now - life.born).as_millis() / period.as_millis().max(1);
                let next = u32::try_from(turns + 1).unwrap_or(u32::MAX);
                (turns % 2 == 1, Some(life.born + period * next))
            }
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn write_status(&self, name: &str, status: &Value) -> kube::Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods().patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// A pod of a Deployment, as it is created.
pub(super) fn pod(deployment: &Deployment, spec: &DeploymentSpec, name: &str) -> kube::Result<Pod> {
    let meta = spec.template.metadata.clone().unwrap_or_default();
    let mut pod_spec = spec.template.spec.clone().unwrap_or_default();
    // A pod without a node has no grace: the API server removes it at once.
    pod_spec.node_name = Some(NODE.into());
    let pod = json!({
        "metadata": {
            "name": name, "labels": meta.labels, "annotations": meta.annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "controller": true,
                "name": deployment.name_any(), "uid": deployment.uid().unwrap_or_default(),
            }],
        },
        "spec": pod_spec,
    });
    serde_json::from_value(pod).map_err(kube::Error::SerdeError)
}

/// The status of a running pod.
pub(super) fn status(ip: IpAddr, is_ready: bool) -> Value {
    let ip = ip.to_string();
    let ready = if is_ready { "True" } else { "False" };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .into_iter()
        .map(|kind| {
            let status = if kind.ends_with("Ready") { ready } else { "True" };
            json!({"type": kind, "status": status, "lastTransitionTime": now})
        })
        .collect();
    json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "127.0.0.1",
        "startTime": now, "conditions": conditions,
    })
}

/// A loopback address of its own, with the admin port listening.
pub(super) async fn address() -> (TcpListener, SocketAddr) {
    let mut random = StdRng::from_os_rng();
    loop {
        let [b, c, d]: [u8; 3] = rand::Rng::random(&mut random);
        // 127.0.0.x is where other programs live.
        let address = SocketAddr::from(([127, b.max(1), c, d.clamp(1, 254)], wire::endpoint::ADMIN_PORT));
        if let Ok(listener) = TcpListener::bind(address).await {
            return (listener, address);
        }
    }
}
