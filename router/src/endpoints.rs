//! What EndpointSlices say of the pods behind a Service.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde::{Deserialize, Serialize};

/// Label on an EndpointSlice: its Service.
pub(crate) const SERVICE: &str = "kubernetes.io/service-name";

/// Condition of an endpoint; the first is the best, and wins when slices disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    /// Takes requests.
    Ready,
    /// About to stop, still answers.
    Leaving,
    /// About to stop, answers no more.
    Gone,
    /// Not ready, and not about to stop.
    Unready,
}

/// One endpoint of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its condition.
    pub condition: Condition,
}

/// Endpoints by name of their Service.
pub type Endpoints = BTreeMap<String, Vec<EndpointStatus>>;

/// Collects the endpoints of all slices. The port is the slice's first one, or that of model servers. While
/// slices are rewritten an address may be in two of them; the better condition counts.
#[must_use]
pub fn endpoints_of<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Endpoints {
    let mut found: BTreeMap<&str, BTreeMap<SocketAddr, Condition>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE)) else { continue };
        let port = slice.ports.iter().flatten().find_map(|p| p.port).and_then(|p| u16::try_from(p).ok());
        let port = port.unwrap_or(wire::endpoint::SERVER_PORT);
        let addresses = found.entry(service).or_default();
        for endpoint in &slice.endpoints {
            // Consumers shall use the first address only; all of them reach the same pod.
            let ip = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok());
            let Some(ip) = ip else { continue };
            let condition = condition(endpoint);
            let known = addresses.entry(SocketAddr::new(ip, port)).or_insert(condition);
            *known = condition.min(*known);
        }
    }
    let list = |known: BTreeMap<_, _>| {
        known.into_iter().map(|(address, condition)| EndpointStatus { address, condition }).collect()
    };
    found.into_iter().map(|(service, known)| (service.to_owned(), list(known))).collect()
}

fn condition(endpoint: &Endpoint) -> Condition {
    let Some(conditions) = &endpoint.conditions else { return Condition::Ready };
    let ready = conditions.ready.unwrap_or(true);
    if conditions.terminating.unwrap_or(false) {
        let serving = conditions.serving.unwrap_or(ready);
        return if serving { Condition::Leaving } else { Condition::Gone };
    }
    if ready { Condition::Ready } else { Condition::Unready }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(service: &str, endpoints: &serde_json::Value) -> EndpointSlice {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "x", "labels": {SERVICE: service}},
            "addressType": "IPv4", "ports": [{"port": 8000}], "endpoints": endpoints,
        }))
        .unwrap()
    }

    #[test]
    fn conditions_are_told_apart_and_the_better_one_counts() {
        let a = slice(
            "a",
            &serde_json::json!([
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": false, "terminating": true}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.5"]},
                {"addresses": ["not an address"]},
            ]),
        );
        let again =
            slice("a", &serde_json::json!([{"addresses": ["10.0.0.4"], "conditions": {"ready": true}}]));
        let found = endpoints_of([&a, &again, &slice("b", &serde_json::json!([]))]);
        let conditions: Vec<_> = found["a"].iter().map(|e| e.condition).collect();
        use Condition::{Gone, Leaving, Ready};
        assert_eq!(conditions, [Ready, Leaving, Gone, Ready, Ready]);
        assert_eq!(found["a"][0].address, "10.0.0.1:8000".parse().unwrap());
        assert!(found["b"].is_empty());
    }
}
