//! The router under test: its own program, by its command line and its ports alone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wire::{Page, RouteReport, SLOTS, endpoint};

use super::PROXY_CORE;
use super::api_server::{ApiServer, Condition, NAME, NAMESPACE};
use super::client::USER;
use super::contestants::{CANDIDATE, STABLE, Stand, local};
use crate::http::page;
use crate::process::{Program, pinned};

/// Longest time until it serves a table.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any run opens (the default is for pods with little memory).
const CONNECTIONS: &str = "2000";

/// Where one router listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// A state of the route table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) generation: u64,
    /// Slots of the candidate, of 10,000.
    pub(super) candidate: u16,
    /// Percent of stable's requests that are copied to the candidate.
    pub(super) copied: u8,
}

/// What is done with it.
pub(super) struct Sluice;

impl Sluice {
    pub(super) const FIRST: Ports = Ports { listen: local(18205), admin: local(18206) };
    pub(super) const SECOND: Ports = Ports { listen: local(18208), admin: local(18209) };

    /// Puts the first table and both servers.
    pub(super) fn prepare(api: &ApiServer) {
        api.put_slice("stable", &[(STABLE, Condition::Ready)]);
        api.put_slice("candidate", &[(CANDIDATE, Condition::Ready)]);
        api.put_route(Route::FIRST.object());
    }

    /// Starts a router, and waits until it serves a table.
    pub(super) fn start(stand: &Stand, name: &str, ports: Ports) -> Result<Program> {
        let mut command = pinned(PROXY_CORE, &stand.paths.router());
        Self::configure(&mut command, stand, name, ports)?;
        let program = Program::start(name, command, stand.folder.path())?.listening(ports.listen)?;
        Self::ready(ports, PATIENCE).with_context(|| program.last_words())?;
        Ok(program)
    }

    /// Adds arguments and environment of a router to a command.
    pub(super) fn configure(
        command: &mut std::process::Command,
        stand: &Stand,
        name: &str,
        ports: Ports,
    ) -> Result<()> {
        let config = stand.folder.path().join(format!("{name}.kubeconfig"));
        let server = format!("http://{}", stand.api.address);
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&config, content.to_string())?;
        command
            .args(["--namespace", NAMESPACE, "--route", NAME, "--max-connections", CONNECTIONS])
            .args(["--listen", &ports.listen.to_string(), "--admin", &ports.admin.to_string()])
            .env("KUBECONFIG", config)
            .env("HOSTNAME", name)
            .env("SLUICE_LOG", "warn");
        Ok(())
    }

    /// Waits until a router serves.
    pub(super) fn ready(ports: Ports, patience: Duration) -> Result<()> {
        let start = Instant::now();
        while page(ports.admin, "/readyz").ok().is_none_or(|(status, _)| status != 200) {
            ensure!(start.elapsed() < patience, "the router is not ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Puts a table, and waits until a router serves it.
    pub(super) fn serve(api: &ApiServer, ports: Ports, route: Route) -> Result<()> {
        api.put_route(route.object());
        let start = Instant::now();
        while Self::report(ports)?.state.generation != route.generation as i64 {
            ensure!(start.elapsed() < PATIENCE, "the router does not serve {route:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn report(ports: Ports) -> Result<RouteReport> {
        let (_, text) = page(ports.admin, endpoint::ROUTE)?;
        serde_json::from_str(&text).with_context(|| format!("{}: {text:?}", endpoint::ROUTE))
    }

    /// Attempts of a router after the first one, by which a request went on.
    pub(super) fn retries(ports: Ports) -> Result<u64> {
        let (_, text) = page(ports.admin, "/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix("sluice_router_retries_total "));
        line.and_then(|number| number.parse().ok()).context("sluice_router_retries_total in /metrics")
    }

    /// What a router has counted.
    pub(super) fn evidence(ports: Ports) -> Result<Page> {
        let (_, text) = page(ports.admin, endpoint::EVIDENCE)?;
        Page::parse(&text).with_context(|| format!("{}: {text:?}", endpoint::EVIDENCE))
    }
}

impl Route {
    /// A tenth for the candidate, as all contestants split.
    pub(super) const FIRST: Self = Self { generation: 1, candidate: SLOTS / 10, copied: 0 };

    /// The object, with sticky users and one retry, as the operator writes it.
    pub(super) fn object(self) -> Value {
        let (candidate, all) = (self.candidate, SLOTS);
        let slots = |from, to| if from < to { json!([{"from": from, "to": to}]) } else { json!([]) };
        let mut spec = json!({
            "revisions": [
                {"name": "stable", "service": "stable", "slots": slots(candidate, all)},
                {"name": "candidate", "service": "candidate", "slots": slots(0, candidate)},
            ],
            "stable": "stable", "candidate": "candidate",
            "sticky": {"header": USER}, "salt": "bench-1", "requestTimeout": "10s", "retry": true,
        });
        if self.copied > 0 {
            spec["mirror"] = json!({"revision": "candidate", "percent": self.copied});
        }
        json!({"metadata": {"uid": "uid-1", "generation": self.generation}, "spec": spec})
    }
}
