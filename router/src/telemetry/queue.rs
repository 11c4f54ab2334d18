//! Records on their way to where they are told: a bounded queue that nobody waits for but who stops.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::record::Record;

/// Most records that wait; further ones are dropped. OpenTelemetry's own default for spans; as lines of the access log, with
/// the longest paths and ids, 1.5 MB.
pub(super) const QUEUE: usize = 2_048;

/// What the other end is told.
pub(super) enum Told {
    Record(Arc<Record>),
    /// To tell what it has, and drop this.
    Flush(oneshot::Sender<()>),
}

/// The end that records are pushed into.
pub(super) struct Queue(mpsc::Sender<Told>);

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Told>) {
        let (queue, told) = mpsc::channel(QUEUE);
        (Self(queue), told)
    }

    /// Never waits; false where the record is lost.
    pub(super) fn push(&self, record: Arc<Record>) -> bool {
        self.0.try_send(Told::Record(record)).is_ok()
    }

    /// Waits until all that was pushed is told, or was tried to be.
    pub(super) async fn flush(&self) {
        let (done, told) = oneshot::channel();
        if self.0.send(Told::Flush(done)).await.is_ok() {
            // An error means that the other end dropped it, having told or having ended: nothing is left to wait for.
            let _ = told.await;
        }
    }
}
