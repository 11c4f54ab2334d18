//! Puts objects into emulators, through object_store over another client than the one that is tested.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};

/// A client without any of what is tested.
#[derive(Debug, Clone)]
struct Plain(Client<Tcp, HttpRequestBody>);

#[async_trait::async_trait]
impl HttpService for Plain {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.request(request).await.map_err(|e| HttpError::new(HttpErrorKind::Request, e))?;
        Ok(answer.map(|body| {
            use http_body_util::BodyExt;
            HttpResponseBody::new(body.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e)))
        }))
    }
}

impl HttpConnector for Plain {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// Makes the bucket if there is none, and puts the files under the prefix.
pub(crate) async fn all(
    scheme: &str,
    variables: &[(String, String)],
    bucket: &str,
    prefix: &str,
    files: &BTreeMap<String, Vec<u8>>,
) {
    let plain = Plain(Client::builder(TokioExecutor::new()).build_http());
    let of = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
    let port = |endpoint: &str| -> u16 {
        endpoint.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap()
    };
    let store: Arc<dyn ObjectStore> = match scheme {
        "s3" => {
            let endpoint = of("AWS_ENDPOINT_URL");
            raw(port(&endpoint), &format!("/{bucket}")).await;
            let builder = AmazonS3Builder::new()
                .with_endpoint(endpoint)
                .with_access_key_id("someone")
                .with_secret_access_key("x")
                .with_bucket_name(bucket)
                .with_http_connector(plain);
            Arc::new(builder.build().unwrap())
        }
        "gs" => {
            let endpoint = of("GOOGLE_BASE_URL");
            let json = format!("{{\"name\": \"{bucket}\"}}");
            ask(
                port(&endpoint),
                "POST /storage/v1/b?project=p",
                "content-type: application/json\r\n",
                json.as_bytes(),
            )
            .await;
            // The emulator takes objects by another protocol than object_store's.
            for (path, bytes) in files {
                let what =
                    format!("POST /upload/storage/v1/b/{bucket}/o?uploadType=media&name={prefix}/{path}");
                ask(port(&endpoint), &what, "", bytes).await;
            }
            return;
        }
        _ => {
            let (endpoint, account) = (of("AZURE_STORAGE_ENDPOINT"), of("AZURE_STORAGE_ACCOUNT_NAME"));
            let key = of("AZURE_STORAGE_ACCOUNT_KEY");
            container(port(&endpoint), &account, &key, bucket).await;
            let builder = MicrosoftAzureBuilder::new()
                .with_endpoint(endpoint)
                .with_account(account)
                .with_access_key(key)
                .with_container_name(bucket)
                .with_http_connector(plain);
            Arc::new(builder.build().unwrap())
        }
    };
    for (path, bytes) in files {
        let key = Path::parse(format!("{prefix}/{path}")).unwrap();
        store.put(&key, bytes.clone().into()).await.unwrap();
    }
}

/// An empty PUT, which moto does not want to be signed.
pub(crate) async fn raw(port: u16, path: &str) {
    ask(port, &format!("PUT {path}"), "", b"").await;
}

/// object_store makes no containers.
async fn container(port: u16, account: &str, key: &str, name: &str) {
    let (date, version) = ("Fri, 27 Nov 2026 12:00:00 GMT", "2021-12-02");
    let headers = format!("x-ms-date:{date}\nx-ms-version:{version}\n");
    let resource = format!("/{account}/{account}/{name}\nrestype:container");
    let text = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}{resource}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signed = format!(
        "x-ms-date: {date}\r\nx-ms-version: {version}\r\nauthorization: SharedKey {account}:{signature}\r\n"
    );
    ask(port, &format!("PUT /{account}/{name}?restype=container"), &signed, b"").await;
}

async fn ask(port: u16, what: &str, headers: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!(
        "{what} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or_default();
    assert!(status.starts_with('2') || status == "409", "{what}: {answer}");
}
