//! Deadlines that are hardly ever reached. Arming a timer for each of them costs more than drawing a revision, so an
//! alarm takes one that an earlier request of this thread has left: it rings early, and is then set to what is wanted.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::Timer;
use tokio::time::{Sleep, sleep_until};

/// Timers that a thread keeps, at most.
const KEPT: usize = 1024;

thread_local! {
    /// Armed timers that nobody waits for.
    static SPARE: RefCell<Vec<Pin<Box<Sleep>>>> = const { RefCell::new(Vec::new()) };
}

/// Ready at an instant, and not before. Asked for the first time within a runtime of tokio.
#[derive(Debug)]
pub(crate) struct Alarm {
    due: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(crate) fn at(due: Instant) -> Self {
        Self { due, sleep: None }
    }
}

/// One that is left, or a new one.
fn sleep(due: Instant) -> Pin<Box<Sleep>> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Box::pin(sleep_until(due.into())))
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        let sleep = self.sleep.get_or_insert_with(|| sleep(due));
        if sleep.deadline() > due.into() {
            sleep.as_mut().reset(due.into());
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if tokio::time::Instant::now() >= due.into() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due.into());
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(sleep) = self.sleep.take() else { return };
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < KEPT
            {
                spare.push(sleep);
            }
        });
    }
}

/// Waits for `work`, at most until it is `due`.
///
/// # Errors
/// When it is not done by then.
pub(crate) async fn by<T>(due: Instant, work: impl Future<Output = T>) -> Result<T, Overdue> {
    let mut work = pin!(work);
    let mut alarm = Alarm::at(due);
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => Pin::new(&mut alarm).poll(cx).map(|()| Err(Overdue)),
    })
    .await
}

/// It was not done in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overdue;

impl hyper::rt::Sleep for Alarm {}

/// hyper's clock, of such alarms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alarms;

impl Timer for Alarms {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Alarm::at(deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// The instant that the test's clock shows.
    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_is_due_whatever_timer_was_left() {
        let start = now();
        // Leaves a timer for 30 s that nobody waits for.
        assert_eq!(by(start + LONG, async { tokio::task::yield_now().await }).await, Ok(()));
        assert_eq!(SPARE.with_borrow(Vec::len), 1);
        // An earlier one sets it back, a later one lets it ring and sets it anew, one that has rung is set anew.
        for (due, after) in [(LONG / 2, LONG / 2), (LONG * 3, LONG * 3), (LONG * 4, LONG * 4)] {
            assert_eq!(by(start + due, pending::<()>()).await, Err(Overdue));
            let took = now() - start;
            assert!(took >= after && took < after + Duration::from_millis(5), "{took:?} for {due:?}");
            assert_eq!(SPARE.with_borrow(Vec::len), 1, "they use the same one");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_needs_no_timer() {
        assert_eq!(by(now() + LONG, async { 1 }).await, Ok(1));
        assert_eq!(SPARE.with_borrow(Vec::len), 0);
    }
}
