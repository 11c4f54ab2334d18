//! `POST /feedback`: one label or many, from clients that have the token. Each is counted or refused by itself.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use wire::endpoint::FEEDBACK;

use super::{Feedback, Said, Whose, now};
use crate::budget;
use crate::listen::accept;

/// Largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Most labels of one request.
const MAX_LABELS: usize = 1_000;
/// Longest time for a head, and between two requests of a connection.
const IDLE: Duration = Duration::from_secs(30);
/// Longest time for a body.
const INTAKE: Duration = Duration::from_secs(10);
/// Longest life of a connection; then it has [`INTAKE`] to end what is under way.
const LIFE: Duration = Duration::from_secs(300);

/// What a client sends: one label, or an object with many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    id: Option<String>,
    ticket: Option<String>,
    class: Option<String>,
    confidence: Option<f64>,
    label: Option<String>,
    labels: Option<Vec<Label>>,
}

/// A label as it is written: with an id, or with a ticket and what was answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    id: Option<String>,
    ticket: Option<String>,
    class: Option<String>,
    confidence: Option<f64>,
    label: Option<String>,
}

/// One label.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
enum Label {
    /// From the client that got the answer.
    OfId { id: String, label: String },
    /// From whoever kept the answer for a person.
    OfTicket { ticket: String, class: String, confidence: Option<f64>, label: String },
}

impl TryFrom<Fields> for Label {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields { id, ticket, class, confidence, label } = fields;
        let missing = |name: &str| format!("missing field `{name}`");
        match (id, ticket) {
            (Some(_), Some(_)) => Err("field `ticket` beside `id`".into()),
            (Some(_), None) if class.is_some() || confidence.is_some() => {
                Err("field `class` or `confidence` beside `id`, which has them".into())
            }
            (Some(id), None) => Ok(Self::OfId { id, label: label.ok_or_else(|| missing("label"))? }),
            (None, Some(ticket)) => {
                if let Some(confidence) = confidence.filter(|c| !(0.0..=1.0).contains(c)) {
                    return Err(format!("field `confidence` is {confidence}, allowed: 0..=1"));
                }
                let class = class.ok_or_else(|| missing("class"))?;
                Ok(Self::OfTicket {
                    ticket,
                    class,
                    confidence,
                    label: label.ok_or_else(|| missing("label"))?,
                })
            }
            (None, None) => Err(missing("id")),
        }
    }
}

impl Label {
    /// Which answer it is of, and what is true.
    fn parts(&self) -> (Whose<'_>, &str) {
        match self {
            Self::OfId { id, label } => (Whose::Id(id), label),
            Self::OfTicket { ticket, class, confidence, label } => {
                (Whose::Ticket(ticket, Said { class, confidence: *confidence }), label)
            }
        }
    }
}

/// What became of the labels of a request.
#[derive(Debug, Default, Serialize)]
struct Taken {
    accepted: usize,
    refused: Vec<Item>,
}

/// One that was not counted.
#[derive(Debug, Serialize)]
struct Item {
    /// Its place in the request, from 0.
    index: usize,
    /// Why, as `sluice_labels_refused_total` spells it.
    code: &'static str,
    /// The same for people.
    reason: String,
}

/// An answer that is no list of what was taken.
struct Fault {
    status: StatusCode,
    what: String,
}

impl Fault {
    fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }
}

type Answer = Response<Full<Bytes>>;

/// Serves the port until it is dropped.
pub async fn serve_feedback(listener: TcpListener, feedback: Arc<Feedback>) {
    let places = Arc::new(Semaphore::new(budget::LABELLERS));
    loop {
        let (stream, permit) = accept(&listener, &places, "a connection for labels").await;
        let feedback = feedback.clone();
        tokio::spawn(async move {
            connection(stream, feedback).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, feedback: Arc<Feedback>) {
    let service = service_fn(|request| {
        let feedback = feedback.clone();
        async move { Ok::<_, Infallible>(handle(request, &feedback).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(budget::HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(INTAKE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection for labels ended");
    }
}

async fn handle(request: Request<Incoming>, feedback: &Feedback) -> Answer {
    let taken = take(request, feedback).await;
    feedback.answered(taken.as_ref().map_or_else(|fault| fault.status, |_| StatusCode::OK));
    match taken {
        Ok(taken) => answer(StatusCode::OK, &taken),
        Err(Fault { status, what }) => {
            let mut answer = answer(status, &serde_json::json!({ "error": what }));
            // What is left of the body is not read.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            answer
        }
    }
}

async fn take(request: Request<Incoming>, feedback: &Feedback) -> Result<Taken, Fault> {
    if request.uri().path() != FEEDBACK {
        return Err(Fault::new(StatusCode::NOT_FOUND, format!("labels are posted to {FEEDBACK}")));
    }
    if request.method() != Method::POST {
        return Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "labels are posted"));
    }
    admit(request.headers(), feedback)?;
    let labels = parse(&body(request.into_body()).await?)?;
    let (mut taken, now) = (Taken::default(), now());
    for (index, label) in labels.iter().enumerate() {
        let (whose, label) = label.parts();
        match feedback.take(whose, label, now) {
            Ok(()) => taken.accepted += 1,
            Err(why) => taken.refused.push(Item { index, code: why.as_str(), reason: why.to_string() }),
        }
    }
    Ok(taken)
}

fn admit(headers: &HeaderMap, feedback: &Feedback) -> Result<(), Fault> {
    match feedback.admits(admin::bearer(headers)) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            "Authorization: must be Bearer and the token of the deployment's Secret",
        )),
        None => {
            Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "no key was read yet: the router's log says why"))
        }
    }
}

async fn body(body: Incoming) -> Result<Bytes, Fault> {
    match tokio::time::timeout(INTAKE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {MAX_BODY} bytes: send fewer labels at once"),
        )),
        Ok(Err(_)) => Err(Fault::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// One label, or a list of them.
fn parse(body: &[u8]) -> Result<Vec<Label>, Fault> {
    let is_list = body.trim_ascii_start().starts_with(b"[");
    let read = if is_list {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    } else {
        serde_json::from_slice(body).map_err(|error| error.to_string()).and_then(Sent::labels)
    };
    let labels = read.map_err(|error| {
        let what = format!(
            "the body must be {{\"id\": …, \"label\": …}}, {{\"labels\": […]}} or a list of them: {error}"
        );
        Fault::new(StatusCode::BAD_REQUEST, what)
    })?;
    if labels.len() > MAX_LABELS {
        let what = format!("{} labels, at most {MAX_LABELS} at once are taken", labels.len());
        return Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, what));
    }
    Ok(labels)
}

impl Sent {
    fn labels(self) -> Result<Vec<Label>, String> {
        let Self { id, ticket, class, confidence, label, labels } = self;
        let fields = Fields { id, ticket, class, confidence, label };
        match labels {
            None => Ok(vec![Label::try_from(fields)?]),
            Some(labels) if fields.is_empty() => Ok(labels),
            Some(_) => Err("field `labels` beside `id` or `label`".into()),
        }
    }
}

impl Fields {
    fn is_empty(&self) -> bool {
        let texts = [&self.id, &self.ticket, &self.class, &self.label];
        texts.iter().all(|text| text.is_none()) && self.confidence.is_none()
    }
}

fn answer(status: StatusCode, what: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(what).expect("texts and numbers are JSON");
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
