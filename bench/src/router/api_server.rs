//! The part of the Kubernetes API that a router uses, list and watch of two kinds, with the objects of one deployment.
//! It runs in this process, so that the moment in which an event leaves it is known.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Namespace and name of the deployment.
pub(super) const NAMESPACE: &str = "prod";
pub(super) const NAME: &str = "digits";
/// Watch events that a slow reader may lag behind; beyond that its watch ends, and it lists again.
const BEHIND: usize = 256;

/// The fake API server; it ends when this is dropped.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    routes: Kind,
    slices: Kind,
    _runtime: tokio::runtime::Runtime,
}

/// What an EndpointSlice says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Ready,
    Terminating,
}

#[derive(Clone)]
struct Kind {
    kind: &'static str,
    api_version: &'static str,
    store: Arc<Mutex<Store>>,
}

struct Store {
    objects: BTreeMap<String, Value>,
    /// All that ever happened: event n has the resource version n + 1. The first one is empty, because an
    /// empty list has a version too.
    log: Vec<String>,
    events: broadcast::Sender<String>,
}

impl ApiServer {
    pub(super) fn start() -> Result<Self> {
        let routes = Kind::new("ModelRoute", "sluice.dev/v1alpha1");
        let slices = Kind::new("EndpointSlice", "discovery.k8s.io/v1");
        let path =
            |kind: &Kind, plural| format!("/apis/{}/namespaces/{NAMESPACE}/{plural}", kind.api_version);
        let app = axum::Router::new()
            .route(&path(&routes, "modelroutes"), get(list).with_state(routes.clone()))
            .route(&path(&slices, "endpointslices"), get(list).with_state(slices.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            // It never ends by itself; a router that finds it gone says so.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, routes, slices, _runtime: runtime })
    }

    /// Puts the ModelRoute.
    pub(super) fn put_route(&self, route: Value) {
        self.routes.put(NAME, route);
    }

    /// Puts the EndpointSlice of a Service.
    pub(super) fn put_slice(&self, service: &str, pods: &[(SocketAddr, Condition)]) {
        let endpoint = |(address, condition): &(SocketAddr, Condition)| {
            let (ready, terminating) = (*condition == Condition::Ready, *condition == Condition::Terminating);
            let conditions =
                json!({"ready": ready, "serving": ready || terminating, "terminating": terminating});
            json!({"addresses": [address.ip()], "conditions": conditions})
        };
        let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
        let port = pods.first().map_or(0, |(address, _)| address.port());
        let labels = json!({"kubernetes.io/service-name": service, "sluice.dev/deployment": NAME});
        let slice = json!({
            "metadata": {"labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        self.slices.put(&format!("{service}-x1"), slice);
    }
}

impl Kind {
    fn new(kind: &'static str, api_version: &'static str) -> Self {
        let (objects, log) = (BTreeMap::new(), vec![String::new()]);
        let store = Store { objects, log, events: broadcast::channel(BEHIND).0 };
        Self { kind, api_version, store: Arc::new(Mutex::new(store)) }
    }

    fn put(&self, name: &str, mut object: Value) {
        object["apiVersion"] = self.api_version.into();
        object["kind"] = self.kind.into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        object["metadata"]["name"] = name.into();
        let mut store = self.store();
        let what = if store.objects.contains_key(name) { "MODIFIED" } else { "ADDED" };
        object["metadata"]["resourceVersion"] = (store.log.len() + 1).to_string().into();
        let line = format!("{}\n", json!({"type": what, "object": object}));
        store.log.push(line.clone());
        // Nobody watches yet: whoever begins to gets it from the list.
        let _ = store.events.send(line);
        store.objects.insert(name.to_owned(), object);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn list(State(kind): State<Kind>, Query(query): Query<HashMap<String, String>>) -> Response {
    let store = kind.store();
    if !query.contains_key("watch") {
        let items: Vec<&Value> = store.objects.values().collect();
        let metadata = json!({"resourceVersion": store.log.len().to_string()});
        let kind_of_list = format!("{}List", kind.kind);
        let (api_version, kind) = (kind.api_version, kind_of_list);
        return Json(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items}))
            .into_response();
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(from), seconds) = (number("resourceVersion"), number("timeoutSeconds").unwrap_or(300)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds as u64);
    let missed = store.log.get(from..).unwrap_or_default().concat();
    let events =
        futures::stream::unfold((missed, store.events.subscribe()), move |(missed, mut events)| async move {
            let line = if missed.is_empty() {
                tokio::time::timeout_at(end, events.recv()).await.ok()?.ok()?
            } else {
                missed
            };
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), (String::new(), events)))
        });
    Body::from_stream(events).into_response()
}
