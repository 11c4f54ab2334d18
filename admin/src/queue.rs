//! What is told of single requests, on its way to where it is told: a bounded queue that nobody waits for but who stops.

use tokio::sync::{mpsc, oneshot};

/// Most that waits; what is more is dropped. OpenTelemetry's own default for spans; as lines of a log, with the longest
/// paths and ids, 1.5 MB.
pub const QUEUE: usize = 2_048;

/// What the other end is told.
#[derive(Debug)]
pub enum Told<T> {
    /// One more.
    One(T),
    /// To tell what it has, and drop this.
    Flush(oneshot::Sender<()>),
}

/// The end that it is pushed into.
#[derive(Debug)]
pub struct Queue<T>(mpsc::Sender<Told<T>>);

impl<T: Send> Queue<T> {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Told<T>>) {
        let (queue, told) = mpsc::channel(QUEUE);
        (Self(queue), told)
    }

    /// Never waits; false where it is lost.
    pub fn push(&self, one: T) -> bool {
        self.0.try_send(Told::One(one)).is_ok()
    }

    /// Waits until all that was pushed is told, or was tried to be.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.0.send(Told::Flush(done)).await.is_ok() {
            // An error means that the other end dropped it, having told or having ended: nothing is left to wait for.
            let _ = told.await;
        }
    }
}
