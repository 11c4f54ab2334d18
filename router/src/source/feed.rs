//! Turns events into tables.

use std::collections::HashMap;
use std::sync::Arc;

use admin::{Gate, Readiness};
use api::ModelRoute;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::endpoints::endpoints_of;
use crate::{Board, Table};

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
    slices: HashMap<String, EndpointSlice>,
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
            slices: HashMap::new(),
            listing: None,
            seen: false,
            lost: [false; 2],
            waiting: [Some(readiness.wait_for("route")), Some(readiness.wait_for("endpoints"))],
        }
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
            Ok(route) => Table::new(&route).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match table {
            Ok(table) => {
                let changed = self.table.as_ref().is_none_or(|t| t.state != table.state);
                if changed {
                    let (state, unknown_pin) = (&table.state, table.unknown_pin.as_deref());
                    tracing::info!(generation = state.generation, pin = ?state.pin, unknown_pin, "new table");
                }
                self.table = Some(Arc::new(table));
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
        if let Some(table) = &self.table {
            self.board.install(table.clone(), &endpoints_of(self.slices.values()));
        }
    }
}
