//! The bounded queue between requests and the threads that own the models.
//!
//! Room is taken at the door, counted in images: a request that does not fit is refused at once, never
//! parked. Each worker is an OS thread of its own, because libtorch keeps state per thread (grad mode,
//! number of threads, caches) that a pool would leak.
//!
//! A worker takes all that waits, up to a batch, in the moment in which it is free: an idle server adds no time to a
//! request, and batches grow by themselves with the load. They have few sizes ([`together`]), for which engines prepare
//! themselves: who does not fit into one is first in the next. The live come before copies (`x-sluice-shadow`), which may take
//! half of the room.

mod waiting;
mod work;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::{Engine, EngineError};
use waiting::Waiting;

/// Why there are no outputs.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// No room for the images.
    #[error("the queue of {capacity} images is full")]
    Full {
        /// Room of the queue, in images.
        capacity: usize,
    },
    /// Its time was over before a worker was free.
    #[error("the request's time was over before the model was free")]
    Late,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The worker is gone.
    #[error("the worker thread is gone")]
    Stopped,
}

/// How much waits, and how it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Images that may wait or be worked on, at least 1.
    pub capacity: usize,
    /// Most images that run together, at least 1. A request of more runs in parts.
    pub batch: usize,
    /// For how long a worker waits for a batch to fill, from its first request on. Zero: not at all.
    pub delay: Duration,
}

/// How many of so many images run together: 1, 2, 3, 4, 6, 8, 12, 16, 24, … Between the smallest and 64 there are twelve sizes, and no
/// more than a third is left for the next batch.
pub(crate) fn together(images: usize) -> usize {
    let Some(log) = images.checked_ilog2() else { return 0 };
    let (power, half) = (1 << log, (1 << log) / 2);
    if images >= power + half { power + half } else { power }
}

/// The sizes of batches of at most so many images, smallest first.
pub(crate) fn sizes(most: usize) -> impl Iterator<Item = usize> {
    (1..=most).filter(|images| together(*images) == *images)
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Live,
    /// A copy of a request: it is answered for a comparison.
    Shadow,
}

/// What a request asks of the model.
#[derive(Debug)]
pub struct Order {
    /// Inputs, one after the other.
    pub inputs: Vec<f32>,
    /// How many.
    pub images: usize,
    /// Who asks.
    pub priority: Priority,
    /// When nobody wants the outputs any more.
    pub deadline: Option<Instant>,
}

/// The front of the queue. Clones share it; the workers end when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Queue {
    front: Arc<Front>,
}

#[derive(Debug)]
struct Front {
    waiting: Arc<Waiting>,
    room: Arc<Semaphore>,
    /// What copies may take of the room.
    half: Arc<Semaphore>,
    capacity: usize,
    metrics: Metrics,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

/// One request in the queue.
#[derive(Debug)]
struct Job {
    inputs: Vec<f32>,
    images: usize,
    deadline: Option<Instant>,
    arrived: Instant,
    reply: oneshot::Sender<Result<Vec<f32>, QueueError>>,
    /// Given back when the job is done or dropped.
    place: Place,
}

/// Room that images take up, and its trace in the metrics.
#[derive(Debug)]
struct Place {
    _room: OwnedSemaphorePermit,
    _half: Option<OwnedSemaphorePermit>,
    images: i64,
    queued: IntGauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queued.sub(self.images);
    }
}

impl Queue {
    /// Starts one thread per maker of an engine; each makes its engine on its own thread. Returns once all
    /// are made.
    ///
    /// # Errors
    /// The first error of a maker, or if a thread cannot be started.
    pub fn start<M>(makers: Vec<M>, room: Room, metrics: &Metrics) -> Result<Self, EngineError>
    where
        M: FnOnce() -> Result<Box<dyn Engine>, EngineError> + Send + 'static,
    {
        let waiting = Arc::new(Waiting::new(room));
        // Made first: when a maker fails, dropping it ends the workers that have started.
        let front = Front {
            waiting: waiting.clone(),
            room: Arc::new(Semaphore::new(room.capacity)),
            half: Arc::new(Semaphore::new(room.capacity.div_ceil(2))),
            capacity: room.capacity,
            metrics: metrics.clone(),
        };
        let (made, results) = channel();
        for (i, make) in makers.into_iter().enumerate() {
            let (waiting, made, metrics) = (waiting.clone(), made.clone(), metrics.clone());
            let body = move || match work::caught(EngineError::Load, make) {
                Ok(engine) => {
                    let _ = made.send(Ok(()));
                    drop(made);
                    work::work(engine, &waiting, &metrics);
                }
                Err(error) => drop(made.send(Err(error))),
            };
            let spawned = thread::Builder::new().name(format!("model-{i}")).spawn(body);
            spawned.map_err(|error| EngineError::Load(format!("no thread: {error}")))?;
        }
        drop(made);
        results.into_iter().collect::<Result<(), EngineError>>()?;
        Ok(Self { front: Arc::new(front) })
    }

    /// Runs inputs through the model.
    ///
    /// # Errors
    /// At once if there is no room; else if the time is over before a worker is free, or the engine fails.
    pub async fn run(&self, order: Order) -> Result<Vec<f32>, QueueError> {
        let Order { inputs, images, priority, deadline } = order;
        let (place, (reply, answer)) = (self.place(images, priority)?, oneshot::channel());
        let job = Job { inputs, images, deadline, arrived: Instant::now(), reply, place };
        self.front.waiting.push(job, priority);
        let outputs = until(deadline, answer).await;
        let metrics = &self.front.metrics;
        match &outputs {
            Ok(_) => metrics.images.inc_by(images as u64),
            Err(QueueError::Late) => metrics.late.inc(),
            Err(_) => {}
        }
        outputs
    }

    /// Whether there is room for one image now: who would be refused anyway is refused before its image is decoded, which costs
    /// more than all else of a refusal.
    ///
    /// # Errors
    /// If there is none.
    pub fn admit(&self, priority: Priority) -> Result<(), QueueError> {
        let Front { room, half, capacity, metrics, .. } = &*self.front;
        let is_full =
            room.available_permits() == 0 || (priority == Priority::Shadow && half.available_permits() == 0);
        if is_full {
            metrics.refused.with_label_values(&["queue"]).inc();
            return Err(QueueError::Full { capacity: *capacity });
        }
        Ok(())
    }

    fn place(&self, images: usize, priority: Priority) -> Result<Place, QueueError> {
        let Front { room, half, capacity, metrics, .. } = &*self.front;
        let full = || {
            metrics.refused.with_label_values(&["queue"]).inc();
            QueueError::Full { capacity: *capacity }
        };
        let wanted = u32::try_from(images).map_err(|_| full())?;
        let take = |of: &Arc<Semaphore>| of.clone().try_acquire_many_owned(wanted).map_err(|_| full());
        let half = if priority == Priority::Shadow { Some(take(half)?) } else { None };
        let room = take(room)?;
        metrics.queued.add(i64::from(wanted));
        Ok(Place { _room: room, _half: half, images: i64::from(wanted), queued: metrics.queued.clone() })
    }
}

/// Waits for the outputs, but not beyond the deadline.
async fn until(
    deadline: Option<Instant>,
    answer: oneshot::Receiver<Result<Vec<f32>, QueueError>>,
) -> Result<Vec<f32>, QueueError> {
    let Some(deadline) = deadline else { return answer.await.unwrap_or(Err(QueueError::Stopped)) };
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(answer)) => answer,
        // A worker leaves out whose time is over.
        Ok(Err(_)) if Instant::now() < deadline => Err(QueueError::Stopped),
        Ok(Err(_)) | Err(_) => Err(QueueError::Late),
    }
}

#[cfg(test)]
mod tests;
