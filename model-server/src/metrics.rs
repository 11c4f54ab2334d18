//! What the server says about itself on `/metrics`.

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Seconds, from a tiny model on a fast core to a request that waited.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Images of a batch.
const BATCHES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// All metrics of a server. Labels take values from fixed lists only.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) images: IntCounter,
    pub(crate) inference_seconds: Histogram,
    pub(crate) queue_seconds: Histogram,
    pub(crate) batch_images: Histogram,
    pub(crate) decode_seconds: Histogram,
    pub(crate) preprocess_seconds: Histogram,
    pub(crate) answers: IntCounterVec,
    pub(crate) queued: IntGauge,
    pub(crate) cancelled: IntCounter,
    pub(crate) late: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) ready_seconds: Gauge,
    pub(crate) models: IntGauge,
    pub(crate) model_bytes: IntGauge,
    pub(crate) loads: IntCounterVec,
    pub(crate) unloads: IntCounterVec,
}

impl Metrics {
    /// Creates and registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("sluice_server_{name}"), help);
        let histogram = |name: &str, help: &str| {
            HistogramOpts::new(format!("sluice_server_{name}"), help).buckets(SECONDS.to_vec())
        };
        let metrics = Self {
            requests: IntCounterVec::new(opts("requests_total", "Answered requests."), &["path", "code"])?,
            request_seconds: HistogramVec::new(
                histogram("request_seconds", "Time from a request's head to its answer."),
                &["path"],
            )?,
            images: IntCounter::with_opts(opts("images_total", "Classified images."))?,
            inference_seconds: Histogram::with_opts(histogram(
                "inference_seconds",
                "Time of a forward pass.",
            ))?,
            queue_seconds: Histogram::with_opts(histogram(
                "queue_seconds",
                "Time from a request's arrival in the queue to its batch.",
            ))?,
            decode_seconds: Histogram::with_opts(histogram("decode_seconds", "Time to decode an image."))?,
            preprocess_seconds: Histogram::with_opts(histogram(
                "preprocess_seconds",
                "Time to resize and normalise an image.",
            ))?,
            answers: IntCounterVec::new(
                opts(
                    "answers_total",
                    "Answers to images and tensors, by who decides; null: numbers that are none.",
                ),
                &["decision"],
            )?,
            batch_images: Histogram::with_opts(
                histogram("batch_images", "Images of a forward pass.").buckets(BATCHES.to_vec()),
            )?,
            queued: IntGauge::with_opts(opts(
                "queued_images",
                "Images that wait for a worker or are with it.",
            ))?,
            cancelled: IntCounter::with_opts(opts(
                "cancelled_total",
                "Requests that were skipped because their client left.",
            ))?,
            late: IntCounter::with_opts(opts(
                "late_total",
                "Requests whose time was over before the model was free.",
            ))?,
            refused: IntCounterVec::new(
                opts("refused_total", "Requests refused with 429, by what was full."),
                &["full"],
            )?,
            connections: IntGauge::with_opts(opts("connections", "Open connections of clients."))?,
            ready_seconds: Gauge::with_opts(opts("ready_seconds", "Time from start to readiness."))?,
            models: IntGauge::with_opts(opts("models", "Models of a repository that are loaded."))?,
            model_bytes: IntGauge::with_opts(opts(
                "model_bytes",
                "Bytes of --memory that they are taken to need.",
            ))?,
            loads: IntCounterVec::new(opts("loads_total", "Loads of models of a repository."), &["result"])?,
            unloads: IntCounterVec::new(
                opts("unloads_total", "Models that left: replaced, for room, on request, their folder gone."),
                &["why"],
            )?,
        };
        for collector in metrics.all() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn all(&self) -> Vec<Box<dyn Collector>> {
        let Self {
            requests,
            request_seconds,
            images,
            inference_seconds,
            queue_seconds,
            batch_images,
            queued,
            ..
        } = self;
        let Self {
            cancelled,
            late,
            refused,
            connections,
            ready_seconds,
            models,
            model_bytes,
            loads,
            unloads,
            ..
        } = self;
        vec![
            Box::new(requests.clone()),
            Box::new(request_seconds.clone()),
            Box::new(images.clone()),
            Box::new(inference_seconds.clone()),
            Box::new(queue_seconds.clone()),
            Box::new(batch_images.clone()),
            Box::new(queued.clone()),
            Box::new(self.decode_seconds.clone()),
            Box::new(self.preprocess_seconds.clone()),
            Box::new(self.answers.clone()),
            Box::new(cancelled.clone()),
            Box::new(late.clone()),
            Box::new(refused.clone()),
            Box::new(connections.clone()),
            Box::new(ready_seconds.clone()),
            Box::new(models.clone()),
            Box::new(model_bytes.clone()),
            Box::new(loads.clone()),
            Box::new(unloads.clone()),
        ]
    }

    /// Adds the one line that says what is served.
    pub(crate) fn describe(
        registry: &Registry,
        version: &str,
        revision: &str,
        digest: &str,
    ) -> prometheus::Result<()> {
        let opts = Opts::new("sluice_server_info", "What is served; always 1.")
            .const_label("version", version)
            .const_label("revision", revision)
            .const_label("digest", digest);
        let info = IntGauge::with_opts(opts)?;
        info.set(1);
        registry.register(Box::new(info))
    }
}
