//! Clients and what is played, against each other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::api_server::{ApiServer, Condition};
use super::client::{Request, Revision};
use super::contestants::{local, seen};
use super::load::{Load, Plan, Target, Users};
use super::model::{self, DIGEST, STALL};
use super::sluice::Route;
use crate::http::{Connection, Failure, page};

#[test]
fn every_answer_is_checked_and_counted() {
    let (address, _runtime) = model::tests::start("1.1.0");
    let plan = Plan { requests: 400, users: Users::InTurn(10), ..Plan::new(4) };
    let found = Load::start(&Target::new(address), &plan).finish();
    assert_eq!((found.answers, found.failed(), found.moved, found.latencies.len()), ([0, 400], 0, 0, 400));
    assert!(found.assigned.len() == 10 && found.assigned.values().all(|r| *r == Revision::Candidate));
    assert_eq!(seen(address).unwrap().requests, 400);
    let (other, _runtime) = model::tests::start("9.9.9");
    let answer = Request::new(1, "").ask(&mut Connection::open(other).unwrap());
    assert_eq!(answer, Err(Failure::Wrong("unknown version")));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let liar = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in [
            "HTTP/1.1 200 OK\r\nx-model-version: 1.0.0\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
            "",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let ask = || Connection::open(liar).and_then(|mut c| Request::new(1, "").ask(&mut c)).unwrap_err();
    assert_eq!([ask(), ask()], [Failure::Wrong("another body"), Failure::Status(503)]);
    assert!(matches!(ask(), Failure::Broken(_)));
    assert!(matches!(Connection::open(local(1)), Err(Failure::Connect(_))));
}

#[test]
fn at_a_constant_rate_waiting_counts() {
    let (address, _runtime) = model::tests::start("1.0.0");
    assert_eq!(page(address, &format!("{STALL}100")).unwrap().0, 200);
    // Due after 0, 10, … 40 ms; each takes 100 ms, and there is one client: the last one waits for four.
    let plan = Plan { rate: Some(100.0), requests: 5, ..Plan::new(1) };
    let found = Load::start(&Target::new(address), &plan).finish();
    let last = Duration::from_nanos(*found.latencies.last().unwrap());
    assert!(found.latencies.len() == 5 && last >= Duration::from_millis(460), "{last:?}");
    assert!(Duration::from_nanos(found.latencies[0]) < last / 2);
}

#[test]
fn large_bodies_are_read_and_told_apart() {
    let (address, _runtime) = model::tests::start("1.0.0");
    let mut connection = Connection::open(address).unwrap();
    let mut digests = vec![];
    for length in [0, 1_000, 200_000, 200_001] {
        let request = Request::new(length, &format!("{DIGEST}: 1\r\nx-sluice-shadow: 1\r\n"));
        request.ask(&mut connection).unwrap();
        let found = seen(address).unwrap();
        assert_eq!(found.length, length as u64);
        digests.push(found.digest);
    }
    assert_eq!(seen(address).unwrap().copies, 4);
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 4);
}

#[test]
fn the_api_server_lists_and_tells() {
    let api = ApiServer::start().unwrap();
    api.put_route(Route::FIRST.object());
    api.put_slice("stable", &[(local(1), Condition::Ready), (local(1), Condition::Terminating)]);
    let routes = "/apis/sluice.dev/v1alpha1/namespaces/prod/modelroutes";
    let (status, list) = page(api.address, routes).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    assert_eq!(
        (status, list["items"][0]["metadata"]["generation"].as_u64(), version.as_str()),
        (200, Some(1), "2")
    );

    let mut watch = TcpStream::connect(api.address).unwrap();
    watch.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let path = format!("{routes}?watch=true&resourceVersion={version}&timeoutSeconds=2");
    write!(watch, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    api.put_route(Route { generation: 2, ..Route::FIRST }.object());
    let (mut text, start) = (String::new(), Instant::now());
    watch.read_to_string(&mut text).unwrap();
    assert!(
        text.contains("MODIFIED") && text.contains("\"generation\":2") && !text.contains("ADDED"),
        "{text}"
    );
    assert!(start.elapsed() < Duration::from_secs(8), "a watch ends after its time");
}
