//! Writes of Google's XML API, which object_store speaks, for an emulator that only knows those of its JSON API. All else goes
//! through as it is.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Asking = Client<HttpConnector, Full<Bytes>>;

/// Starts to translate for the emulator at a port; the address.
pub(crate) async fn start(to: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let client: Asking = Client::builder(TokioExecutor::new()).build_http();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let client = client.clone();
            let service = service_fn(move |request| {
                let client = client.clone();
                async move { Ok::<_, Infallible>(pass(request, to, &client).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn pass(request: Request<Incoming>, to: u16, client: &Asking) -> Response<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is_put = head.method == Method::PUT;
    let mut path = head.uri.path_and_query().unwrap().to_string();
    if is_put {
        let (bucket, name) = path.trim_start_matches('/').split_once('/').unwrap();
        let first = head.headers.remove("x-goog-if-generation-match");
        let first = first.map_or(String::new(), |of| format!("&ifGenerationMatch={}", of.to_str().unwrap()));
        path = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}{first}");
        head.method = Method::POST;
    }
    head.uri = format!("http://127.0.0.1:{to}{path}").parse::<Uri>().unwrap();
    let answer = client.request(Request::from_parts(head, Full::new(body))).await.unwrap();
    let (mut head, body) = answer.into_parts();
    if is_put {
        head.headers.insert("etag", HeaderValue::from_static("\"1\""));
        head.headers.insert("x-goog-generation", HeaderValue::from_static("1"));
    }
    Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
}
