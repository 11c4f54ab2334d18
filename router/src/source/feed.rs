//! Turns events into tables.

use std::collections::HashMap;
use std::sync::Arc;

use admin::{Gate, Readiness};
use api::ModelRoute;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use wire::RouteState;

use crate::cache::Kept;
use crate::endpoints::endpoints_of;
use crate::{Board, Endpoints, Table};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Route,
    Slices,
}

/// All that was seen so far.
pub(super) struct Feed {
    name: String,
    board: Arc<Board>,
    readiness: Readiness,
    table: Option<Arc<Table>>,
    /// What the table is of.
    route: Option<ModelRoute>,
    slices: HashMap<String, EndpointSlice>,
    /// Endpoints from the disk, until there is a list.
    kept: Option<Endpoints>,
    /// Where tables are kept.
    keep: watch::Sender<Option<Arc<Kept>>>,
    /// A list that is not complete yet.
    listing: Option<HashMap<String, EndpointSlice>>,
    /// Whether the list that is under way had the route.
    seen: bool,
    lost: [bool; 2],
    waiting: [Option<Gate>; 2],
}

impl Feed {
    pub(super) fn new(name: &str, board: Arc<Board>, readiness: &Readiness) -> Self {
        Self {
            name: name.to_owned(),
            board,
            readiness: readiness.clone(),
            table: None,
            route: None,
            slices: HashMap::new(),
            kept: None,
            keep: watch::Sender::new(None),
            listing: None,
            seen: false,
            lost: [false; 2],
            waiting: [Some(readiness.wait_for("route")), Some(readiness.wait_for("endpoints"))],
        }
    }

    /// Where the tables go that are to be kept.
    pub(super) fn keep(&self) -> watch::Receiver<Option<Arc<Kept>>> {
        self.keep.subscribe()
    }

    /// Begins with a table from the disk: with it this router is ready.
    pub(super) fn begin_with(&mut self, kept: Kept) {
        let table = match Table::new(&kept.route) {
            Ok(table) => table,
            Err(error) => return tracing::warn!(%error, "the table on disk is not one that can be obeyed"),
        };
        let RouteState { generation, pin, .. } = &table.state;
        tracing::warn!(
            generation,
            ?pin,
            "serving the table that was kept on disk until the API server answers"
        );
        self.board.install_kept(table, &kept.endpoints);
        self.kept = Some(kept.endpoints);
        self.waiting.iter_mut().filter_map(Option::take).for_each(Gate::done);
    }

    pub(super) fn route(&mut self, event: Event<DeserializeGuard<ModelRoute>>) {
        match event {
            Event::Init => {
                self.seen = false;
                return;
            }
            Event::InitApply(route) => {
                self.seen = true;
                self.take(route);
            }
            Event::Apply(route) => self.take(route),
            Event::InitDone if self.seen => {}
            // Uninstalling never stops serving (K7).
            Event::Delete(_) | Event::InitDone if self.table.is_some() => {
                tracing::warn!(route = self.name, "the ModelRoute is gone: its last table stays");
            }
            Event::Delete(_) | Event::InitDone => {
                tracing::info!(route = self.name, "there is no such ModelRoute yet");
            }
        }
        self.found(What::Route);
    }

    pub(super) fn slices(&mut self, event: Event<EndpointSlice>) {
        let name = |slice: &EndpointSlice| slice.metadata.name.clone().unwrap_or_default();
        match event {
            Event::Init => {
                self.listing = Some(HashMap::new());
                return;
            }
            Event::InitApply(slice) => {
                self.listing.get_or_insert_default().insert(name(&slice), slice);
                return;
            }
            Event::InitDone => {
                self.slices = self.listing.take().unwrap_or_default();
                self.kept = None;
                if let Some(gate) = self.waiting[What::Slices as usize].take() {
                    gate.done();
                }
            }
            Event::Apply(slice) => {
                self.slices.insert(name(&slice), slice);
            }
            Event::Delete(slice) => {
                self.slices.remove(&name(&slice));
            }
        }
        self.found(What::Slices);
        self.install();
    }

    pub(super) fn lost(&mut self, what: What, error: &kube::runtime::watcher::Error) {
        if !std::mem::replace(&mut self.lost[what as usize], true) {
            tracing::warn!(?what, %error, "the API server does not answer: the last table and endpoints stay");
        }
        self.board.set_stale(true);
    }

    fn found(&mut self, what: What) {
        if std::mem::replace(&mut self.lost[what as usize], false) {
            tracing::info!(?what, "the API server answers again");
        }
        self.board.set_stale(self.lost.contains(&true));
    }

    fn take(&mut self, route: DeserializeGuard<ModelRoute>) {
        let table = match route.0 {
            Ok(route) => Table::new(&route).map(|table| (route, table)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match table {
            Ok((route, table)) => {
                let changed = self.table.as_ref().is_none_or(|t| t.state != table.state);
                if changed {
                    let (state, unknown_pin) = (&table.state, table.unknown_pin.as_deref());
                    tracing::info!(generation = state.generation, pin = ?state.pin, unknown_pin, "new table");
                }
                self.table = Some(Arc::new(table));
                self.route = Some(lean(route));
                self.board.set_refused(None);
                if let Some(gate) = self.waiting[What::Route as usize].take() {
                    gate.done();
                }
                self.install();
            }
            Err(reason) => self.refuse(reason),
        }
    }

    fn refuse(&mut self, reason: String) {
        tracing::error!(route = self.name, %reason, "the ModelRoute is not obeyed: the last good table stays");
        let gate = &mut self.waiting[What::Route as usize];
        if let Some(old) = gate.take() {
            *gate = Some(self.readiness.wait_for(format!("route ({reason})")));
            old.done();
        }
        self.board.set_refused(Some(reason));
    }

    fn install(&self) {
        let (Some(table), Some(route)) = (&self.table, &self.route) else { return };
        let endpoints = self.kept.clone().unwrap_or_else(|| endpoints_of(self.slices.values()));
        self.board.install(table.clone(), &endpoints);
        self.keep.send_replace(Some(Arc::new(Kept { route: route.clone(), endpoints })));
    }
}

/// What a table is made of, without what others say of the object.
fn lean(mut route: ModelRoute) -> ModelRoute {
    route.metadata.managed_fields = None;
    route
}
