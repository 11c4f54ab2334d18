//! A worker: takes batches, runs them, answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::waiting::{Batch, Waiting};
use super::{Job, QueueError, together};
use crate::metrics::Metrics;
use crate::{Engine, EngineError};

/// Runs what is not ours; a panic is its error and not the thread's end. What it left half done is its own:
/// an engine that is broken for good goes on failing, and that is seen as errors of its revision.
pub(super) fn caught<T>(
    error: impl FnOnce(String) -> EngineError,
    run: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(error(format!("panic: {}", told(&*panic)))))
}

/// What a panic said, cut.
fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    text.unwrap_or("no message").lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Ends the process if its thread panics: a server without its workers would stay ready and answer nobody,
/// a restart helps.
struct OnPanicAbort;

impl Drop for OnPanicAbort {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker thread panicked: the process ends");
            std::process::abort();
        }
    }
}

/// Takes batches until no queue is left.
pub(super) fn work(engine: Box<dyn Engine>, waiting: &Waiting, metrics: &Metrics) {
    let _abort = OnPanicAbort;
    let mut worker = Worker { engine, most: waiting.most(), inputs: vec![], metrics };
    while let Some(Batch { jobs, left }) = waiting.take() {
        metrics.cancelled.inc_by(left as u64);
        worker.run(jobs);
    }
}

struct Worker<'a> {
    engine: Box<dyn Engine>,
    /// Most images of a batch.
    most: usize,
    /// Inputs of a batch, kept for its memory.
    inputs: Vec<f32>,
    metrics: &'a Metrics,
}

impl Worker<'_> {
    /// Runs jobs together, and each on its own if that fails: what one of them asks for shall not fail the others.
    fn run(&mut self, mut jobs: Vec<Job>) {
        let start = Instant::now();
        jobs.iter().for_each(|job| self.metrics.queue_seconds.observe((start - job.arrived).as_secs_f64()));
        if jobs.len() < 2 {
            return jobs.into_iter().for_each(|job| self.run_one(job));
        }
        self.inputs.clear();
        jobs.iter().for_each(|job| self.inputs.extend_from_slice(&job.inputs));
        let images: usize = jobs.iter().map(|job| job.images).sum();
        let inputs = std::mem::take(&mut self.inputs);
        let outputs = self.infer(&inputs, images);
        self.inputs = inputs;
        let Ok(outputs) = outputs else {
            return jobs.into_iter().for_each(|job| self.run_one(job));
        };
        let classes = outputs.len() / images;
        let mut from = 0;
        for job in jobs.drain(..) {
            let to = from + job.images * classes;
            let own = outputs[from..to].to_vec();
            from = to;
            answer(job, Ok(own));
        }
    }

    fn run_one(&mut self, job: Job) {
        let outputs = self.infer(&job.inputs, job.images);
        answer(job, outputs.map_err(QueueError::from));
    }

    /// Runs inputs in batches of sizes that the engine was warmed up for.
    fn infer(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let length = inputs.len() / images.max(1);
        let mut outputs = vec![];
        let mut done = 0;
        while done < images {
            let batch = together(self.most.min(images - done));
            let part = &inputs[done * length..(done + batch) * length];
            done += batch;
            let start = Instant::now();
            let some = caught(EngineError::Run, || self.engine.run(part, batch));
            self.metrics.inference_seconds.observe(start.elapsed().as_secs_f64());
            self.metrics.batch_images.observe(batch as f64);
            match some {
                Ok(first) if outputs.is_empty() => outputs = first,
                some => outputs.extend(some?),
            }
        }
        Ok(outputs)
    }
}

/// Room first: who has an answer may ask again at once. The client may have left meanwhile.
fn answer(job: Job, result: Result<Vec<f32>, QueueError>) {
    let Job { reply, place, .. } = job;
    drop(place);
    let _ = reply.send(result);
}
