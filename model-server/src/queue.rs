//! The bounded queue between requests and the threads that own the models.
//!
//! Room is taken at the door, counted in images: a request that does not fit is refused at once, never
//! parked. Each worker is an OS thread of its own, because libtorch keeps state per thread (grad mode,
//! number of threads, caches) that a pool would leak.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::{Engine, EngineError};

/// Why there are no outputs.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No room for the images.
    #[error("the queue of {capacity} images is full")]
    Full {
        /// Room of the queue, in images.
        capacity: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The worker is gone.
    #[error("the worker thread is gone")]
    Stopped,
}

/// The front of the queue. Clones share it; the workers end when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Queue {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    capacity: usize,
    metrics: Metrics,
}

#[derive(Debug)]
struct Job {
    inputs: Vec<f32>,
    images: usize,
    reply: oneshot::Sender<Result<Vec<f32>, EngineError>>,
    /// Given back when the job is done or dropped.
    room: Room,
}

/// Room that images take up, and its trace in the metrics.
#[derive(Debug)]
struct Room {
    _permit: OwnedSemaphorePermit,
    images: i64,
    metrics: Metrics,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.queued.sub(self.images);
    }
}

impl Queue {
    /// Starts one thread per maker of an engine; each makes its engine on its own thread. Returns once all
    /// are made.
    ///
    /// # Errors
    /// The first error of a maker, or if a thread cannot be started.
    pub fn start<M>(makers: Vec<M>, capacity: usize, metrics: Metrics) -> Result<Self, EngineError>
    where
        M: FnOnce() -> Result<Box<dyn Engine>, EngineError> + Send + 'static,
    {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let (made, results) = channel();
        for (i, make) in makers.into_iter().enumerate() {
            let (waiting, made, metrics) = (waiting.clone(), made.clone(), metrics.clone());
            let body = move || match caught(EngineError::Load, make) {
                Ok(engine) => {
                    let _ = made.send(Ok(()));
                    drop(made);
                    work(engine, &waiting, &metrics);
                }
                Err(error) => drop(made.send(Err(error))),
            };
            let spawned = thread::Builder::new().name(format!("model-{i}")).spawn(body);
            spawned.map_err(|error| EngineError::Load(format!("no thread: {error}")))?;
        }
        drop(made);
        results.into_iter().collect::<Result<(), EngineError>>()?;
        Ok(Self { jobs, room: Arc::new(Semaphore::new(capacity)), capacity, metrics })
    }

    /// Runs `images` inputs through the model.
    ///
    /// # Errors
    /// At once if there is no room; else if the engine fails.
    pub async fn run(&self, inputs: Vec<f32>, images: usize) -> Result<Vec<f32>, QueueError> {
        let full = QueueError::Full { capacity: self.capacity };
        let Ok(wanted) = u32::try_from(images) else { return Err(full) };
        let Ok(permit) = self.room.clone().try_acquire_many_owned(wanted) else {
            self.metrics.refused.with_label_values(&["queue"]).inc();
            return Err(full);
        };
        self.metrics.queued.add(i64::from(wanted));
        let room = Room { _permit: permit, images: i64::from(wanted), metrics: self.metrics.clone() };
        let (reply, answer) = oneshot::channel();
        let job = Job { inputs, images, reply, room };
        self.jobs.send(job).map_err(|_| QueueError::Stopped)?;
        let outputs = answer.await.map_err(|_| QueueError::Stopped)??;
        self.metrics.images.inc_by(u64::from(wanted));
        Ok(outputs)
    }
}

/// Runs what is not ours; a panic is its error and not the thread's end. What it left half done is its own:
/// an engine that is broken for good goes on failing, and that is seen as errors of its revision.
fn caught<T>(
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
        if thread::panicking() {
            tracing::error!("a worker thread panicked: the process ends");
            std::process::abort();
        }
    }
}

/// Takes jobs until no queue is left. Only one idle worker waits at the channel; the others wait for it.
fn work(mut engine: Box<dyn Engine>, waiting: &Mutex<Receiver<Job>>, metrics: &Metrics) {
    let _abort = OnPanicAbort;
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if job.reply.is_closed() {
            metrics.cancelled.inc();
            continue;
        }
        let start = Instant::now();
        let outputs = caught(EngineError::Run, || engine.run(&job.inputs, job.images));
        metrics.inference_seconds.observe(start.elapsed().as_secs_f64());
        // Room first: who has an answer may ask again at once. The client may have left meanwhile.
        drop(job.room);
        let _ = job.reply.send(outputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a word before each answer.
    struct Held(Receiver<()>);

    impl Engine for Held {
        fn run(&mut self, inputs: &[f32], _: usize) -> Result<Vec<f32>, EngineError> {
            self.0.recv().map_err(|error| EngineError::Run(error.to_string()))?;
            Ok(inputs.to_vec())
        }
    }

    fn held(capacity: usize) -> (Queue, Sender<()>, Metrics) {
        let (go, word) = channel();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let make = || Ok(Box::new(Held(word)) as Box<dyn Engine>);
        (Queue::start(vec![make], capacity, metrics.clone()).unwrap(), go, metrics)
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_at_once_and_room_comes_back() {
        let (queue, go, metrics) = held(3);
        let first = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(vec![1.0], 2).await }
        });
        while metrics.queued.get() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(queue.run(vec![2.0], 2).await, Err(QueueError::Full { capacity: 3 })));
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), [1.0]);
        go.send(()).unwrap();
        assert_eq!(queue.run(vec![3.0], 3).await.unwrap(), [3.0]);
        assert_eq!((metrics.queued.get(), metrics.images.get()), (0, 5));
    }

    #[tokio::test]
    async fn a_request_whose_client_left_is_skipped() {
        let (queue, go, metrics) = held(3);
        let run = |value| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.run(vec![value], 1).await })
        };
        let (first, second) = (run(1.0), run(2.0));
        while metrics.queued.get() < 2 {
            tokio::task::yield_now().await;
        }
        second.abort();
        let _ = second.await;
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), [1.0]);
        let third = run(3.0);
        go.send(()).unwrap();
        assert_eq!(third.await.unwrap().unwrap(), [3.0]);
        assert_eq!(metrics.cancelled.get(), 1);
    }

    /// Panics at a negative input.
    struct Fragile;

    impl Engine for Fragile {
        fn run(&mut self, inputs: &[f32], _: usize) -> Result<Vec<f32>, EngineError> {
            assert!(inputs[0] >= 0.0, "an input below 0");
            Ok(inputs.to_vec())
        }
    }

    #[tokio::test]
    async fn an_engine_that_panics_fails_one_request_and_answers_the_next() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let make = || Ok(Box::new(Fragile) as Box<dyn Engine>);
        let queue = Queue::start(vec![make], 1, metrics.clone()).unwrap();
        for _ in 0..3 {
            let error = queue.run(vec![-1.0], 1).await.unwrap_err();
            assert_eq!(error.to_string(), "the model failed: panic: an input below 0");
            assert_eq!(queue.run(vec![1.0], 1).await.unwrap(), [1.0]);
        }
        assert_eq!((metrics.queued.get(), metrics.images.get()), (0, 3));
    }

    #[test]
    fn a_maker_that_panics_is_an_error() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let make = || panic!("no weights");
        let error = Queue::start(vec![make], 1, metrics).unwrap_err();
        assert_eq!(error.to_string(), "the model cannot be loaded: panic: no weights");
    }

    #[test]
    fn an_engine_that_cannot_be_made_is_an_error() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let make = || Err(EngineError::Load("no".into()));
        assert!(matches!(Queue::start(vec![make], 1, metrics), Err(EngineError::Load(_))));
    }
}
