//! Files of a web server: an archive, or a folder of which only the known names can be asked for.
//!
//! What a file is, its first byte tells (`Range: bytes=0-0`): size and ETag, of every server that gives parts; one that
//! does not begins to send all of it, and is not listened to. `If-Range` then gives the rest of the same file, or the
//! whole of another.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE,
};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri as Address};
use object_store::client::{HttpErrorKind, HttpRequestBody, HttpResponse};

use crate::FetchError;
use crate::names;
use crate::secrets::Secrets;
use crate::source::{Item, Opened, Trouble};
use crate::transport::Transport;
use crate::uri::Uri;

/// How often one request may be sent elsewhere.
const REDIRECTS: usize = 5;

/// A place on a web server.
#[derive(Debug)]
pub(crate) struct Web {
    transport: Arc<Transport>,
    /// The archive, or the folder with `/` at its end.
    uri: String,
    is_archive: bool,
}

/// What a `Content-Range` says.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// The first byte; absent where there is none of that number.
    start: Option<u64>,
    /// Bytes of the whole; absent where the server does not know.
    size: Option<u64>,
}

impl Web {
    pub(crate) fn new(transport: Arc<Transport>, uri: &Uri) -> Self {
        Self { transport, uri: uri.to_string(), is_archive: uri.archive().is_some() }
    }

    /// The archive, or the known files that are there.
    pub(crate) async fn list(&self) -> Result<Vec<Item>, Trouble> {
        if self.is_archive {
            return Ok(vec![self.look("").await?]);
        }
        let mut items = vec![self.look(names::METADATA).await?, self.look(names::REFERENCE).await?];
        let models = items.len();
        for name in names::MODELS {
            if let Some(model) = present(self.look(name).await)? {
                items.push(model);
                break;
            }
        }
        if items.len() == models {
            let at = format!("{}{{{}}}", self.uri, names::MODELS.join(","));
            return Err(Trouble::Final(FetchError::Missing { at }));
        }
        items.extend(present(self.look(names::PICTURE).await)?);
        Ok(items)
    }

    /// Size and state of a file; nothing of it is kept.
    pub(crate) async fn look(&self, path: &str) -> Result<Item, Trouble> {
        let answer = self.ask(path, &[(RANGE, "bytes=0-0".to_owned())]).await?;
        let size = match answer.status() {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                part(answer.headers()).and_then(|part| part.size)
            }
            _ => length(answer.headers()),
        };
        Ok(Item { path: path.to_owned(), size, etag: etag(answer.headers()) })
    }

    pub(crate) async fn open(&self, item: &Item, from: u64) -> Result<Opened, Trouble> {
        let at = self.at(&item.path);
        let mut headers = Vec::new();
        if let Some(etag) = item.etag.as_ref().filter(|_| from > 0) {
            headers = vec![(RANGE, format!("bytes={from}-")), (IF_RANGE, etag.clone())];
        }
        let answer = self.ask(&item.path, &headers).await?;
        let coding = answer.headers().get(CONTENT_ENCODING).filter(|coding| *coding != "identity");
        if let Some(coding) = coding.filter(|_| !self.is_archive) {
            let reason = format!("it comes in the coding {coding:?}, which was not asked for");
            return Err(Trouble::Final(FetchError::Refused { at, reason }));
        }
        let (start, size) = match answer.status() {
            StatusCode::PARTIAL_CONTENT => match part(answer.headers()) {
                Some(Part { start: Some(start), size }) if start == from && from > 0 => (start, size),
                found => return Err(Trouble::Changed(format!("{at}: another part came: {found:?}"))),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Trouble::Changed(format!("{at} has no byte {from} any more")));
            }
            _ => (0, length(answer.headers())),
        };
        let etag = etag(answer.headers());
        let secrets = Secrets::of(&[]);
        let body = answer.into_body().bytes_stream();
        Ok(Opened { start, size, etag, body: body.map_err(move |error| secrets.clean(&error)).boxed() })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.uri)
    }

    /// Asks for a file, and follows where it is sent; never from https to http.
    async fn ask(&self, path: &str, headers: &[(HeaderName, String)]) -> Result<HttpResponse, Trouble> {
        let at = self.at(path);
        let refused = |reason: String| Trouble::Final(FetchError::Refused { at: at.clone(), reason });
        let mut address: Address = at.parse().map_err(|_| refused("no address".into()))?;
        for _ in 0..=REDIRECTS {
            let mut request = Request::get(address.clone()).header(ACCEPT_ENCODING, "identity");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.body(HttpRequestBody::empty()).map_err(|e| refused(e.to_string()))?;
            let answer = match self.transport.send(request).await {
                Ok(answer) => answer,
                Err(error) if error.kind() == HttpErrorKind::Unknown => {
                    return Err(refused(Secrets::of(&[]).clean(&error)));
                }
                Err(error) => return Err(Trouble::Passing(Secrets::of(&[]).clean(&error))),
            };
            let status = answer.status();
            if status.is_redirection() {
                address = elsewhere(&address, answer.headers()).map_err(|why| refused(why.to_owned()))?;
                continue;
            }
            return match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                    Ok(answer)
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => Err(Trouble::Final(FetchError::Missing { at })),
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    Err(Trouble::Passing(format!("status {status}")))
                }
                _ if status.is_server_error() => Err(Trouble::Passing(format!("status {status}"))),
                _ => Err(refused(format!("status {status}"))),
            };
        }
        Err(refused(format!("it was sent elsewhere more than {REDIRECTS} times")))
    }
}

/// A file that may be missing.
fn present(looked: Result<Item, Trouble>) -> Result<Option<Item>, Trouble> {
    match looked {
        Ok(item) => Ok(Some(item)),
        Err(Trouble::Final(FetchError::Missing { .. })) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Where a request is sent.
fn elsewhere(from: &Address, headers: &HeaderMap) -> Result<Address, &'static str> {
    let to =
        headers.get(LOCATION).and_then(|to| to.to_str().ok()).ok_or("it is sent elsewhere, but not where")?;
    let to: Address = to.parse().map_err(|_| "it is sent to what is no address")?;
    let mut parts = from.clone().into_parts();
    if let Some(scheme) = to.scheme() {
        if from.scheme() == Some(&Scheme::HTTPS) && *scheme != Scheme::HTTPS {
            return Err("it is sent from https:// to an address without");
        }
        if ![Scheme::HTTP, Scheme::HTTPS].contains(scheme) {
            return Err("it is sent to an address of another kind");
        }
        return Ok(to);
    }
    let path = to.path_and_query().map_or("/", PathAndQuery::as_str);
    if !path.starts_with('/') {
        return Err("it is sent to an address without a beginning");
    }
    parts.path_and_query = Some(path.parse().map_err(|_| "it is sent to what is no address")?);
    Address::from_parts(parts).map_err(|_| "it is sent to what is no address")
}

/// What tells one state of a file from another: strong ETags only, others may be the same for different bytes.
fn etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    (etag.starts_with('"') && etag.ends_with('"') && etag.len() <= 256).then(|| etag.to_owned())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`.
fn part(headers: &HeaderMap) -> Option<Part> {
    let (range, size) = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
    Some(Part { start, size: size.parse().ok() })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://a/x", "https://b/y", Ok("https://b/y"))]
    #[case("https://a/x", "/y?z=1", Ok("https://a/y?z=1"))]
    #[case("http://a/x", "https://b/y", Ok("https://b/y"))]
    #[case("http://a/x", "http://b/y", Ok("http://b/y"))]
    #[case("https://a/x", "http://a/x", Err("from https://"))]
    #[case("https://a/x", "ftp://a/x", Err("from https://"))]
    #[case("http://a/x", "ftp://a/x", Err("of another kind"))]
    #[case("https://a/x", "\\", Err("no address"))]
    fn redirects_do_not_lose_encryption(
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(to).unwrap())]);
        match (elsewhere(&from.parse().unwrap(), &headers), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{to}: {found:?}"),
        }
    }

    #[rstest]
    #[case("bytes 5-9/10", Some((Some(5), Some(10))))]
    #[case("bytes 5-9/*", Some((Some(5), None)))]
    #[case("bytes */0", Some((None, Some(0))))]
    #[case("items 5-9/10", None)]
    #[case("bytes 5-9", None)]
    fn parts_are_read(#[case] text: &str, #[case] expected: Option<(Option<u64>, Option<u64>)>) {
        let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(part(&headers), expected.map(|(start, size)| Part { start, size }));
    }
}
