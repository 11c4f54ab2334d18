//! Clients whose every answer counts. As fast as they are answered, or at a constant rate: then each request has a moment
//! at which it is due, and its latency counts from there, so that a slow answer is not hidden by the requests that had
//! to wait for it. Nobody asks twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::http::{Connection, Failure, is_last, precisely};
use crate::rounds::quantile;

/// What to send.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Clients, each with a connection of its own.
    pub(super) clients: usize,
    /// Requests per second of all clients; as fast as they are answered without it.
    pub(super) rate: Option<f64>,
    /// Requests, at most.
    pub(super) requests: usize,
    /// Time, at most.
    pub(super) time: Duration,
}

/// Where new connections go: as a Service, it may name another server from one moment to the next.
#[derive(Debug, Clone)]
pub(super) struct Target(Arc<AtomicU16>);

/// What clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Nanoseconds until each good answer, ascending.
    pub(super) good: Vec<u64>,
    /// Nanoseconds until each refusal (429, 503), ascending.
    pub(super) refused: Vec<u64>,
    /// Refusals that do not say when to come again.
    pub(super) unhelpful: u64,
    /// What else went wrong, and how often.
    pub(super) failures: BTreeMap<Failure, u64>,
}

/// Clients that are sending.
pub(super) struct Load {
    clients: Vec<JoinHandle<Seen>>,
}

impl Target {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(Arc::new(AtomicU16::new(address.port())))
    }

    pub(super) fn set(&self, address: SocketAddr) {
        self.0.store(address.port(), Relaxed);
    }

    fn get(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.0.load(Relaxed)))
    }
}

impl Load {
    /// Requests are sent in turn.
    pub(super) fn start(target: &Target, requests: &Arc<Vec<Vec<u8>>>, plan: &Plan) -> Self {
        // In the future, so that all clients are there.
        let begin = Instant::now() + Duration::from_millis(200);
        let client = |number| {
            let (plan, target, requests) = (plan.clone(), target.clone(), requests.clone());
            let client = Client { number, begin, plan, target, requests };
            thread::spawn(move || client.run())
        };
        let clients = precisely(|| (0..plan.clients).map(client).collect());
        Self { clients }
    }

    /// Waits until all is sent and answered.
    pub(super) fn finish(self) -> Seen {
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().expect("a client does not panic: it would hide what it counts");
            all.good.extend(seen.good);
            all.refused.extend(seen.refused);
            all.unhelpful += seen.unhelpful;
            seen.failures.into_iter().for_each(|(failure, n)| *all.failures.entry(failure).or_default() += n);
        }
        all.good.sort_unstable();
        all.refused.sort_unstable();
        all
    }

    pub(super) fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }
}

impl Seen {
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Those without a good answer.
    pub(super) fn lost(&self) -> u64 {
        self.failed() + self.refused.len() as u64
    }

    /// Milliseconds until 99 % of the good answers were there.
    pub(super) fn p99(&self) -> f64 {
        quantile(&self.good, 0.99) as f64 / 1e6
    }

    pub(super) fn requests(&self) -> u64 {
        self.good.len() as u64 + self.lost()
    }

    /// All failures, for people.
    pub(super) fn spelt(&self) -> String {
        let each: Vec<String> = self.failures.iter().map(|(failure, n)| format!("{n} x {failure}")).collect();
        if each.is_empty() { "none".to_owned() } else { each.join(", ") }
    }
}

struct Client {
    number: usize,
    begin: Instant,
    plan: Plan,
    target: Target,
    requests: Arc<Vec<Vec<u8>>>,
}

impl Client {
    fn run(&self) -> Seen {
        let Plan { clients, rate, requests, time } = self.plan;
        let (mut seen, mut kept) = (Seen::default(), None);
        // Clients take turns: request n is due after n parts of the rate.
        for n in (self.number..requests).step_by(clients) {
            let due =
                self.begin + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(n as f64 / rate));
            if due.saturating_duration_since(self.begin) >= time {
                break;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // Of a server that falls behind without end, not all that is due is sent.
            if self.begin.elapsed() >= time {
                break;
            }
            let start = if rate.is_some() { due } else { Instant::now() };
            let status = self.ask(&self.requests[n % self.requests.len()], &mut kept);
            let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            match status {
                Ok((200, _)) => seen.good.push(nanoseconds),
                Ok((429 | 503, helpful)) => {
                    seen.refused.push(nanoseconds);
                    seen.unhelpful += u64::from(!helpful);
                }
                Ok((status, _)) => *seen.failures.entry(Failure::Status(status)).or_default() += 1,
                Err(failure) => *seen.failures.entry(failure).or_default() += 1,
            }
        }
        seen
    }

    /// Sends one request, once, over the connection that was kept, if there is one: the status of the answer, and whether
    /// it says when to come again.
    fn ask(&self, request: &[u8], kept: &mut Option<Connection>) -> Result<(u16, bool), Failure> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.target.get())?,
        };
        let answer = connection.send(request)?;
        let seen = (answer.status, crate::http::header(answer.head, "retry-after").is_some());
        if !is_last(answer.head) {
            *kept = Some(connection);
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const FULL: &str = "HTTP/1.1 429 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    const RUDE: &str = "HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    /// Answers one connection after the other with these, and then hangs up.
    fn server(connections: Vec<Vec<&'static str>>, pause: Duration) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answers in connections {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in answers {
                    let _ = stream.read(&mut [0; 64]);
                    thread::sleep(pause);
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        address
    }

    fn plan(requests: usize, rate: Option<f64>) -> Plan {
        Plan { clients: 1, rate, requests, time: Duration::from_secs(10) }
    }

    #[test]
    fn each_answer_counts_as_what_it_is() {
        let address = server(vec![vec![GOOD, FULL, RUDE], vec![GOOD], vec![]], Duration::ZERO);
        let requests = Arc::new(vec![b"x".to_vec()]);
        let seen = Load::start(&Target::new(address), &requests, &plan(6, None)).finish();
        assert_eq!((seen.good.len(), seen.refused.len(), seen.unhelpful), (2, 2, 1));
        // One on a connection that was closed behind an answer, one on a new one that nobody reads.
        assert_eq!((seen.failed(), seen.requests()), (2, 6), "{}", seen.spelt());
    }

    #[test]
    fn at_a_constant_rate_waiting_counts() {
        let address = server(vec![vec![GOOD; 3]], Duration::from_millis(100));
        let requests = Arc::new(vec![b"x".to_vec()]);
        let seen = Load::start(&Target::new(address), &requests, &plan(3, Some(100.0))).finish();
        // Due after 0, 10 and 20 ms, answered after 100, 200 and 300.
        assert!(seen.good.len() == 3 && seen.good[2] >= 270_000_000, "{:?}", seen.good);
    }
}
