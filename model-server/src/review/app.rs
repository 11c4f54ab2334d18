//! What reviewers ask: a JSON API behind a token, and one page.

mod explain;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path as Segment, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sources::{CabinetError, Caller};
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::report::Tallies;
use super::{Address, Courier, Desk, Found, Item, ItemId, LabelError, Media};
use crate::http::{Activity, Problem};
use crate::listen::Serving;

/// Largest body of a request, in bytes.
const BODY: usize = 16 << 10;
/// Longest time of a request, from its head to its answer: less than the drain.
const TIME: Duration = Duration::from_secs(25);
/// Items of one list, if nothing is said.
const LISTED: usize = 20;
/// Items of one list, at most.
const MOST: usize = 100;
/// Images that are in memory for reviewers at one time.
const IMAGES: usize = 12;
/// Characters of a reviewer's name.
const NAME: usize = 100;
/// Largest token file, in bytes.
const TOKEN: u64 = 4 << 10;
/// Characters of a token, at least.
const SHORT: usize = 16;
/// Explanations that are asked for at one time: each holds an image twice.
const EXPLAINING: usize = 4;
/// What the page may do: nothing that comes from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What lets people in, and where explanations come from.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The file with the token of reviewers. Read for each request, so that it may change.
    pub token: PathBuf,
    /// A model server, or a router in front of some.
    pub explain: Option<Address>,
}

/// The review process, as reviewers see it.
#[derive(Debug)]
pub struct App {
    desk: Desk,
    courier: Arc<Courier>,
    doors: Doors,
    caller: Caller,
    tallies: Mutex<Tallies>,
    explaining: Semaphore,
    images: Arc<Semaphore>,
    activity: Activity,
    connections: IntGauge,
    requests: IntCounterVec,
    labels: IntCounterVec,
}

/// A label, as it is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    label: String,
    #[serde(default)]
    by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    after: Option<String>,
    limit: Option<usize>,
}

impl App {
    /// Puts it together.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn new(
        desk: Desk,
        courier: Arc<Courier>,
        doors: Doors,
        caller: Caller,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let connections = IntGauge::new("sluice_review_connections", "Open connections of reviewers.")?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self {
            requests: counter("sluice_review_requests_total", "Answered requests.", &["path", "code"])?,
            labels: counter("sluice_review_labels_total", "Labels, by what became of them.", &["outcome"])?,
            tallies: Mutex::default(),
            explaining: Semaphore::new(EXPLAINING),
            images: Arc::new(Semaphore::new(IMAGES)),
            activity: Activity::new(),
            connections,
            desk,
            courier,
            doors,
            caller,
        })
    }
}

impl Serving for App {
    fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/items", get(items))
            .route("/items/{id}", get(item))
            .route("/items/{id}/image", get(image))
            .route("/items/{id}/label", post(label))
            .route("/items/{id}/explain", post(explain::explain))
            .route("/report", get(report))
            .layer(from_fn_with_state(self.clone(), admit))
            .route("/", get(page))
            .fallback(async || {
                let known = "GET /items, /items/{id}, /items/{id}/image, /report; POST /items/{id}/label, /items/{id}/explain";
                Problem::new(StatusCode::NOT_FOUND, format!("there is no such path; known: {known}"))
            })
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
            })
            .layer(DefaultBodyLimit::max(BODY))
            .layer(from_fn_with_state(self.clone(), around))
            .with_state(self.clone())
    }

    fn activity(&self) -> &Activity {
        &self.activity
    }

    fn connections(&self) -> &IntGauge {
        &self.connections
    }
}

/// Counts each request, and ends those that take too long.
async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let _in_flight = app.activity.enter();
    let path = request.extensions().get::<MatchedPath>().cloned();
    // By HTTP/2 the connection itself says that it ends.
    let is_http1 = request.version() < Version::HTTP_2;
    let answered = tokio::time::timeout(TIME, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        let message = format!("this took longer than {} s", TIME.as_secs());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, message).into_response()
    });
    let path = path.as_ref().map_or("other", MatchedPath::as_str);
    app.requests.with_label_values(&[path, response.status().as_str()]).inc();
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Images of people belong into no cache.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_http1 {
        app.activity.close(headers);
    }
    response
}

/// Lets those in who have the token.
async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let token = match token_of(&app.doors.token).await {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(error, "the token of reviewers cannot be read");
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "nobody is let in now; the log says why")
                .into_response();
        }
    };
    if is_let_in(request.headers(), &token) {
        return next.run(request).await;
    }
    let message = "Authorization: must be Bearer and the token of reviewers";
    let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (challenge, Problem::new(StatusCode::UNAUTHORIZED, message)).into_response()
}

fn is_let_in(headers: &HeaderMap, token: &str) -> bool {
    // How long it takes to compare digests tells nothing of the token.
    Sha256::digest(admin::bearer(headers)) == Sha256::digest(token)
}

/// The token in a file: 16 characters or more.
pub(super) async fn token_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        file.take(TOKEN).read_to_string(&mut text).await
    };
    read.await.map_err(|error| format!("{}: {error}", path.display()))?;
    let token = text.trim();
    let is_token = token.len() >= SHORT && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        let path = path.display();
        return Err(format!("{path}: a token has {SHORT} visible ASCII characters or more, in one line"));
    }
    Ok(token.to_owned())
}

async fn page() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY)];
    (headers, include_str!("page.html")).into_response()
}

fn id_of(text: &str) -> Result<ItemId, Problem> {
    text.parse().map_err(|error: super::IdError| Problem::new(StatusCode::NOT_FOUND, error.to_string()))
}

fn gone() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, LabelError::Unknown.to_string())
}

async fn items(State(app): State<Arc<App>>, query: Query<Part>) -> Result<Json<Value>, Problem> {
    let Query(Part { after, limit }) = query;
    let limit = limit.unwrap_or(LISTED);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad(format!("limit is {limit}, allowed: 1..={MOST}")));
    }
    let after = after.map(|text| text.parse()).transpose();
    let after = after.map_err(|error: super::IdError| Problem::bad(format!("after: {error}")))?;
    let page = app.desk.waiting(after.as_ref(), limit).await?;
    let items: Vec<Value> = page.items.iter().map(Item::shown).collect();
    Ok(Json(json!({"items": items, "next": page.next, "explains": app.doors.explain.is_some()})))
}

async fn item(State(app): State<Arc<App>>, Segment(id): Segment<String>) -> Result<Json<Value>, Problem> {
    match app.desk.find(&id_of(&id)?).await? {
        Some(Found::Waiting(item)) => Ok(Json(item.shown())),
        Some(Found::Done(done)) => {
            let mut shown = done.shown();
            shown["feedback"] = json!(app.desk.told(&done.item.id).await?);
            Ok(Json(shown))
        }
        None => Err(gone()),
    }
}

async fn image(State(app): State<Arc<App>>, Segment(id): Segment<String>) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let place = app.images.clone().acquire_owned().await.expect("the semaphore is never closed");
    let bytes = match app.desk.image(&id).await {
        Err(CabinetError::Missing(_)) => return Err(gone()),
        read => read?,
    };
    // What is neither of the three is not given, whatever lies there.
    let Some(media) = Media::of(&bytes) else {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the file is neither JPEG, PNG nor WebP"));
    };
    let policy = "default-src 'none'; sandbox";
    let headers = [(CONTENT_TYPE, media.to_string()), (CONTENT_SECURITY_POLICY, policy.to_owned())];
    Ok((headers, Bytes::from_owner(Sent { bytes, _place: place })).into_response())
}

/// An image on its way, which has its place until all of it is written.
struct Sent {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn label(
    State(app): State<Arc<App>>,
    Segment(id): Segment<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let body = body.map_err(|error| {
        Problem::new(error.status(), format!("the body was not read; allowed: {BODY} bytes"))
    })?;
    let Given { label, by } = serde_json::from_slice(&body).map_err(|error| {
        let why: String = error.to_string().chars().take(200).collect();
        Problem::bad(format!("the body must be {{\"label\": class, \"by\": name}}: {why}"))
    })?;
    let by = by.as_deref().map(str::trim).filter(|name| !name.is_empty());
    if by.is_some_and(|name| name.chars().count() > NAME || name.chars().any(char::is_control)) {
        return Err(Problem::bad(format!(
            "by is too long or holds control characters, allowed: {NAME} characters"
        )));
    }
    let given = app.desk.label(&id, &label, by).await;
    let outcome = match &given {
        Ok(_) => "given",
        Err(LabelError::Taken(_)) => "taken",
        Err(LabelError::Unknown | LabelError::Class { .. }) => "refused",
        Err(LabelError::Store(_)) => "failed",
    };
    app.labels.with_label_values(&[outcome]).inc();
    match given {
        Ok(done) => {
            app.courier.wake();
            Ok(Json(done.shown()).into_response())
        }
        Err(LabelError::Taken(first)) => {
            let by = first.by.as_deref().unwrap_or("somebody");
            let error = format!("{by} was first, and said {:?}", first.label);
            let told = json!({"error": error, "label": first.label, "by": first.by, "labelled": first.time});
            Ok((StatusCode::CONFLICT, Json(told)).into_response())
        }
        Err(LabelError::Unknown) => Err(gone()),
        Err(error @ LabelError::Class { .. }) => Err(Problem::bad(error.to_string())),
        Err(LabelError::Store(error)) => Err(error.into()),
    }
}

async fn report(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let report = app.tallies.lock().await.report(&app.desk).await?;
    Ok(Json(report).into_response())
}

impl From<CabinetError> for Problem {
    fn from(error: CabinetError) -> Self {
        tracing::warn!(%error, "the store fails");
        let status = match &error {
            CabinetError::Missing(_) => StatusCode::NOT_FOUND,
            error if error.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, format!("the store: {error}"))
    }
}
