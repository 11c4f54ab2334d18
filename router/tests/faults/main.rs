//! What must never cost a request: a thousand changes of weights, and pods and routers that are replaced one by one. And
//! what must never cost memory: a shadow that takes large bodies and does not answer. A program of its own, so that it runs
//! when no other test does: it takes all of the processor.

#![allow(clippy::unwrap_used, reason = "all of this is test code, its helpers too")]
#![allow(dead_code, reason = "the helpers are those of the other tests, which use all of them")]

#[path = "../it/rig.rs"]
mod rig;
#[path = "../it/servers.rs"]
mod servers;
#[path = "../it/wire_http.rs"]
mod wire_http;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::{ModelRoute, RouteMirror};
use router::{Condition, EndpointStatus, Limits, slot_of_key};
use tokio::task::JoinSet;
use wire::{Assignment, Outcome, PairOutcome};

use crate::rig::{Rig, in_condition, ready, route, until};
use crate::servers::{Act, Server, ok};
use crate::wire_http::Wire;

/// What clients of the weights test share with it: the share of `b`, behind a number that is odd while it is changed.
#[derive(Default)]
struct Now {
    epoch: AtomicU64,
    share: AtomicU64,
    /// When the newest table was installed, until somebody who asked later was answered.
    changed: Mutex<Option<Instant>>,
    took: Mutex<Vec<Duration>>,
    /// How long requests take at all.
    trips: Mutex<Vec<Duration>>,
    stop: AtomicBool,
}

/// A client with one key. Whatever it asks while no table is changed must be answered by the newest one. It never retries.
async fn user(address: SocketAddr, now: Arc<Now>, user: usize) -> Result<u64, String> {
    let key = format!("user-{user}");
    let slot = u64::from(slot_of_key("digits-1", key.as_bytes()));
    let mut wire = Wire::connect(address).await.map_err(|e| e.to_string())?;
    let mut judged = 0;
    while !now.stop.load(SeqCst) {
        let epoch = now.epoch.load(SeqCst);
        let asked = Instant::now();
        let expected = if slot < now.share.load(SeqCst) { "b" } else { "a" };
        let answer = wire.post(&format!("x-user-id: {key}\r\n"), b"x").await.map_err(|e| e.to_string())?;
        if answer.status() != 200 {
            return Err(format!("{answer:?}"));
        }
        let revision = answer.header("x-sluice-revision").unwrap_or_default();
        if epoch.is_multiple_of(2) && epoch == now.epoch.load(SeqCst) {
            judged += 1;
            if revision != expected {
                return Err(format!("{key} (slot {slot}) got {revision} in epoch {epoch}"));
            }
            // It began after the change, and every change moves this user: an answer by the newest table.
            now.trips.lock().unwrap().push(asked.elapsed());
            if user == 2 {
                let changed = now.changed.lock().unwrap().take();
                now.took.lock().unwrap().extend(changed.map(|at| at.elapsed()));
            }
        }
    }
    Ok(judged)
}

// rule: R1, R3 (user-2 has slot 219: every change moves it, and others as the share has it)
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_of_weights_lose_nothing_and_count_at_once() {
    const CHANGES: u64 = 1_000;
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let mut rig = Rig::start(route(0), ready(&[a.address]), ready(&[b.address])).await;
    let now = Arc::<Now>::default();
    let mut users = JoinSet::new();
    for n in [2, 2, 1, 7] {
        users.spawn(user(rig.address, now.clone(), n));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut installing = Duration::ZERO;
    for change in 0..CHANGES {
        let share: u16 = if change.is_multiple_of(2) {
            rand::random_range(220..=10_000)
        } else {
            rand::random_range(0..=219)
        };
        now.epoch.fetch_add(1, SeqCst);
        now.share.store(share.into(), SeqCst);
        rig.route.spec.revisions = route(share).spec.revisions;
        rig.route.metadata.generation = Some(change as i64 + 2);
        let table = Arc::new(router::Table::new(&rig.route).unwrap());
        let began = Instant::now();
        rig.board.install(table, &rig.endpoints);
        // The swap is the last thing that was done.
        *now.changed.lock().unwrap() = Some(Instant::now());
        installing = installing.max(began.elapsed());
        now.epoch.fetch_add(1, SeqCst);
        // So that each of them is seen; one that is not within a second is a failure.
        let asked = Instant::now();
        while now.changed.lock().unwrap().is_some()
            && asked.elapsed() < Duration::from_secs(1)
            && !users.is_empty()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(now.changed.lock().unwrap().is_none(), "change {change} is not seen");
    }
    now.stop.store(true, SeqCst);
    let judged: u64 = users.join_all().await.into_iter().map(|lost| lost.expect("no error")).sum();
    let sorted = |times: &Mutex<Vec<Duration>>| {
        let mut times = times.lock().unwrap().clone();
        times.sort_unstable();
        times
    };
    let at = |times: &[Duration], q: f64| times[((times.len() - 1) as f64 * q) as usize];
    let (took, trips) = (sorted(&now.took), sorted(&now.trips));
    println!(
        "{CHANGES} changes, {judged} answers held against the newest table; from the swap to the first answer to who asked \
         later: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}; requests at the same time: p50 {:?}, p99.9 {:?}; until the swap at \
         most {installing:?}",
        at(&took, 0.5),
        at(&took, 0.9),
        at(&took, 0.99),
        at(&took, 1.0),
        at(&trips, 0.5),
        at(&trips, 0.999),
    );
    assert!(took.len() as u64 == CHANGES && judged > CHANGES, "{} seen, {judged} judged", took.len());
    // Who asks later waits for its last answer and for the next one: the time of two requests, whatever else this machine
    // does, and 5 ms for the table.
    let most = Duration::from_millis(5) + 2 * at(&trips, 0.999);
    assert!(at(&took, 0.99) < most, "p99 is {:?}, it must be below {most:?}", at(&took, 0.99));
}

/// A Service: where new connections go. As in a cluster it learns of a router that stops only after a while.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<SocketAddr>>>);

impl Service {
    fn pick(&self) -> SocketAddr {
        let all = self.0.lock().unwrap();
        all[rand::random_range(0..all.len())]
    }
}

/// Sends until so many were answered in all. It never retries: a connection that breaks is a lost request.
async fn client(service: Service, sent: Arc<AtomicU64>, most: u64) -> Result<u64, String> {
    let (mut wire, mut answered): (Option<Wire>, u64) = (None, 0);
    while sent.fetch_add(1, SeqCst) < most {
        let mut connection = match wire.take() {
            Some(connection) => connection,
            None => Wire::connect(service.pick()).await.map_err(|e| format!("connect: {e}"))?,
        };
        let answer = connection.post("", &[7; 100]).await.map_err(|e| format!("answer: {e}"))?;
        if answer.status() != 200 {
            return Err(format!("{answer:?} {}", answer.text()));
        }
        answered += 1;
        // Long-lived connections would never meet another router.
        if answer.header("connection") != Some("close") && !answered.is_multiple_of(50) {
            wire = Some(connection);
        }
    }
    Ok(answered)
}

/// What is being rolled.
struct Fleet {
    route: ModelRoute,
    pods: [Vec<Server>; 2],
    routers: Vec<Rig>,
    service: Service,
}

impl Fleet {
    async fn start() -> Self {
        let pods = [vec![pod().await, pod().await], vec![pod().await, pod().await]];
        let mut fleet = Self { route: route(3_000), pods, routers: vec![], service: Service::default() };
        fleet.add_router().await;
        fleet.add_router().await;
        fleet
    }

    fn endpoints(&self, revision: usize) -> Vec<EndpointStatus> {
        ready(&self.pods[revision].iter().map(|pod| pod.address).collect::<Vec<_>>())
    }

    async fn add_router(&mut self) {
        let limits = Limits { quiet: Duration::from_millis(300), ..Limits::default() };
        let rig = Rig::start_with(self.route.clone(), self.endpoints(0), self.endpoints(1), limits).await;
        self.service.0.lock().unwrap().push(rig.address);
        self.routers.push(rig);
    }

    fn tell(&mut self, revision: usize, leaving: &[SocketAddr]) {
        let all = [self.endpoints(revision), in_condition(leaving, Condition::Leaving)].concat();
        for rig in &mut self.routers {
            rig.endpoints.insert(["digits-a", "digits-b"][revision].to_owned(), all.clone());
            rig.install();
        }
    }

    /// Replaces the oldest pod: the new one first. Every second one is killed without a word instead, while it is still in
    /// the table.
    async fn replace_pod(&mut self, revision: usize, killed: bool) {
        let new = pod().await;
        let old = self.pods[revision].remove(0);
        if killed {
            drop(old);
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.pods[revision].push(new);
            return self.tell(revision, &[]);
        }
        self.pods[revision].push(new);
        self.tell(revision, &[old.address]);
        tokio::time::sleep(Duration::from_millis(60)).await;
        self.tell(revision, &[]);
        drop(old);
    }

    /// Replaces the oldest router: the new one first; the Service hears of the old one's end after 100 ms.
    async fn replace_router(&mut self) -> Rig {
        self.add_router().await;
        let mut old = self.routers.remove(0);
        old.stop.take().unwrap().send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.service.0.lock().unwrap().retain(|address| *address != old.address);
        old
    }
}

async fn pod() -> Server {
    Server::start(|n, _| if n.is_multiple_of(97) { Act::After(Duration::from_millis(20)) } else { ok() })
        .await
}

// rule: R6
#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_requests_survive_the_replacement_of_all_pods_and_routers() {
    const REQUESTS: u64 = 50_000;
    let mut fleet = Fleet::start().await;
    let (sent, mut clients) = (Arc::<AtomicU64>::default(), JoinSet::new());
    for _ in 0..8 {
        clients.spawn(client(fleet.service.clone(), sent.clone(), REQUESTS));
    }
    let (mut pods, mut old) = (0, vec![]);
    while sent.load(SeqCst) < REQUESTS {
        for revision in [0, 1] {
            fleet.replace_pod(revision, pods % 4 >= 2).await;
            pods += 1;
        }
        old.push(fleet.replace_router().await);
    }
    let answered: u64 =
        clients.join_all().await.into_iter().map(|lost| lost.expect("no request is lost")).sum();
    assert_eq!(answered, REQUESTS);
    println!("{answered} requests answered, {pods} pods and {} routers replaced, none lost", old.len());
    assert!(pods >= 8 && old.len() >= 4, "{pods} pods, {} routers", old.len());
    let mut counted = 0;
    for rig in old.iter_mut().chain(&mut fleet.routers) {
        let totals = ["a", "b"].map(|revision| rig.counts(revision, Assignment::Split));
        counted += totals.iter().map(wire::Counts::requests).sum::<u64>();
        let errors = [Outcome::Connect, Outcome::Error, Outcome::Timeout, Outcome::Overload];
        assert!(totals.iter().all(|counts| errors.iter().all(|outcome| counts.outcome(*outcome) == 0)));
    }
    assert_eq!(counted, REQUESTS, "and each is counted once");
    for mut rig in old {
        let ended = tokio::time::timeout(Duration::from_secs(5), &mut rig.task).await;
        ended.expect("it ends once nothing is under way").unwrap().unwrap();
    }
}

// rule: C2 (8 MiB is the budget of all copies: as many bodies as fit into it are under way, the others are dropped)
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_takes_large_bodies_and_stalls_holds_no_more_than_the_budget() {
    const BUDGET: usize = 8 << 20;
    for (length, most) in [(2 << 20, 4), (3 << 20, 2), (4 << 20, 2)] {
        let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| Act::Stall).await);
        let mut mirrored = route(0);
        mirrored.spec.mirror = Some(RouteMirror { revision: "b".into(), percent: 100 });
        // Longer than the test: whatever was sent to the shadow is still held when it is counted.
        mirrored.spec.request_timeout = Duration::from_secs(60).into();
        let rig = Rig::start(mirrored, ready(&[a.address]), ready(&[b.address])).await;
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let address = rig.address;
            clients.spawn(async move {
                let (mut wire, body) = (Wire::connect(address).await.unwrap(), vec![7; length]);
                for _ in 0..6 {
                    assert_eq!(wire.post("", &body).await.unwrap().status(), 200);
                }
            });
        }
        clients.join_all().await;
        until("what is sent has arrived", || b.seen().len() as u64 + rig.paired(PairOutcome::Dropped) == 24)
            .await;
        let held = b.seen().iter().map(|copy| copy.body.len()).sum::<usize>();
        println!("bodies of {} MiB: {} copies hold {} MiB", length >> 20, b.seen().len(), held >> 20);
        assert!(held <= BUDGET && (1..=most).contains(&b.seen().len()), "{held} bytes");
        assert_eq!(rig.outcome("a"), Some((Outcome::Ok, 24)), "no user noticed");
    }
}
