//! What is told of single requests, where it is asked for: a line of the access log, and a span of a trace (ADR 18).
//! Both go through bounded queues and are dropped, and counted, rather than waited with.

mod access;
mod context;
mod export;
mod otlp;
mod record;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request};

use access::Entry;
use admin::Lines;
use context::{Context, TRACEPARENT};
pub use export::EndpointError;
use export::Spans;
pub use otlp::Resource;
use record::Trace;
pub(crate) use record::{Record, Recording};

/// Longest time in which what is queued at the end is still told.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is told, and of how many. By default nothing.
#[derive(Default)]
pub struct Telemetry {
    /// With the percentage of requests.
    log: Option<(Lines<Entry>, u8)>,
    /// With the percentage of requests without a trace.
    spans: Option<(Spans, u8)>,
}

/// Why a request was not assigned: comes with the answer.
#[derive(Clone, Copy)]
pub(crate) struct Unassigned(pub(crate) &'static str);

impl Telemetry {
    /// The same that writes a line for this percentage of requests, 0..=100, and for each that fails.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub fn with_access_log(self, sample: u8, out: impl Write + Send + 'static) -> io::Result<Self> {
        Ok(Self { log: Some((access::start(out)?, sample)), ..self })
    }

    /// The same that exports spans to `<endpoint>/v1/traces`: of requests whose trace is sampled, and of this
    /// percentage, 0..=100, of those that come without one. To be called in the runtime that is to export.
    ///
    /// # Errors
    /// When the address is none.
    pub fn with_spans(self, endpoint: &str, sample: u8, resource: Resource) -> Result<Self, EndpointError> {
        Ok(Self { spans: Some((Spans::start(endpoint, resource)?, sample)), ..self })
    }

    /// Whether anything is told at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.log.is_some() || self.spans.is_some()
    }

    /// Shows what was told to a registry.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        if let Some((log, _)) = &self.log {
            registry.register(Box::new(log.dropped().clone()))?;
        }
        match &self.spans {
            Some((spans, _)) => registry.register(Box::new(spans.counts().clone())),
            None => Ok(()),
        }
    }

    /// Tells what is still queued, within two seconds.
    pub async fn finish(&self) {
        let log = async {
            if let Some((log, _)) = &self.log {
                log.flush().await;
            }
        };
        let spans = async {
            if let Some((spans, _)) = &self.spans {
                spans.flush().await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, async { tokio::join!(log, spans) }).await.is_err() {
            tracing::warn!("the last lines or spans could not be told in time");
        }
    }

    /// The request's place in a trace, as its headers say from now on.
    fn trace<B>(&self, came: Option<Context>, request: &mut Request<B>) -> Option<Trace> {
        let Some((_, sample)) = &self.spans else {
            return came.map(|context| Trace { context, parent: Some(context.span), exported: false });
        };
        let parent = came.map(|context| context.span);
        let context = match came {
            Some(context) if !context.sampled() => {
                return Some(Trace { context, parent, exported: false });
            }
            Some(context) => context.child(),
            None => Context::root(drawn(*sample)),
        };
        request.headers_mut().insert(TRACEPARENT, context.header());
        Some(Trace { context, parent, exported: context.sampled() })
    }

    fn tell(&self, record: &Arc<Record>) {
        if let Some((log, _)) = &self.log
            && (record.drawn || record.fate().is_error())
        {
            log.push(Entry(record.clone()));
        }
        if let Some((spans, _)) = &self.spans
            && record.trace.is_some_and(|trace| trace.exported)
        {
            spans.push(record.clone());
        }
    }
}

/// Begins to record a request, if anything is told of it. Its trace context is made what may be passed on in any case.
/// Whoever handles the request finds the [`Record`] among its extensions.
pub(crate) fn begin<B>(
    telemetry: Option<&Arc<Telemetry>>,
    request: &mut Request<B>,
    id: &HeaderValue,
) -> Option<Recording> {
    let came = context::read(request.headers_mut());
    let telemetry = telemetry?;
    let trace = telemetry.trace(came, request);
    let logged = telemetry.log.as_ref().map(|(_, sample)| drawn(*sample));
    // Without a log only what is exported is worth a record.
    if logged.is_none() && !trace.is_some_and(|trace| trace.exported) {
        return None;
    }
    let record = Arc::new(Record::new(request, id, logged.unwrap_or(false), trace));
    request.extensions_mut().insert(record.clone());
    Some(Recording::new(telemetry.clone(), record))
}

fn drawn(percent: u8) -> bool {
    rand::random_range(0..100) < percent
}
