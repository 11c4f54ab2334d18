//! The part of the Kubernetes API that a router uses: list and watch of two kinds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::broadcast;

#[derive(Clone)]
struct Kind {
    kind: &'static str,
    api_version: &'static str,
    /// The selector that a router must use.
    selector: (&'static str, &'static str),
    store: Arc<Mutex<Store>>,
}

struct Store {
    objects: HashMap<String, Value>,
    /// All that ever happened: event n has the resource version n + 1. The first one is empty, because an
    /// empty list has a version too.
    log: Vec<String>,
    events: broadcast::Sender<String>,
}

/// A fake API server. Its objects outlive [`ApiServer::stop`].
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    routes: Kind,
    slices: Kind,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        let kind = |kind, api_version, selector| Kind {
            kind,
            api_version,
            selector,
            store: Arc::new(Mutex::new(Store {
                objects: HashMap::new(),
                log: vec![String::new()],
                events: broadcast::channel(64).0,
            })),
        };
        let mut server = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            routes: kind("ModelRoute", "sluice.dev/v1alpha1", ("fieldSelector", "metadata.name=digits")),
            slices: kind(
                "EndpointSlice",
                "discovery.k8s.io/v1",
                ("labelSelector", "sluice.dev/deployment=digits"),
            ),
            runtime: None,
        };
        server.resume();
        server
    }

    /// Goes away with all its connections.
    pub(crate) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Comes back at the same address.
    pub(crate) fn resume(&mut self) {
        let listener = loop {
            match std::net::TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let path = |kind: &Kind, plural| format!("/apis/{}/namespaces/prod/{plural}", kind.api_version);
        let app = Router::new()
            .route(&path(&self.routes, "modelroutes"), get(list).with_state(self.routes.clone()))
            .route(&path(&self.slices, "endpointslices"), get(list).with_state(self.slices.clone()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    pub(crate) fn put_route(&self, route: Value) {
        self.routes.put(route);
    }

    pub(crate) fn delete_route(&self, name: &str) {
        self.routes.delete(name);
    }

    /// Puts an EndpointSlice of a Service: addresses with their conditions.
    pub(crate) fn put_slice(&self, service: &str, port: u16, endpoints: &[(&str, bool, bool)]) {
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|(address, ready, terminating)| {
                json!({"addresses": [address], "conditions": {"ready": ready, "serving": ready, "terminating": terminating}})
            })
            .collect();
        self.slices.put(json!({
            "metadata": {
                "name": format!("{service}-x1"),
                "labels": {"kubernetes.io/service-name": service, "sluice.dev/deployment": "digits"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        }));
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Kind {
    fn put(&self, mut object: Value) {
        object["apiVersion"] = self.api_version.into();
        object["kind"] = self.kind.into();
        object["metadata"]["namespace"] = "prod".into();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut store = self.store.lock().unwrap();
        let what = if store.objects.contains_key(&name) { "MODIFIED" } else { "ADDED" };
        let object = store.tell(what, object);
        store.objects.insert(name, object);
    }

    fn delete(&self, name: &str) {
        let mut store = self.store.lock().unwrap();
        let object = store.objects.remove(name).unwrap();
        store.tell("DELETED", object);
    }
}

impl Store {
    fn tell(&mut self, what: &str, mut object: Value) -> Value {
        object["metadata"]["resourceVersion"] = (self.log.len() + 1).to_string().into();
        let line = format!("{}\n", json!({"type": what, "object": object}));
        self.log.push(line.clone());
        let _ = self.events.send(line);
        object
    }
}

async fn list(State(kind): State<Kind>, Query(query): Query<HashMap<String, String>>) -> Response {
    let (name, selector) = kind.selector;
    assert_eq!(query.get(name).map(String::as_str), Some(selector));
    let store = kind.store.lock().unwrap();
    if !query.contains_key("watch") {
        let items: Vec<Value> = store.objects.values().cloned().collect();
        let list = json!({
            "apiVersion": kind.api_version, "kind": format!("{}List", kind.kind),
            "metadata": {"resourceVersion": store.log.len().to_string()}, "items": items,
        });
        return Json(list).into_response();
    }
    let from: usize = query["resourceVersion"].parse().unwrap();
    let missed = store.log.get(from..).unwrap_or_default().concat();
    let events = futures::stream::unfold((missed, store.events.subscribe()), async |(missed, mut events)| {
        let line = if missed.is_empty() { events.recv().await.ok()? } else { missed };
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), (String::new(), events)))
    });
    Body::from_stream(events).into_response()
}
