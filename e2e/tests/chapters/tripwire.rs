//! Candidates that are Ready and plainly broken: each router stops sending to them by itself (R7).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::node::Manifest;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;
use wire::RouteReport;

use super::curl::{Answer, Curl};
use super::faults::{start_operator, stop_operator};
use super::private::{Private, Router, access_log};
use super::router::url;
use super::say;

/// Clients of each router at one time.
const CLIENTS: usize = 2;
/// Requests of each of them: far more than a trip-wire needs.
const REQUESTS: usize = 150;
/// Requests of a candidate that a router looks at before it trips: 20, all of which may have failed (R7). The other client
/// may have one on its way then.
const MOST: usize = 20 + CLIENTS - 1;

/// What routers did with a broken candidate.
struct Stopped {
    answers: Vec<Answer>,
    /// From the first request that was sent to it to the end of the last one, at any router.
    exposed: Duration,
    /// Requests that were sent to it, by router.
    sent: Vec<usize>,
}

impl Stopped {
    fn lost(&self) -> usize {
        self.answers.iter().filter(|answer| answer.status != 200).count()
    }
}

/// It answers 500, and nobody is there to decide: the routers stop by themselves. When the operator is back, it makes a
/// rollback of it.
pub(crate) async fn stops_a_failing_candidate_without_the_operator(private: &Private<'_>) -> Result<()> {
    say("a candidate is Ready and answers 500, and the operator is away");
    let routers = private.routers()?;
    // A router compares with what it knows of stable.
    hammer(private, &routers, 20).await?;
    let revision = private.at_half(&broken(private, "1.3.0", "answers")).await?;
    stop_operator(&private.story.node)?;
    let stopped = send_to_broken(private, &routers, &revision).await?;
    let (lost, all) = (stopped.lost(), stopped.answers.len());
    for router in &routers {
        let report = report(router).await?;
        ensure!(report.tripped.contains_key(&revision), "{} goes on: {report:?}", router.name);
    }
    // rule: R7
    ensure!(stopped.sent.iter().all(|sent| (20..=MOST).contains(sent)), "sent to it: {:?}", stopped.sent);
    ensure!(lost == stopped.sent.iter().sum::<usize>(), "{lost} lost, sent to it {:?}", stopped.sent);
    let rest = hammer(private, &routers, 20).await?;
    ensure!(rest.iter().all(|answer| answer.status == 200), "it goes on: {rest:?}");

    let back = Instant::now();
    start_operator(&private.story.node)?;
    let (at, reason) = private.taken_back(back, 60).await?;
    ensure!(reason.contains("trip-wire: a router has stopped sending to it"), "{reason}");
    println!(
        "trip-wire: {lost} of {all} requests lost ({:?} by router), safe after {:.0} ms without the operator, \
         rolled back {:.1} s after it was started again: {reason}",
        stopped.sent,
        stopped.exposed.as_secs_f64() * 1e3,
        at.duration_since(back).as_secs_f64(),
    );
    Ok(())
}

/// It does not even listen: no request is lost, and the operator hears of it from the routers.
pub(crate) async fn stops_a_deaf_candidate(private: &Private<'_>) -> Result<()> {
    say("a candidate is Ready and refuses connections");
    let routers = private.routers()?;
    let revision = private.at_half(&broken(private, "1.3.1", "refuses")).await?;
    let start = Instant::now();
    let stopped = send_to_broken(private, &routers, &revision).await?;
    // rule: R6
    ensure!(stopped.lost() == 0, "what was never sent goes to stable: {:?}", stopped.answers);
    // rule: R7
    ensure!(stopped.sent.iter().all(|sent| (1..=MOST).contains(sent)), "tried there: {:?}", stopped.sent);
    let (at, reason) = private.taken_back(start, 60).await?;
    ensure!(reason.contains("trip-wire: a router has stopped sending to it"), "{reason}");
    println!(
        "trip-wire: 0 of {} requests lost, {:?} tried there by router, within {:.0} ms; rolled back {:.1} s after the first",
        stopped.answers.len(),
        stopped.sent,
        stopped.exposed.as_secs_f64() * 1e3,
        at.duration_since(start).as_secs_f64(),
    );
    Ok(())
}

/// A version whose image passes its probes and nothing else.
fn broken(private: &Private<'_>, version: &str, how: &str) -> Manifest {
    let overlay =
        format!("{{spec: {{containers: [{{name: server, env: [{{name: BROKEN, value: {how}}}]}}]}}}}");
    Manifest {
        version: version.into(),
        server: format!(", image: 'sluice.dev/broken-server:dev', template: {overlay}"),
        ..private.manifest(private.story.models.better())
    }
}

/// Some clients of each router at once, each of which sends one request after the other.
async fn hammer(private: &Private<'_>, routers: &[Router], requests: usize) -> Result<Vec<Answer>> {
    let clients = routers.iter().flat_map(|router| [router; CLIENTS]);
    let clients = clients.map(|router| private.client_of(router)).collect::<Result<Vec<_>>>()?;
    let url = url();
    let sent = clients.iter().map(|client| client.post(&url, private.images(requests)));
    Ok(futures::future::try_join_all(sent).await?.concat())
}

/// Sends, and reads in the routers' own access logs what was done with it.
async fn send_to_broken(private: &Private<'_>, routers: &[Router], revision: &str) -> Result<Stopped> {
    let answers = hammer(private, routers, REQUESTS).await?;
    let failed = answers.iter().filter(|answer| answer.status != 200).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let of_revision = |router| -> Result<Vec<Value>> {
            let mut lines = access_log(&private.story.node, router)?;
            lines.retain(|line| line["revision"] == *revision);
            Ok(lines)
        };
        let lines = routers.iter().map(of_revision).collect::<Result<Vec<_>>>()?;
        // What was sent there ended there, or was sent once more.
        let reached = |line: &&Value| line["status"] != 200 || line["attempts"].as_u64() > Some(1);
        let reached: Vec<Vec<&Value>> =
            lines.iter().map(|lines| lines.iter().filter(reached).collect()).collect();
        let logged = reached.iter().flatten().filter(|line| line["status"] != 200).count();
        // A log is written a moment later.
        if logged < failed && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
            continue;
        }
        ensure!(logged == failed, "{failed} requests failed, and {logged} are logged");
        let sent = reached.iter().map(Vec::len).collect();
        return Ok(Stopped { answers, exposed: span(reached.into_iter().flatten())?, sent });
    }
}

/// From the beginning of the first to the end of the last.
fn span<'a>(lines: impl Iterator<Item = &'a Value>) -> Result<Duration> {
    let mut times = Vec::new();
    for line in lines {
        let began: Timestamp = line["timestamp"].as_str().context("a time")?.parse()?;
        let took = line["durationMs"].as_f64().context("a duration")?;
        times.push((began, began + Duration::from_secs_f64(took / 1e3)));
    }
    let first = times.iter().map(|(began, _)| *began).min().context("nothing was sent to the candidate")?;
    let last = times.iter().map(|(_, ended)| *ended).max().context("nothing was sent to the candidate")?;
    Ok(last.duration_since(first).try_into()?)
}

/// What a router says of its table.
async fn report(router: &Router) -> Result<RouteReport> {
    let url = format!("http://{}:{}{}", router.ip, wire::endpoint::ADMIN_PORT, wire::endpoint::ROUTE);
    let (status, body) = Curl::new().text(&url).await?;
    ensure!(status == 200, "{}: {status} {body}", router.name);
    Ok(serde_json::from_str(&body)?)
}
