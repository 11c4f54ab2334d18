//! One loop over all that a node and its controllers do: look at the objects, bring one step forward what is
//! behind, wait for a change or for the next instant of the script.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::kubelet::Life;
use super::world::World;
use super::{Shared, garbage, slices};

/// Longest sleep: what the script or a lost write needs is looked at this often.
const REST: Duration = Duration::from_millis(200);

/// The controllers of one namespace.
pub(super) struct Controllers {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) world: World,
    pub(super) shared: Shared,
    /// The pods made here, by name: the watch may not show them yet.
    pub(super) pods: BTreeMap<String, Life>,
    /// How many pods each owner had so far, by uid.
    pub(super) made: BTreeMap<String, usize>,
}

impl Controllers {
    pub(super) fn new(client: Client, namespace: &str, world: World, shared: Shared) -> Self {
        let namespace = namespace.to_owned();
        Self { client, namespace, world, shared, pods: BTreeMap::new(), made: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = self.pass().await.min(Instant::now() + REST);
            let changed = self.shared.changed.clone();
            tokio::select! {
                () = self.world.changed() => {}
                () = changed.notified() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// One look at everything; says when time alone changes something.
    async fn pass(&mut self) -> Instant {
        self.bury();
        for deployment in self.world.all::<Deployment>() {
            if deployment.metadata.deletion_timestamp.is_none()
                && let Err(error) = self.deployment(&deployment).await
            {
                self.complain("Deployment", &deployment.name_any(), &error);
            }
        }
        // Before readiness: a ready pod's pages are read at once.
        self.routers();
        let next = self.tend().await;
        if let Err(error) = slices::write(self).await {
            self.complain("EndpointSlice", "all", &error);
        }
        garbage::collect(self).await;
        next
    }

    /// What the Deployment controller does: pods of the present template, one old pod replaced by each that
    /// is ready, surplus ones deleted.
    async fn deployment(&mut self, deployment: &Deployment) -> kube::Result<()> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let uid = deployment.uid().unwrap_or_default();
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        let template = hash(&spec.template);
        let mine = |life: &&Life| life.owner == uid && life.ending.is_none();
        let (fresh, old): (Vec<&Life>, Vec<&Life>) =
            self.pods.values().filter(mine).partition(|life| life.template == template);
        let ready = fresh.iter().filter(|life| life.ready).count();

        // Those that are not ready go first, then the youngest.
        let mut surplus: Vec<&Life> = fresh.clone();
        surplus.sort_by_key(|life| (life.ready, std::cmp::Reverse(life.born)));
        surplus.truncate(fresh.len().saturating_sub(wanted));
        let replaced = (ready + old.len()).saturating_sub(wanted).min(old.len());
        let doomed: Vec<String> =
            surplus.into_iter().chain(old.into_iter().take(replaced)).map(|life| life.name.clone()).collect();

        let missing = wanted.saturating_sub(fresh.len());
        for name in doomed {
            self.delete_pod(&name, None).await?;
        }
        for _ in 0..missing {
            self.make_pod(deployment, &template).await?;
        }
        self.deployment_status(deployment, &uid, &template).await
    }

    async fn deployment_status(
        &self,
        deployment: &Deployment,
        uid: &str,
        template: &str,
    ) -> kube::Result<()> {
        let pods: Vec<&Life> = self.pods.values().filter(|l| l.owner == uid && l.ending.is_none()).collect();
        let count = |test: fn(&Life) -> bool| i32::try_from(pods.iter().filter(|l| test(l)).count()).ok();
        let (all, ready) = (count(|_| true), count(|l| l.ready));
        let updated = i32::try_from(pods.iter().filter(|l| l.template == template).count()).ok();
        let seen = deployment.status.clone().unwrap_or_default();
        let nothing = |n: Option<i32>| n.filter(|n| *n > 0);
        let wanted = DeploymentStatus {
            observed_generation: deployment.metadata.generation,
            replicas: nothing(all),
            ready_replicas: nothing(ready),
            available_replicas: nothing(ready),
            updated_replicas: nothing(updated),
            ..seen.clone()
        };
        if wanted == seen {
            return Ok(());
        }
        // A merge patch removes what is null: counts that fell to 0.
        let patch = json!({"status": {
            "observedGeneration": wanted.observed_generation,
            "replicas": wanted.replicas, "readyReplicas": wanted.ready_replicas,
            "availableReplicas": wanted.available_replicas, "updatedReplicas": wanted.updated_replicas,
        }});
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Complains, but not about what is gone or was changed by another: the next pass sees it.
    pub(super) fn complain(&self, kind: &str, name: &str, error: &kube::Error) {
        let expected = matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
        if !expected {
            tracing::warn!(namespace = %self.namespace, kind, name, %error, "the hollow cluster");
        }
    }
}

/// Tells templates apart.
pub(super) fn hash(template: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(template).unwrap_or_default();
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
