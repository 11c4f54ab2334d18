//! What the chart's uninstall hook does: `helm uninstall` never stops serving (K7).

use anyhow::Context as _;
use api::{ModelDeployment, names};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

/// Removes the ClusterRole that routers read their table with, unless a ModelDeployment still needs it.
///
/// # Errors
/// When the API server does not answer, or does not let us.
pub async fn release_routers() -> anyhow::Result<()> {
    let client =
        Client::try_default().await.context("no API server: neither in a cluster nor a kubeconfig")?;
    let deployments: Api<ModelDeployment> = Api::all(client.clone());
    let served = deployments.list_metadata(&ListParams::default().limit(1)).await;
    let one = match served {
        Ok(list) => list.items.into_iter().next(),
        // Without the definition there is no object of it.
        Err(kube::Error::Api(status)) if status.is_not_found() => None,
        Err(error) => return Err(error).context("ModelDeployments cannot be listed"),
    };
    let role = names::ROUTER_ROLE;
    if let Some(one) = one {
        let name = one.metadata.name.unwrap_or_default();
        tracing::warn!(
            "ClusterRole {role} is kept: ModelDeployments are still served, {name} is one of them"
        );
        return Ok(());
    }
    let roles: Api<ClusterRole> = Api::all(client);
    match roles.delete(role, &DeleteParams::default()).await {
        Ok(_) => tracing::info!("ClusterRole {role} is removed: no ModelDeployment is left"),
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => return Err(error).with_context(|| format!("ClusterRole {role} cannot be removed")),
    }
    Ok(())
}
