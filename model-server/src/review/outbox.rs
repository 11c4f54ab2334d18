//! What is to be written of answers, while requests go on: a queue with an end, in images and in bytes. What finds no room in
//! it is dropped and counted, and so is what the store does not take in time.
//!
//! Each queue has a thread of its own that writes. So encryption takes no time of those who answer, and a volume that hangs holds
//! up a few threads that nobody else needs.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jiff::Timestamp;
use prometheus::{IntCounterVec, Opts, Registry};
use sources::{Cabinet, CabinetError};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::desk::{IMAGE, json};
use super::{Desk, Item};

/// Bytes that an image takes beside itself and the names of classes.
const BESIDE: usize = 4 << 10;
/// Threads for files of a queue, at most: a volume that hangs keeps them.
const FILES: usize = 8;
/// Seconds between two lines of the log about a store that fails.
const SILENCE: i64 = 60;

/// How much may wait to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Images.
    pub images: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Images that are written at one time.
    pub writers: usize,
    /// How long one may take.
    pub time: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self { images: 256, bytes: 32 << 20, writers: 4, time: Duration::from_secs(30) }
    }
}

/// What becomes of images that are kept.
#[derive(Debug, Clone)]
pub struct KeptMetrics {
    pub(super) kept: IntCounterVec,
    pub(super) dropped: IntCounterVec,
}

impl KeptMetrics {
    /// Creates and registers them.
    ///
    /// # Errors
    /// If the registry has metrics of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let kept = Opts::new("sluice_server_kept_images_total", "Images that were kept, by what for.");
        let dropped = Opts::new(
            "sluice_server_kept_images_dropped_total",
            "Images that were to be kept and were not, by what for: no room (full), the store took none in time (failed), \
            the server ended before (ended).",
        );
        let metrics = Self {
            kept: IntCounterVec::new(kept, &["for"])?,
            dropped: IntCounterVec::new(dropped, &["for", "reason"])?,
        };
        registry.register(Box::new(metrics.kept.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        Ok(metrics)
    }
}

/// An image to be written, and what was said of it.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What was said of it.
    pub item: Item,
    /// The image, as it came.
    pub image: Bytes,
}

/// Where parcels go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To people.
    Review,
    /// To a folder of each day.
    Capture,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Capture => "capture",
        }
    }

    async fn write(
        self,
        cabinet: Arc<dyn Cabinet>,
        Parcel { item, image }: Parcel,
    ) -> Result<(), CabinetError> {
        match self {
            Self::Review => Desk::new(cabinet).lay(&item, image).await,
            Self::Capture => {
                let day = item.time.strftime("%Y-%m-%d");
                let (id, kind) = (&item.id, item.media_type.extension());
                cabinet.put(&format!("captures/{day}/{id}.{kind}"), image).await?;
                cabinet.put(&format!("captures/{day}/{id}.json"), json(&item)).await
            }
        }
    }
}

/// The queue in front of a store.
pub struct Outbox {
    place: Place,
    send: mpsc::Sender<(Parcel, OwnedSemaphorePermit)>,
    bytes: Arc<Semaphore>,
    /// Parcels that were taken and are neither written nor dropped.
    left: Arc<watch::Sender<usize>>,
    metrics: KeptMetrics,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Outbox {
    /// For images that people look at.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn for_review(cabinet: &Arc<dyn Cabinet>, room: Room, metrics: &KeptMetrics) -> io::Result<Self> {
        Self::start(Place::Review, cabinet, room, metrics)
    }

    /// For images that are only kept.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn for_capture(cabinet: &Arc<dyn Cabinet>, room: Room, metrics: &KeptMetrics) -> io::Result<Self> {
        Self::start(Place::Capture, cabinet, room, metrics)
    }

    fn start(
        place: Place,
        cabinet: &Arc<dyn Cabinet>,
        room: Room,
        metrics: &KeptMetrics,
    ) -> io::Result<Self> {
        // They are there from the start, so that a rise can be seen.
        metrics.kept.with_label_values(&[place.name()]);
        for reason in ["full", "failed", "ended"] {
            metrics.dropped.with_label_values(&[place.name(), reason]);
        }
        let (send, receive) = mpsc::channel(room.images);
        let left = Arc::new(watch::Sender::new(0));
        let receive = Arc::new(Mutex::new(receive));
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(FILES).build()?;
        let writer = |_| Writer {
            place,
            cabinet: cabinet.clone(),
            time: room.time,
            left: left.clone(),
            metrics: metrics.clone(),
        };
        let writers: Vec<Writer> = (0..room.writers).map(writer).collect();
        std::thread::Builder::new().name(format!("keep-{}", place.name())).spawn(move || {
            runtime.block_on(join_all(writers.into_iter().map(|writer| writer.work(receive.clone()))));
            runtime.shutdown_background();
        })?;
        let bytes = Arc::new(Semaphore::new(room.bytes));
        Ok(Self { place, send, bytes, left, metrics: metrics.clone() })
    }

    /// Takes a parcel, if there is room; it waits for nothing.
    pub fn push(&self, parcel: Parcel) -> bool {
        let classes: usize = parcel.item.classes.iter().map(|class| class.len() + 32).sum();
        let bytes = u32::try_from(parcel.image.len() + classes + BESIDE).unwrap_or(u32::MAX);
        // What reviewers would not be given need not wait for them.
        let fits = parcel.image.len() <= IMAGE;
        let taken = fits
            && self.bytes.clone().try_acquire_many_owned(bytes).is_ok_and(|room| {
                self.left.send_modify(|left| *left += 1);
                let is_sent = self.send.try_send((parcel, room)).is_ok();
                if !is_sent {
                    self.left.send_modify(|left| *left -= 1);
                }
                is_sent
            });
        if !taken {
            self.metrics.dropped.with_label_values(&[self.place.name(), "full"]).inc();
        }
        taken
    }

    /// Waits until all that was taken is written or dropped, but not longer than `time`. What is left then is counted as dropped.
    pub async fn flush(&self, time: Duration) {
        let mut left = self.left.subscribe();
        if timeout(time, left.wait_for(|left| *left == 0)).await.is_ok() {
            return;
        }
        let lost = *self.left.borrow();
        self.metrics.dropped.with_label_values(&[self.place.name(), "ended"]).inc_by(lost as u64);
        tracing::warn!(lost, what_for = self.place.name(), "images were not kept: the server ends");
    }
}

/// One of those that write.
struct Writer {
    place: Place,
    cabinet: Arc<dyn Cabinet>,
    time: Duration,
    left: Arc<watch::Sender<usize>>,
    metrics: KeptMetrics,
}

impl Writer {
    async fn work(self, receive: Arc<Mutex<mpsc::Receiver<(Parcel, OwnedSemaphorePermit)>>>) {
        loop {
            let next = receive.lock().await.recv().await;
            let Some((parcel, room)) = next else { return };
            let id = parcel.item.id.clone();
            let written = timeout(self.time, self.place.write(self.cabinet.clone(), parcel)).await;
            let failure = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("it was not written within {:?}", self.time)),
            };
            let name = self.place.name();
            match failure {
                None => self.metrics.kept.with_label_values(&[name]).inc(),
                Some(reason) => {
                    self.metrics.dropped.with_label_values(&[name, "failed"]).inc();
                    if is_time_to_say() {
                        tracing::warn!(%id, what_for = name, reason, "an image was not kept (told once a minute)");
                    }
                }
            }
            drop(room);
            self.left.send_modify(|left| *left -= 1);
        }
    }
}

/// A store that is away fails for every image.
fn is_time_to_say() -> bool {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let (now, last) = (Timestamp::now().as_second(), LAST.load(Relaxed));
    now - last >= SILENCE && LAST.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
}

#[cfg(test)]
mod tests;
