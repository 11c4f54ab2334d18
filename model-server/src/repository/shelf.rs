//! Which versions of which models are there, which of them are loaded, and who has to leave for another. Pure: what is
//! on the shelf is any `T`, and time is an argument.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use semver::Version;
use tokio::sync::watch;

/// For how long a model that did not load is not tried again, unless its folder changes.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// What a look into the folder found of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its artefact.
    pub(super) folder: PathBuf,
    /// Memory that it is taken to need.
    pub(super) bytes: u64,
    /// Changes when another artefact is put in its place.
    pub(super) stamp: u64,
}

/// Versions by name of their model.
pub(super) type Listing = BTreeMap<String, BTreeMap<Version, Found>>;

/// What comes of a load, for all who wait for it.
pub(super) type Outcome<T> = Option<Result<T, String>>;

/// A load that somebody has to do.
#[derive(Debug)]
pub(super) struct Job<T> {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) found: Found,
    pub(super) tell: watch::Sender<Outcome<T>>,
}

/// What one who asks gets.
#[derive(Debug)]
pub(super) enum Taken<T> {
    /// The model.
    Ready(T),
    /// A load that is under way.
    Wait(watch::Receiver<Outcome<T>>),
    /// A load that the asker has to start.
    Load(Job<T>, watch::Receiver<Outcome<T>>),
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotThere {
    /// No model of this name.
    #[error("no model")]
    Model,
    /// No such version of it.
    #[error("no version")]
    Version,
    /// It did not load; the reason is for the log.
    #[error("{0}")]
    Broken(String),
}

#[derive(Debug)]
pub(super) struct Shelf<T> {
    models: BTreeMap<String, Versions<T>>,
    /// Most bytes of what is loaded.
    budget: u64,
    /// Counts uses: the smaller, the longer ago.
    clock: u64,
}

#[derive(Debug)]
struct Versions<T> {
    entries: BTreeMap<Version, Entry<T>>,
    /// The one that answers when no version is named. It is loaded.
    current: Option<Version>,
}

#[derive(Debug)]
struct Entry<T> {
    found: Found,
    /// Its folder is no longer there: it answers until another one can.
    gone: bool,
    place: Place<T>,
}

#[derive(Debug)]
enum Place<T> {
    Out,
    Loading { begun: bool, outcome: watch::Receiver<Outcome<T>> },
    In { model: T, used: u64 },
    Broken { reason: String, until: Instant },
}

/// A line of the index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) version: Version,
    /// As Triton's extension of the protocol calls it.
    pub(super) state: &'static str,
    pub(super) reason: String,
}

impl<T: Clone> Shelf<T> {
    pub(super) fn new(budget: u64) -> Self {
        Self { models: BTreeMap::new(), budget, clock: 0 }
    }

    /// Takes over what a look into the folder has found. Returns the loads by which newer versions replace those that
    /// answer, and what is no longer needed.
    pub(super) fn replace(&mut self, listing: Listing) -> (Vec<Job<T>>, Vec<T>) {
        let mut dropped = vec![];
        for (name, versions) in &mut self.models {
            let listed = listing.get(name);
            let has_others = listed.is_some_and(|listed| !listed.is_empty());
            let current = versions.current.clone();
            versions.entries.retain(|version, entry| {
                let there = listed.and_then(|listed| listed.get(version));
                entry.gone = there.is_none();
                let stays = !entry.gone || (has_others && Some(version) == current.as_ref());
                if let (false, Place::In { model, .. }) = (stays, &entry.place) {
                    dropped.push(model.clone());
                }
                stays
            });
            if current.is_some_and(|current| !versions.entries.contains_key(&current)) {
                versions.current = None;
            }
        }
        self.models.retain(|_, versions| !versions.entries.is_empty());
        let mut jobs = vec![];
        for (name, listed) in listing {
            let fresh = || Versions { entries: BTreeMap::new(), current: None };
            let versions = self.models.entry(name.clone()).or_insert_with(fresh);
            for (version, found) in listed {
                versions.list(version, found);
            }
            jobs.extend(versions.successor().and_then(|version| versions.start(&name, &version)));
        }
        (jobs, dropped)
    }

    /// The model of this name and version; without one, the newest that loads.
    pub(super) fn take(
        &mut self,
        name: &str,
        version: Option<&str>,
        now: Instant,
    ) -> Result<Taken<T>, NotThere> {
        self.clock += 1;
        let versions = self.models.get_mut(name).ok_or(NotThere::Model)?;
        let version = versions.meant(version, now)?;
        let entry = versions.entries.get_mut(&version).ok_or(NotThere::Version)?;
        match &mut entry.place {
            Place::In { model, used } => {
                *used = self.clock;
                return Ok(Taken::Ready(model.clone()));
            }
            Place::Loading { outcome, .. } => return Ok(Taken::Wait(outcome.clone())),
            Place::Broken { reason, until } if *until > now => return Err(NotThere::Broken(reason.clone())),
            Place::Broken { .. } | Place::Out => {}
        }
        let job = versions.start(name, &version).expect("it is neither loaded nor being loaded");
        let outcome = job.tell.subscribe();
        Ok(Taken::Load(job, outcome))
    }

    /// Whether one who asks for this would get it, if need be after a load.
    pub(super) fn check(&self, name: &str, version: Option<&str>, now: Instant) -> Result<(), NotThere> {
        let versions = self.models.get(name).ok_or(NotThere::Model)?;
        let version = versions.meant(version, now)?;
        match &versions.entries.get(&version).ok_or(NotThere::Version)?.place {
            Place::Broken { reason, until } if *until > now => Err(NotThere::Broken(reason.clone())),
            _ => Ok(()),
        }
    }

    /// Makes room for a load that is about to begin: those leave that were asked for longest ago, and the version that
    /// it replaces only if it must.
    ///
    /// # Errors
    /// If it needs more than the whole budget.
    pub(super) fn begin(&mut self, job: &Job<T>) -> Result<Vec<T>, String> {
        let needed = job.found.bytes;
        if needed > self.budget {
            return Err(format!("it needs {needed} bytes of memory, allowed (--memory): {}", self.budget));
        }
        let mut left = vec![];
        while self.bytes() + needed > self.budget {
            // Loads begin one after the other: all room is taken by what is loaded.
            let Some(model) = self.evict(&job.name) else { break };
            left.push(model);
        }
        if let Some(Place::Loading { begun, .. }) = self.place(&job.name, &job.version) {
            *begun = true;
        }
        Ok(left)
    }

    /// Puts a loaded model on the shelf, and returns the one that it replaces.
    pub(super) fn finish(&mut self, job: &Job<T>, loaded: Result<T, String>, now: Instant) -> Option<T> {
        self.clock += 1;
        let used = self.clock;
        let place = self.place(&job.name, &job.version)?;
        match loaded {
            Err(reason) => {
                *place = Place::Broken { reason, until: now + PAUSE };
                None
            }
            Ok(model) => {
                *place = Place::In { model, used };
                self.models.get_mut(&job.name)?.succeed(&job.version, now)
            }
        }
    }

    /// Unloads all versions of a model; `None` if there is none of this name.
    pub(super) fn unload(&mut self, name: &str) -> Option<Vec<T>> {
        let versions = self.models.get_mut(name)?;
        let all: Vec<Version> = versions.entries.keys().cloned().collect();
        Some(all.iter().filter_map(|version| versions.unload(version)).collect())
    }

    /// What is there, and in which state.
    pub(super) fn index(&self) -> Vec<Line> {
        let line = |name: &String, version: &Version, entry: &Entry<T>| {
            let (state, reason) = match &entry.place {
                Place::Out => ("UNAVAILABLE", "unloaded".to_owned()),
                Place::Loading { .. } => ("LOADING", String::new()),
                Place::In { .. } => ("READY", String::new()),
                Place::Broken { reason, .. } => ("UNAVAILABLE", reason.clone()),
            };
            Line { name: name.clone(), version: version.clone(), state, reason }
        };
        let lines = self.models.iter().flat_map(|(name, versions)| {
            versions.entries.iter().map(move |(version, entry)| line(name, version, entry))
        });
        lines.collect()
    }

    /// Names of all models.
    pub(super) fn names(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    /// Models that are loaded.
    pub(super) fn loaded(&self) -> usize {
        self.entries().filter(|entry| matches!(entry.place, Place::In { .. })).count()
    }

    /// Bytes of what is loaded, and of the load that has begun.
    pub(super) fn bytes(&self) -> u64 {
        self.entries().filter(|entry| entry.takes_room()).map(|entry| entry.found.bytes).sum()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.models.values().flat_map(|versions| versions.entries.values())
    }

    fn place(&mut self, name: &str, version: &Version) -> Option<&mut Place<T>> {
        Some(&mut self.models.get_mut(name)?.entries.get_mut(version)?.place)
    }

    /// Unloads the model that was asked for longest ago; one of this name last.
    fn evict(&mut self, last: &str) -> Option<T> {
        let all = self.models.iter().flat_map(|(name, versions)| {
            versions.entries.iter().map(move |(version, entry)| (name, version, entry))
        });
        let used = all.filter_map(|(name, version, entry)| match entry.place {
            Place::In { used, .. } => Some((name == last, used, name, version)),
            _ => None,
        });
        let (.., name, version) = used.min_by_key(|(last, used, ..)| (*last, *used))?;
        let (name, version) = (name.clone(), version.clone());
        self.models.get_mut(&name)?.unload(&version)
    }
}

impl<T: Clone> Versions<T> {
    fn list(&mut self, version: Version, found: Found) {
        let fresh = Entry { found: found.clone(), gone: false, place: Place::Out };
        let entry = self.entries.entry(version).or_insert(fresh);
        if entry.found.stamp != found.stamp && !entry.takes_room() {
            // Another artefact: what was wrong with the one before says nothing of it.
            if let Place::Broken { .. } = entry.place {
                entry.place = Place::Out;
            }
            entry.found = found;
        }
    }

    /// The version that one means who names this one, or none.
    fn meant(&self, version: Option<&str>, now: Instant) -> Result<Version, NotThere> {
        match version {
            Some(version) => Version::parse(version).map_err(|_| NotThere::Version),
            None => self.current.clone().or_else(|| self.newest(now)).ok_or(NotThere::Version),
        }
    }

    /// The newest version that is there and may be tried.
    fn newest(&self, now: Instant) -> Option<Version> {
        let there = || self.entries.iter().rev().filter(|(_, entry)| !entry.gone);
        let sound = |entry: &Entry<T>| !matches!(entry.place, Place::Broken { until, .. } if until > now);
        let newest = there().find(|(_, entry)| sound(entry)).or_else(|| there().next());
        newest.map(|(version, _)| version.clone())
    }

    /// The version that is to replace the one that answers now.
    fn successor(&self) -> Option<Version> {
        let current = self.current.as_ref()?;
        let gone = self.entries.get(current)?.gone;
        let (newest, entry) = self.entries.iter().rev().find(|(_, entry)| !entry.gone)?;
        let wanted = (gone || newest > current) && matches!(entry.place, Place::Out);
        wanted.then(|| newest.clone())
    }

    fn start(&mut self, name: &str, version: &Version) -> Option<Job<T>> {
        let entry = self.entries.get_mut(version)?;
        if let Place::In { .. } | Place::Loading { .. } = entry.place {
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        entry.place = Place::Loading { begun: false, outcome };
        Some(Job { name: name.to_owned(), version: version.clone(), found: entry.found.clone(), tell })
    }

    /// This version was loaded: it answers from now on if it is the one to answer, or newer than the one that does. Returns
    /// that one.
    fn succeed(&mut self, version: &Version, now: Instant) -> Option<T> {
        let before = self.current.clone();
        let follows = match &before {
            Some(before) if self.entries.get(before).is_some_and(|entry| !entry.gone) => version > before,
            _ => self.newest(now).as_ref() == Some(version),
        };
        if !follows {
            return None;
        }
        self.current = Some(version.clone());
        self.unload(&before.filter(|before| before != version)?)
    }

    fn unload(&mut self, version: &Version) -> Option<T> {
        let entry = self.entries.get_mut(version)?;
        let model = entry.unload();
        if entry.gone {
            self.entries.remove(version);
        }
        if self.current.as_ref() == Some(version) {
            self.current = None;
        }
        model
    }
}

impl<T: Clone> Entry<T> {
    fn takes_room(&self) -> bool {
        matches!(self.place, Place::In { .. } | Place::Loading { begun: true, .. })
    }

    /// What was loaded; other places stay as they are.
    fn unload(&mut self) -> Option<T> {
        let Place::In { model, .. } = &self.place else { return None };
        let model = model.clone();
        self.place = Place::Out;
        Some(model)
    }
}

#[cfg(test)]
mod tests;
