//! Clients that check every answer. As fast as they are answered, or at a constant rate: then each request has a moment
//! at which it is due, and its latency counts from there, so that a slow answer is not hidden by the requests that had
//! to wait for it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::client::{Request, Revision};
use crate::http::{Connection, Failure, precisely};

/// Where new connections go: as a Service, it may name another router from one moment to the next.
#[derive(Clone)]
pub(super) struct Target(Arc<Mutex<SocketAddr>>);

/// What to send.
#[derive(Clone)]
pub(super) struct Plan {
    /// Clients, each with a connection of its own.
    pub(super) clients: u64,
    /// Requests per second of all clients; as fast as they are answered without it.
    pub(super) rate: Option<f64>,
    /// Requests, at most.
    pub(super) requests: u64,
    /// Time, at most.
    pub(super) time: Duration,
    /// Bytes of a body.
    pub(super) body: usize,
    pub(super) users: Users,
}

/// Whose requests they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    /// Nobody's: each is drawn anew.
    Nobody,
    /// So many users in turn.
    InTurn(u64),
}

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Nanoseconds of each good answer, ascending.
    pub(super) latencies: Vec<u64>,
    /// Good answers of stable and of the candidate.
    pub(super) answers: [u64; 2],
    /// What went wrong, and how often.
    pub(super) failures: BTreeMap<Failure, u64>,
    /// Answers of another revision than the user's last one.
    pub(super) moved: u64,
    /// Who answered each user first.
    pub(super) assigned: HashMap<u64, Revision>,
}

/// Clients that are sending.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Target {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(address)))
    }

    pub(super) fn set(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn get(&self) -> SocketAddr {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// One client that sends 1 KB as fast as it is answered, for ever.
    pub(super) fn new(clients: u64) -> Self {
        let (requests, time) = (u64::MAX, Duration::from_secs(3600));
        Self { clients, rate: None, requests, time, body: 1000, users: Users::InTurn(100) }
    }
}

impl Load {
    pub(super) fn start(target: &Target, plan: &Plan) -> Self {
        let stop = Arc::<AtomicBool>::default();
        // In the future, so that all clients are there.
        let begin = Instant::now() + Duration::from_millis(20);
        let client = |number| {
            let client =
                Client { number, begin, plan: plan.clone(), target: target.clone(), stop: stop.clone() };
            thread::spawn(move || client.run())
        };
        let clients = precisely(|| (0..plan.clients).map(client).collect());
        Self { stop, clients }
    }

    /// Sends nothing more, and waits for the answers that are on their way.
    pub(super) fn stop(self) -> Seen {
        self.stop.store(true, Relaxed);
        self.finish()
    }

    /// Waits until all is sent and answered.
    pub(super) fn finish(self) -> Seen {
        let mut all = Seen::default();
        for client in self.clients {
            all.add(client.join().expect("a client does not panic: it would hide what it counts"));
        }
        all.latencies.sort_unstable();
        all
    }

    pub(super) fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }
}

impl Seen {
    pub(super) fn requests(&self) -> u64 {
        self.answers.iter().sum::<u64>() + self.failed()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// All failures, for people.
    pub(super) fn spelt(&self) -> String {
        let each: Vec<String> = self.failures.iter().map(|(failure, n)| format!("{n} x {failure}")).collect();
        if each.is_empty() { "none".to_owned() } else { each.join(", ") }
    }

    /// An error if anything went wrong: what is measured then is not what it seems.
    pub(super) fn check(&self, who: &str) -> Result<()> {
        ensure!(self.failed() == 0, "{who}: requests failed: {}", self.spelt());
        ensure!(
            self.moved == 0,
            "{who}: {} requests of users went to another version than before",
            self.moved
        );
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.answers[0] += other.answers[0];
        self.answers[1] += other.answers[1];
        self.moved += other.moved;
        other.failures.into_iter().for_each(|(failure, n)| *self.failures.entry(failure).or_default() += n);
        for (user, revision) in other.assigned {
            self.moved += u64::from(*self.assigned.entry(user).or_insert(revision) != revision);
        }
    }

    fn note(&mut self, user: Option<u64>, result: Result<Revision, Failure>, latency: Duration) {
        let revision = match result {
            Ok(revision) => revision,
            Err(failure) => return *self.failures.entry(failure).or_default() += 1,
        };
        self.latencies.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.answers[revision as usize] += 1;
        if let Some(user) = user {
            let before = self.assigned.insert(user, revision);
            self.moved += u64::from(before.is_some_and(|before| before != revision));
        }
    }
}

struct Client {
    number: u64,
    begin: Instant,
    plan: Plan,
    target: Target,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn run(&self) -> Seen {
        let Plan { clients, rate, requests, time, body, users } = self.plan;
        let mut request = match users {
            Users::Nobody => Request::new(body, ""),
            Users::InTurn(_) => Request::of_users(body),
        };
        let mut seen = Seen::default();
        let mut kept = None;
        // Clients take turns: request n is due after n parts of the rate.
        for n in (self.number..requests).step_by(clients as usize) {
            let after = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(n as f64 / rate));
            let due = self.begin + after;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stop.load(Relaxed) || self.begin.elapsed() >= time {
                break;
            }
            let user = match users {
                Users::Nobody => None,
                Users::InTurn(all) => Some(n % all),
            };
            user.iter().for_each(|user| request.set_user(*user));
            let start = if rate.is_some() { due } else { Instant::now() };
            let result = self.ask(&request, &mut kept);
            seen.note(user, result, start.elapsed());
        }
        seen
    }

    /// Sends one request, once, over the connection that was kept, if there is one.
    fn ask(&self, request: &Request, kept: &mut Option<Connection>) -> Result<Revision, Failure> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.target.get())?,
        };
        let answer = request.ask(&mut connection)?;
        if !answer.last {
            *kept = Some(connection);
        }
        Ok(answer.revision)
    }
}
