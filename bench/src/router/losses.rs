//! R6: requests that are lost while servers and routers restart or are killed. No client sends anything twice.
//!
//! Servers and the router's EndpointSlices are played as a Deployment does it, but harsher: SIGTERM comes with the change
//! of the slice and not some seconds later, and that a server was killed is known half a second late. Clients reach
//! routers as through a Service: new connections go to the one that is ready.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::Bench;
use super::api_server::Condition;
use super::contestants::{self, Peer, Stand};
use super::load::{Load, Plan, Target};
use super::sluice::{Ports, Route, Sluice};
use crate::process::Program;

const CLIENTS: u64 = 16;
const PODS: usize = 3;
/// Between two events.
const PAUSE: Duration = Duration::from_millis(300);
/// Until the slice says that a killed server is gone.
const LATE: Duration = Duration::from_millis(500);
/// Time for all requests.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server of stable.
struct Pod {
    address: SocketAddr,
    condition: Condition,
    program: Program,
}

/// Servers, and the routers in front of them.
struct Cluster {
    stand: Stand,
    pods: Vec<Pod>,
    /// Pods that were ever started: each has an address of its own.
    started: u8,
    router: Option<(Program, Ports)>,
    target: Target,
    events: Events,
}

#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
struct Events {
    restarted: u32,
    killed: u32,
    routers: u32,
    /// Requests that routers sent to another server, because the first had gone.
    again: u64,
}

pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let requests = bench.report.of(1_000_000, 100_000);
    eprintln!("losses: {requests} requests");
    let mut cluster = Cluster::start(bench)?;
    let plan = Plan { requests, time: PATIENCE, ..Plan::new(CLIENTS) };
    let load = Load::start(&cluster.target, &plan);
    let start = Instant::now();
    while !load.is_over() {
        for _ in 0..PODS {
            cluster.restart_pod()?;
        }
        cluster.kill_pod()?;
        cluster.restart_router()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let seen = load.finish();
    if let Some((_, ports)) = &cluster.router {
        cluster.events.again += Sluice::retries(*ports)?;
    }
    let Events { restarted, killed, routers, again } = cluster.events;
    bench.report.say(&format!(
        "\nR6  {CLIENTS} clients beside {restarted} servers that restarted, {killed} that were killed, {routers} routers that were replaced, in {seconds:.0} s"
    ));
    let failed = seen.failed() + seen.moved;
    bench.report.say(&format!(
        "      {failed} of {} requests lost: {}; routers sent {again} to a second server",
        seen.requests(),
        seen.spelt()
    ));
    ensure!(seen.requests() >= requests, "only {} requests within {PATIENCE:?}", seen.requests());
    let found = format!("{failed} of {}", seen.requests());
    bench.report.targets.line("R6 requests lost", &found, &format!("0 of >= {requests}"), failed == 0);
    let spelt = seen.spelt();
    bench.report.keep(
        "r6",
        json!({"requests": seen.requests(), "lost": failed, "how": spelt, "events": cluster.events}),
    )
}

impl Cluster {
    fn start(bench: &Bench) -> Result<Self> {
        let stand = Stand::start(&bench.paths, &[])?;
        let target = Target::new(Peer::Sluice.address());
        let (pods, events) = (vec![], Events::default());
        let mut cluster = Self { stand, pods, started: 0, router: None, target, events };
        for _ in 0..PODS {
            cluster.start_pod()?;
        }
        cluster.stand.api.put_route(Route { generation: 1, candidate: 0, copied: 0 }.object());
        let router = Sluice::start(&cluster.stand, "router-1", Sluice::FIRST)?;
        cluster.router = Some((router, Sluice::FIRST));
        Ok(cluster)
    }

    /// Starts another server, and says so once it listens.
    fn start_pod(&mut self) -> Result<()> {
        self.started = self.started.checked_add(1).unwrap_or(1);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, self.started)), 18110);
        let name = format!("pod-{}", self.started);
        let program = contestants::servers(&self.stand.folder, &name, &[(address, 0)])?;
        self.pods.push(Pod { address, condition: Condition::Ready, program });
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let pods: Vec<_> = self.pods.iter().map(|pod| (pod.address, pod.condition)).collect();
        self.stand.api.put_slice("stable", &pods);
    }

    /// Replaces the oldest server, one more first.
    fn restart_pod(&mut self) -> Result<()> {
        self.start_pod()?;
        sleep(PAUSE);
        self.pods[0].condition = Condition::Terminating;
        self.publish();
        let old = self.pods.remove(0);
        old.program.stop()?;
        self.publish();
        self.events.restarted += 1;
        sleep(PAUSE);
        Ok(())
    }

    /// Kills the oldest server in the midst of its requests.
    fn kill_pod(&mut self) -> Result<()> {
        self.pods.remove(0).program.kill();
        sleep(LATE);
        self.publish();
        self.start_pod()?;
        self.events.killed += 1;
        sleep(PAUSE);
        Ok(())
    }

    /// Starts another router, sends new connections there, and stops the old one.
    fn restart_router(&mut self) -> Result<()> {
        let Some((old, ports)) = self.router.take() else { return Ok(()) };
        let next = if ports == Sluice::FIRST { Sluice::SECOND } else { Sluice::FIRST };
        let name = format!("router-{}", self.events.routers + 2);
        self.router = Some((Sluice::start(&self.stand, &name, next)?, next));
        self.target.set(next.listen);
        self.events.again += Sluice::retries(ports)?;
        old.stop()?;
        self.events.routers += 1;
        sleep(PAUSE);
        Ok(())
    }
}
