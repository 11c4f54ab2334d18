//! A log of single requests: lines of JSON, written by a thread of their own.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::queue::{Queue, Told};

/// What is written at once, in bytes.
const BLOCK: usize = 32 * 1024;
/// For how long more lines are waited for. The queue has room for what comes meanwhile, at up to 200,000 lines a second, and who
/// pushes wakes nobody: a thread that woke up for each line would cost more than all else of a log.
const GATHER: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Debug)]
pub struct Lines<T> {
    queue: Queue<T>,
    dropped: IntCounter,
}

impl<T: Serialize + Send + 'static> Lines<T> {
    /// Starts the thread of this name that writes to `out`. Lines that are not written, because the output does not keep up
    /// or breaks, are counted by `dropped`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(name: &str, out: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let (queue, told) = Queue::new();
        let (lost, log) = (dropped.clone(), name.to_owned());
        thread::Builder::new().name(name.into()).spawn(move || write(told, out, &log, &lost))?;
        Ok(Self { queue, dropped })
    }

    /// Lines that were not written.
    #[must_use]
    pub const fn dropped(&self) -> &IntCounter {
        &self.dropped
    }

    /// Never waits.
    pub fn push(&self, line: T) {
        if !self.queue.push(line) {
            self.dropped.inc();
        }
    }

    /// Waits until all is written.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }
}

/// Writes until the last sender is gone. Lines are gathered for [`GATHER`], and for as long as more are waiting.
fn write<T: Serialize>(
    mut told: mpsc::Receiver<Told<T>>,
    mut out: impl Write,
    log: &str,
    dropped: &IntCounter,
) {
    let (mut block, mut lines, mut broken) = (Vec::with_capacity(BLOCK), 0, false);
    let mut has_waited = false;
    while let Some(next) = told.blocking_recv() {
        let flush = match next {
            Told::One(line) => {
                serde_json::to_writer(&mut block, &line).expect("texts and numbers are JSON");
                block.push(b'\n');
                lines += 1;
                None
            }
            Told::Flush(done) => Some(done),
        };
        if flush.is_none() && block.len() < BLOCK {
            if told.is_empty() && !has_waited {
                thread::sleep(GATHER);
                has_waited = true;
            }
            if !told.is_empty() {
                continue;
            }
        }
        has_waited = false;
        let written = out.write_all(&block).and_then(|()| out.flush());
        if let Err(error) = &written {
            dropped.inc_by(lines);
            if !broken {
                tracing::error!(%error, log, "the log cannot be written");
            }
        }
        broken = written.is_err();
        block.clear();
        lines = 0;
        drop(flush);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::queue::QUEUE;

    /// Writes once it is let.
    struct Slow(Mutex<Receiver<()>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.lock().unwrap().recv().is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(out: Slow) -> Lines<String> {
        Lines::start("test", out, IntCounter::new("dropped", "lines").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_output_that_stands_still_costs_lines_and_no_time() {
        let (go, wait) = channel();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let log = lines(Slow(Mutex::new(wait), seen.clone()));
        let start = std::time::Instant::now();
        for _ in 0..3 * QUEUE {
            log.push("a\"b".to_owned());
        }
        assert!(start.elapsed().as_secs() < 5);
        let dropped = log.dropped.get();
        // One block is in the thread's hands, perhaps.
        assert!((QUEUE as u64..=2 * QUEUE as u64).contains(&dropped), "{dropped}");
        (0..2 * QUEUE).for_each(|_| go.send(()).unwrap());
        log.flush().await;
        let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count() as u64, 3 * QUEUE as u64 - dropped);
        assert!(text.lines().all(|line| line == r#""a\"b""#), "{text}");
    }

    #[tokio::test]
    async fn an_output_that_broke_is_counted() {
        let (go, wait) = channel();
        drop(go);
        let log = lines(Slow(Mutex::new(wait), Arc::default()));
        log.push("a\"b".to_owned());
        log.flush().await;
        assert_eq!(log.dropped.get(), 1);
    }
}
