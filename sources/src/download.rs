//! Files of a source, some at a time, each as often as patience allows, and each from where it stopped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use futures::{StreamExt, TryStreamExt};
use tokio::time::sleep;

use crate::source::{Item, Source, Trouble};
use crate::transport::Patience;
use crate::work::Work;
use crate::{FetchError, Limits, Tally};

/// Files that come at the same time.
const AT_ONCE: usize = 4;
/// Longest pause between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// Everything that one download needs.
pub(crate) struct Download<'a> {
    pub(crate) uri: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) work: &'a Work,
    pub(crate) limits: &'a Limits,
    pub(crate) patience: &'a Patience,
    pub(crate) tell: &'a (dyn Fn(Tally) + Sync),
    pub(crate) counts: Counts,
}

/// What has come, and what is to come.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Files that are complete.
    files: AtomicUsize,
    /// Bytes that are there.
    here: AtomicU64,
    /// Bytes that came over the network.
    pub(crate) came: AtomicU64,
    /// Bytes that were there before.
    pub(crate) kept: AtomicU64,
    /// Bytes that all files will have, as far as their sources say.
    planned: AtomicU64,
}

impl Counts {
    /// Of bytes that came without a download.
    pub(crate) fn copied(bytes: u64) -> Self {
        Self { came: bytes.into(), ..Self::default() }
    }
}

impl Download<'_> {
    /// Gets all of them, or stops at the first that cannot be had.
    pub(crate) async fn all(&self, items: Vec<Item>) -> Result<(), FetchError> {
        let of_files = items.len();
        let known = items.iter().map(|item| item.size.unwrap_or(0)).fold(0, u64::saturating_add);
        self.counts.planned.store(known, Relaxed);
        self.check(known)?;
        let all = items.into_iter().map(|item| self.one(item, of_files));
        futures::stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn one(&self, item: Item, of_files: usize) -> Result<(), FetchError> {
        let at = format!("{}{}{}", self.uri, if item.path.is_empty() { "" } else { " " }, item.path);
        let (mut item, mut is_stale, mut had) = (item, false, None);
        patiently(self.patience, &at, async || {
            if is_stale {
                item = self.again(&item, had.unwrap_or(0)).await?;
                is_stale = false;
            }
            let done = self.attempt(&item, of_files, &mut had).await;
            is_stale = matches!(done, Err(Trouble::Changed(_)));
            done
        })
        .await?;
        self.counts.files.fetch_add(1, Relaxed);
        self.tell(of_files);
        Ok(())
    }

    /// What a file has become. Where nobody said or says its size, what is there counts in its place.
    async fn again(&self, item: &Item, had: u64) -> Result<Item, Trouble> {
        let now = self.source.look(&item.path).await?;
        let (before, after) = (item.size.unwrap_or(had), now.size.unwrap_or(had));
        self.counts.planned.fetch_sub(before, Relaxed);
        let planned = self.counts.planned.fetch_add(after, Relaxed);
        self.check(planned.saturating_add(after))?;
        Ok(now)
    }

    /// One try. `had` is what was counted of the file until now; nothing before the first.
    async fn attempt(&self, item: &Item, of_files: usize, had: &mut Option<u64>) -> Result<(), Trouble> {
        let mut part = self.work.part(item)?;
        let counts = &self.counts;
        if had.is_none() {
            counts.kept.fetch_add(part.length, Relaxed);
        }
        self.count(item, had, part.length)?;
        self.tell(of_files);
        if item.size == Some(part.length) {
            return Ok(part.finish().await?);
        }
        let mut opened = self.source.open(item, part.length).await?;
        let is_other =
            |listed: Option<u64>, now: Option<u64>| listed.is_some() && now.is_some() && listed != now;
        if opened.etag != item.etag || is_other(item.size, opened.size) {
            return Err(Trouble::Changed("it is no longer what was listed".to_owned()));
        }
        if opened.start != part.length {
            part.restart()?;
            self.count(item, had, 0)?;
        }
        while let Some(bytes) = opened.body.next().await {
            let bytes = bytes.map_err(Trouble::Passing)?;
            let length = bytes.len() as u64;
            if let Some(size) = item.size.filter(|size| part.length + length > *size) {
                let (at, reason) = (self.uri.to_owned(), format!("more than its {size} bytes came"));
                return Err(Trouble::Final(FetchError::Refused { at, reason }));
            }
            self.count(item, had, part.length + length)?;
            part.write(&bytes)?;
            counts.came.fetch_add(length, Relaxed);
            self.tell(of_files);
        }
        match item.size.or(opened.size) {
            Some(size) if size != part.length => {
                Err(Trouble::Passing(format!("it ended after {} of {size} bytes", part.length)))
            }
            _ => Ok(part.finish().await?),
        }
    }

    /// Counts what is there of a file; of one whose size nobody said, against the limit.
    fn count(&self, item: &Item, had: &mut Option<u64>, now: u64) -> Result<(), FetchError> {
        let before = had.replace(now).unwrap_or(0);
        let change = |of: &AtomicU64| {
            of.fetch_sub(before, Relaxed);
            of.fetch_add(now, Relaxed).saturating_add(now)
        };
        change(&self.counts.here);
        if item.size.is_none() {
            self.check(change(&self.counts.planned))?;
        }
        Ok(())
    }

    fn check(&self, found: u64) -> Result<(), FetchError> {
        let limit = self.limits.bytes;
        if found <= limit {
            return Ok(());
        }
        Err(FetchError::Bytes { uri: self.uri.to_owned(), found, limit })
    }

    fn tell(&self, of_files: usize) {
        let counts = &self.counts;
        (self.tell)(Tally {
            files: counts.files.load(Relaxed),
            of_files,
            bytes: counts.here.load(Relaxed),
            of_bytes: counts.planned.load(Relaxed),
        });
    }
}

/// Asks until there is an answer, with pauses. Each failure is told of.
pub(crate) async fn patiently<T>(
    patience: &Patience,
    at: &str,
    mut ask: impl AsyncFnMut() -> Result<T, Trouble>,
) -> Result<T, FetchError> {
    let (mut tries, mut pause) = (0, patience.pause);
    loop {
        tries += 1;
        let reason = match ask().await {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(reason) | Trouble::Changed(reason)) => reason,
        };
        if tries > patience.retries {
            return Err(FetchError::GaveUp { at: at.to_owned(), tries, reason });
        }
        tracing::warn!(at, tries, reason, "it is asked for again in {pause:?}");
        sleep(pause).await;
        pause = PAUSE.min(pause * 2);
    }
}
