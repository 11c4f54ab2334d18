//! The least that a proxy on hyper does: hyper-util's pooled client behind hyper's server, one thread, nothing counted,
//! nothing limited. The floor for a router on hyper.

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:18204").await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(peer_proxies::KEPT)
        .build::<_, Incoming>(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| pass_on(&client, request));
            // A client that goes away is not of interest.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass_on(
    client: &Client<HttpConnector, Incoming>,
    mut request: Request<Incoming>,
) -> Result<hyper::Response<Incoming>, hyper_util::client::legacy::Error> {
    let server = peer_proxies::server(request.headers());
    let path = request.uri().path_and_query().cloned();
    let uri = Uri::builder().scheme("http").authority(server.to_string());
    *request.uri_mut() = match path {
        Some(path) => uri.path_and_query(path),
        None => uri.path_and_query("/"),
    }
    .build()
    .expect("an address is an authority");
    client.request(request).await
}
