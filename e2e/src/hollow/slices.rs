//! What the EndpointSlice controller does. The API server refuses loopback addresses in slices, so each pod
//! gets one of 198.18.0.0/15 there (K6).

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::controllers::Controllers;

/// Writes the slice of each Service that selects pods.
pub(super) async fn write(controllers: &Controllers) -> kube::Result<()> {
    let api: Api<EndpointSlice> = Api::namespaced(controllers.client.clone(), &controllers.namespace);
    let (pods, slices) = (controllers.world.all::<Pod>(), controllers.world.all::<EndpointSlice>());
    for service in controllers.world.all::<Service>() {
        if service.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let Some(slice) = slice(&service, &pods) else { continue };
        let name = format!("{}-hollow", service.name_any());
        let known = slices.iter().find(|s| s.name_any() == name);
        if known.is_some_and(|known| same(known, &slice)) {
            continue;
        }
        api.patch(&name, &PatchParams::apply("hollow").force(), &Patch::Apply(&slice)).await?;
    }
    Ok(())
}

fn slice(service: &Service, pods: &[Pod]) -> Option<Value> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let chosen = pods.iter().filter(|pod| selector.iter().all(|(k, v)| pod.labels().get(k) == Some(v)));
    let endpoints: Vec<Value> = chosen.filter_map(endpoint).collect();
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .flatten()
        .map(|port| json!({"name": port.name.clone().unwrap_or_default(), "port": port.port, "protocol": "TCP"}))
        .collect();
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{}-hollow", service.name_any()),
            "labels": {"kubernetes.io/service-name": service.name_any()},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service.name_any(), "uid": service.uid(),
            }],
        },
        "endpoints": endpoints, "ports": ports,
    }))
}

fn endpoint(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref()?;
    let ip: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    let IpAddr::V4(ip) = ip else { return None };
    let [_, b, c, d] = ip.octets();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let ending = pod.metadata.deletion_timestamp.is_some();
    Some(json!({
        "addresses": [Ipv4Addr::new(198, 18 | (b & 1), c, d).to_string()],
        "conditions": {"ready": ready && !ending, "serving": ready, "terminating": ending},
        "targetRef": {"kind": "Pod", "name": pod.name_any(), "uid": pod.uid()},
    }))
}

/// Whether the slice says this already.
fn same(known: &EndpointSlice, wanted: &Value) -> bool {
    let known = serde_json::to_value(known).unwrap_or_default();
    let part = |value: &Value| value.get("endpoints").filter(|e| !e.is_null()).cloned().unwrap_or(json!([]));
    part(&known) == part(wanted)
}
