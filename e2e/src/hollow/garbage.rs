//! What the garbage collector does: an object goes when its last owner is gone.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject};

use super::controllers::Controllers;

/// Deletes what is owned by objects that were seen to go.
pub(super) async fn collect(controllers: &Controllers) {
    let world = &controllers.world;
    let mut orphans = Vec::new();
    for ((kind, name), object) in &world.objects {
        let owners = object.owner_references();
        let orphaned = !owners.is_empty() && owners.iter().all(|owner| world.gone.contains(&owner.uid));
        if orphaned && object.metadata.deletion_timestamp.is_none() {
            orphans.push((kind.clone(), name.clone(), object.uid()));
        }
    }
    for (kind, name, uid) in orphans {
        let Some(resource) = world.kinds.get(&kind) else { continue };
        let api: Api<DynamicObject> =
            Api::namespaced_with(controllers.client.clone(), &controllers.namespace, resource);
        let mut parameters = DeleteParams::background();
        parameters.preconditions = Some(kube::api::Preconditions { uid, resource_version: None });
        if let Err(error) = api.delete(&name, &parameters).await {
            controllers.complain(&kind, &name, &error);
        }
    }
}
