//! The program itself, as its pod runs it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use wire::{Assignment, Key, Outcome, Page, RouteReport, RouteState, TableSource};

use crate::api_server::ApiServer;
use crate::servers::{Act, Server, ok};
use crate::source;
use crate::tls::{self, Authority};
use crate::wire_http::{Message, Wire, post};

struct Program {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Program {
    fn start(api: SocketAddr, more: &[&str]) -> Self {
        Self::start_with(api, more, Stdio::inherit())
    }

    fn start_with(api: SocketAddr, more: &[&str], stdout: Stdio) -> Self {
        let (listen, admin) = (free(), free());
        let config = format!("{}/kubeconfig-{}", env!("CARGO_TARGET_TMPDIR"), listen.port());
        let server = format!("http://{api}");
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&config, content.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_router"))
            .args(["--namespace", "prod", "--route", "digits", "--drain", "5s"])
            .args(["--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(more)
            .env("KUBECONFIG", config)
            .env("HOSTNAME", "digits-router-x")
            .env("SLUICE_LOG", "warn")
            .stdout(stdout)
            .spawn()
            .unwrap();
        Self { child, listen, admin }
    }

    async fn page(&self, path: &str) -> std::io::Result<Message> {
        let mut wire = Wire::connect(self.admin).await?;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await?;
        wire.read().await
    }

    async fn report(&self) -> RouteReport {
        serde_json::from_slice(&self.page("/route").await.unwrap().body).unwrap()
    }

    async fn wait_until_ready(&self) {
        for _ in 0..500 {
            if self.page("/readyz").await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not ready within 5 s: {:?}", self.page("/readyz").await.map(|m| m.text()));
    }

    fn status(&self, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        status.lines().find(|line| line.starts_with(field)).unwrap().to_owned()
    }
}

fn serve(api: &ApiServer, service: &str, server: &Server) {
    api.put_slice(service, server.address.port(), &[("127.0.0.1", true, false)]);
}

// rule: R2 (a router that stops still says what it serves)
#[tokio::test(flavor = "multi_thread")]
async fn it_serves_its_pages_until_the_end() {
    let api = ApiServer::start();
    let a = Server::start(|n, _| if n == 1 { Act::After(Duration::from_millis(700)) } else { ok() }).await;
    serve(&api, "digits-a", &a);
    let mut program = Program::start(api.address, &[]);
    for _ in 0..500 {
        if program.page("/readyz").await.is_ok_and(|answer| answer.text() == "waiting for route\n") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(program.page("/route").await.unwrap().status(), 503);
    assert_eq!(post(program.listen, "", b"x").await.unwrap().status(), 503);
    api.put_route(source::route(4, 0));
    program.wait_until_ready().await;
    assert_eq!(post(program.listen, "", b"x").await.unwrap().status(), 200);

    let report = program.report().await;
    assert_eq!((report.state.generation, report.endpoints["a"].ready), (4, 1));
    let page = Page::parse(&program.page("/evidence").await.unwrap().text()).unwrap();
    assert!(page.instance.starts_with("digits-router-x-") && page.instance == report.instance);
    let key = Key { revision: "a".into(), assignment: Assignment::Split };
    assert_eq!(page.states[&report.state][&key].outcome(Outcome::Ok), 1);
    let metrics = program.page("/metrics").await.unwrap().text();
    for line in [
        "sluice_requests_total{assignment=\"split\",outcome=\"ok\",revision=\"a\"} 1",
        "sluice_router_unassigned_total{reason=\"no_table\"} 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in {metrics}");
    }

    let listen = program.listen;
    let slow = tokio::spawn(async move { post(listen, "", b"x").await.unwrap() });
    crate::rig::until("it is under way", || a.seen().len() == 2).await;
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let unready = program.page("/readyz").await.unwrap();
    assert_eq!((unready.status(), unready.text().as_str()), (503, "draining: about to stop\n"));
    assert_eq!(program.page("/route").await.unwrap().status(), 200);
    let answer = post(program.listen, "", b"x").await.unwrap();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert_eq!(slow.await.unwrap().status(), 200);
    for _ in 0..500 {
        if let Some(status) = program.child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not stop");
}

// rule: R2
#[tokio::test(flavor = "multi_thread")]
async fn it_starts_from_the_disk_while_the_api_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("route.json");
    let cache = ["--cache", file.to_str().unwrap(), "--threads", "2"];
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    let api = ApiServer::start();
    serve(&api, "digits-a", &a);
    serve(&api, "digits-b", &b);
    api.put_route(source::route(4, 5_000));
    let program = Program::start(api.address, &cache);
    program.wait_until_ready().await;
    // The endpoints of a Service come when they come, with a table or behind it.
    let is_kept = || {
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        [&a, &b].iter().all(|server| kept.contains(&server.address.to_string()))
    };
    for _ in 0..500 {
        if program.report().await.state.generation == 4 && is_kept() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let report = program.report().await;
    assert_eq!((report.state.generation, report.source), (4, TableSource::Live), "{report:?}");
    assert!(is_kept(), "{}", std::fs::read_to_string(&file).unwrap());
    drop(program);
    let away = api.address;
    drop(api);

    let program = Program::start(away, &cache);
    program.wait_until_ready().await;
    let report = program.report().await;
    assert_eq!(
        (report.state, report.source),
        (RouteState::default(), TableSource::Cached),
        "it claims no state"
    );
    let before = b.seen().len();
    for _ in 0..50 {
        let answer = post(program.listen, "", b"x").await.unwrap();
        assert_eq!((answer.status(), answer.header("x-sluice-revision")), (200, Some("a")));
    }
    assert_eq!(b.seen().len(), before, "a share that may be old counts for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_tls_and_tells_of_every_request_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (path, authority) = (|name: &str| folder.path().join(name), Authority::new());
    tls::mount(folder.path(), 0, &authority.pair());
    let (certificate, key) = (path("data/tls.crt"), path("data/tls.key"));
    let flags = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let api = ApiServer::start();
    let a = Server::start(|_, _| ok()).await;
    serve(&api, "digits-a", &a);
    api.put_route(source::route(4, 0));
    let log = std::fs::File::create(path("log")).unwrap();
    let all = [&["--access-log", "100"][..], &flags].concat();
    let mut program = Program::start_with(api.address, &all, log.into());
    program.wait_until_ready().await;
    let mut client = authority.connect(program.listen, &[], &[&rustls::version::TLS13]).await.unwrap();
    for _ in 0..3 {
        assert!(tls::post(&mut client).await.starts_with("HTTP/1.1 200 "));
    }
    drop(client);
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    for _ in 0..1_000 {
        if let Some(status) = program.child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            let text = std::fs::read_to_string(path("log")).unwrap();
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.lines().all(|line| line.contains("\"target\":\"access\"")), "{text}");
            // Never without TLS, and never half.
            std::fs::write(path("other"), "nonsense").unwrap();
            let other = path("other");
            for flags in [&flags[..2], &[flags[0], flags[1], "--tls-key", other.to_str().unwrap()]] {
                let mut program = Program::start(api.address, flags);
                let status = tokio::task::spawn_blocking(move || program.child.wait()).await.unwrap();
                assert!(!status.unwrap().success(), "{flags:?}");
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not stop");
}

/// Printed, not judged: `cargo test -p router --test it -- --ignored --nocapture speed`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn speed() {
    let api = ApiServer::start();
    let (a, b) = (Server::start(|_, _| ok()).await, Server::start(|_, _| ok()).await);
    serve(&api, "digits-a", &a);
    serve(&api, "digits-b", &b);
    api.put_route(source::route(1, 1_000));
    let program = Program::start(api.address, &[]);
    program.wait_until_ready().await;
    println!("idle: {}", program.status("VmRSS"));
    for (name, address) in [("straight to a server", a.address), ("through the router", program.listen)] {
        for clients in [1, 16] {
            let mut set = JoinSet::new();
            let start = Instant::now();
            for _ in 0..clients {
                set.spawn(async move {
                    let mut wire = Wire::connect(address).await.unwrap();
                    let mut times = vec![];
                    for _ in 0..2_500 {
                        let start = Instant::now();
                        assert_eq!(wire.post("", &[7; 1_000]).await.unwrap().status(), 200);
                        times.push(start.elapsed());
                    }
                    times
                });
            }
            let mut times: Vec<Duration> = set.join_all().await.concat();
            let took = start.elapsed();
            times.sort_unstable();
            let quantile = |q: f64| times[(times.len() as f64 * q) as usize];
            let rate = times.len() as f64 / took.as_secs_f64();
            println!(
                "{name}, {clients} clients: {rate:.0}/s, p50 {:?}, p99 {:?}",
                quantile(0.5),
                quantile(0.99)
            );
        }
    }
    println!("after: {}", program.status("VmRSS"));
}
