//! What waits for a worker.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Job, Priority, Room, together};

/// Jobs in the order of their arrival, the live apart from copies.
#[derive(Debug)]
pub(super) struct Waiting {
    room: Room,
    jobs: Mutex<Jobs>,
    /// Told of each job, and of the end.
    news: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    live: VecDeque<Job>,
    shadow: VecDeque<Job>,
    closed: bool,
}

/// What a worker has taken.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// To be run together: as many as fit, and at least one.
    pub(super) jobs: Vec<Job>,
    /// Whose clients have left.
    pub(super) left: usize,
}

impl Waiting {
    pub(super) fn new(room: Room) -> Self {
        Self { room, jobs: Mutex::default(), news: Condvar::new() }
    }

    pub(super) fn push(&self, job: Job, priority: Priority) {
        let mut jobs = self.jobs();
        match priority {
            Priority::Live => jobs.live.push_back(job),
            Priority::Shadow => jobs.shadow.push_back(job),
        }
        drop(jobs);
        self.news.notify_one();
    }

    /// No more jobs will come: workers end once there are none left.
    pub(super) fn close(&self) {
        self.jobs().closed = true;
        self.news.notify_all();
    }

    /// Most images of a batch.
    pub(super) fn most(&self) -> usize {
        together(self.room.batch)
    }

    /// Waits for jobs and takes those of a batch; `None` at the end.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut jobs = self.jobs();
        loop {
            if let Some(arrived) = jobs.oldest() {
                let full_at = arrived + self.room.delay;
                let now = Instant::now();
                let images = jobs.images();
                if now >= full_at || images >= self.most() || jobs.closed {
                    let batch = jobs.take(together(images.min(self.most())), now);
                    if jobs.images() > 0 {
                        // Who was told of these may have been this worker.
                        self.news.notify_one();
                    }
                    return Some(batch);
                }
                let waited = self.news.wait_timeout(jobs, full_at - now);
                jobs = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else if jobs.closed {
                return None;
            } else {
                jobs = self.news.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // Every change is one push or pop: a panic elsewhere cannot leave it half done.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    fn oldest(&self) -> Option<Instant> {
        let first = |jobs: &VecDeque<Job>| jobs.front().map(|job| job.arrived);
        first(&self.live).into_iter().chain(first(&self.shadow)).min()
    }

    fn images(&self) -> usize {
        self.live.iter().chain(&self.shadow).map(|job| job.images).sum()
    }

    /// Takes what fits, the live first. A copy never goes before one of the live that did not fit.
    fn take(&mut self, most: usize, now: Instant) -> Batch {
        let (mut batch, mut images) = (Batch::default(), 0);
        for jobs in [&mut self.live, &mut self.shadow] {
            while let Some(job) = jobs.front() {
                // Whose time is over has its answer from the front.
                let late = job.deadline.is_some_and(|deadline| deadline <= now);
                let left = job.reply.is_closed() && !late;
                if !late && !left && images > 0 && images + job.images > most {
                    return batch;
                }
                let Some(job) = jobs.pop_front() else { break };
                batch.left += usize::from(left);
                if !late && !left {
                    images += job.images;
                    batch.jobs.push(job);
                }
            }
        }
        batch
    }
}
