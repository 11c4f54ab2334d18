//! The least that a proxy on hyper does: hyper-util's pooled client behind hyper's server, one thread, nothing counted,
//! nothing limited. The floor for a router on hyper.

use std::net::SocketAddrV4;

use hyper::body::Incoming;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use peer_proxies::{CANDIDATE, KEPT, STABLE, is_candidates};
use tokio::net::TcpListener;

struct Proxy {
    client: Client<HttpConnector, Incoming>,
    stable: Authority,
    candidate: Authority,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:18204").await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(KEPT).build(connector);
    let authority = |server: SocketAddrV4| -> Authority { server.to_string().parse().expect("an address is an authority") };
    let (stable, candidate) = (authority(STABLE), authority(CANDIDATE));
    let proxy: &'static Proxy = Box::leak(Box::new(Proxy { client, stable, candidate }));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request| proxy.pass_on(request));
            // What breaks is counted by who sends.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Proxy {
    async fn pass_on(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let server = if is_candidates(request.headers()) { &self.candidate } else { &self.stable };
        let path = request.uri().path_and_query().cloned();
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(server.clone());
        parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(parts).expect("all three parts are there");
        self.client.request(request).await
    }
}
