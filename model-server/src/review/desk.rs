//! The images that wait, and the labels that were given: files of one folder.
//!
//! Every step is written so that the program may end before the next one: an image lies there before anybody is told of it,
//! a label is announced (`untold/`) before it is given, and is there (`done/`) before anything is removed.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::iter;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sources::{Cabinet, CabinetError};

use super::{Done, Item, ItemId, Told, id};

/// Largest record, in bytes: one of a model of thousands of classes has a few hundred thousand.
const RECORD: usize = 4 << 20;
/// Largest image, in bytes: twice the largest body that servers take if nothing is said.
pub(super) const IMAGE: usize = 16 << 20;
/// Files that are asked for at one time.
const ABREAST: usize = 16;
/// Names that one question for a list looks at, at most.
const LOOKED_AT: usize = 1_000;
/// How often a label is tried where the store says that it is there and it is not: another one's write was given up.
const TRIES: usize = 3;

/// The folder.
#[derive(Debug, Clone)]
pub struct Desk {
    pub(super) cabinet: Arc<dyn Cabinet>,
}

/// A part of what waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Oldest first.
    pub items: Vec<Item>,
    /// Behind which the next part begins; absent at the end.
    pub next: Option<ItemId>,
}

/// What there is of an id.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It waits.
    Waiting(Item),
    /// Somebody has decided.
    Done(Done),
}

/// Why a label was not given.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// There is no such image, or no longer.
    #[error("there is no such item, or it was too old and is gone")]
    Unknown,
    /// The model has no such class.
    #[error("label is {found:?}, allowed: one of the item's classes")]
    Class {
        /// What was given, cut.
        found: String,
    },
    /// Somebody else was first.
    #[error("it has a label already")]
    Taken(Box<Done>),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] CabinetError),
}

pub(super) fn waiting(id: &ItemId) -> String {
    format!("waiting/{id}.json")
}

pub(super) fn done(id: &ItemId) -> String {
    format!("done/{id}.json")
}

pub(super) fn image(id: &ItemId) -> String {
    format!("images/{id}")
}

/// The announcement of a label.
pub(super) fn marker(id: &ItemId, nonce: &str) -> String {
    format!("untold/{id}-{nonce}")
}

/// The id of `<id>.json`, if it is one.
pub(super) fn id_of(name: &str) -> Option<ItemId> {
    name.strip_suffix(".json")?.parse().ok()
}

pub(super) fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("texts, numbers and lists are JSON").into()
}

impl Desk {
    /// A desk over a folder.
    #[must_use]
    pub fn new(cabinet: Arc<dyn Cabinet>) -> Self {
        Self { cabinet }
    }

    /// Puts an image there, to wait.
    ///
    /// # Errors
    /// If the store fails. What was written of it is seen by nobody.
    pub async fn lay(&self, item: &Item, bytes: Bytes) -> Result<(), CabinetError> {
        self.cabinet.put(&image(&item.id), bytes).await?;
        self.cabinet.put(&waiting(&item.id), json(item)).await
    }

    /// A file of JSON; `None` if it is not there. One that cannot be read is as one that is not there, and told of.
    pub(super) async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CabinetError> {
        let bytes = match self.cabinet.get(name, RECORD).await {
            Ok(bytes) => bytes,
            Err(CabinetError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&bytes) {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                tracing::warn!(name, %error, "a file of the review folder is not what was expected");
                Ok(None)
            }
        }
    }

    /// What waits behind `after`, at most `limit`. Whoever labels meanwhile may be ahead of it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn waiting(&self, after: Option<&ItemId>, limit: usize) -> Result<Page, CabinetError> {
        let mut items = Vec::new();
        let mut last = after.map(|id| format!("{id}.json")).unwrap_or_default();
        let mut looked = 0;
        loop {
            let wanted = limit - items.len();
            let names = self.cabinet.list("waiting", &last, wanted).await?;
            let is_end = names.len() < wanted;
            looked += names.len();
            if let Some(name) = names.last() {
                last.clone_from(name);
            }
            let ids: Vec<ItemId> = names.iter().filter_map(|name| id_of(name)).collect();
            let mut open = iter(ids).map(async |id| self.open(&id).await).buffered(ABREAST);
            while let Some(item) = open.next().await {
                items.extend(item?);
            }
            if is_end || items.len() == limit || looked >= LOOKED_AT {
                let next = if is_end { None } else { id_of(&last) };
                return Ok(Page { items, next });
            }
        }
    }

    /// An image that waits. One that has a label is taken away: a program ended before it did so, or a server's late write
    /// brought it back.
    async fn open(&self, id: &ItemId) -> Result<Option<Item>, CabinetError> {
        if self.cabinet.has(&done(id)).await? {
            self.cabinet.delete(&waiting(id)).await?;
            return Ok(None);
        }
        self.read(&waiting(id)).await
    }

    /// What there is of an id.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn find(&self, id: &ItemId) -> Result<Option<Found>, CabinetError> {
        // In this order: an item is taken away after its label is there, so that one of both is found.
        let item = self.read(&waiting(id)).await?;
        let done = self.read(&done(id)).await?;
        Ok(done.map(Found::Done).or(item.map(Found::Waiting)))
    }

    /// The bytes of an image.
    ///
    /// # Errors
    /// If the store fails, or has none.
    pub async fn image(&self, id: &ItemId) -> Result<Bytes, CabinetError> {
        self.cabinet.get(&image(id), IMAGE).await
    }

    /// Gives a label, if nobody else has. Afterwards the router may be told.
    ///
    /// # Errors
    /// Says what is in the way. After [`LabelError::Store`] it may be given, or not.
    pub async fn label(&self, id: &ItemId, label: &str, by: Option<&str>) -> Result<Done, LabelError> {
        let item = match self.find(id).await? {
            Some(Found::Waiting(item)) => item,
            Some(Found::Done(done)) => return Err(LabelError::Taken(Box::new(done))),
            None => return Err(LabelError::Unknown),
        };
        if !item.classes.iter().any(|class| class == label) {
            return Err(LabelError::Class { found: label.chars().take(100).collect() });
        }
        let nonce = id::random::<8>();
        let (label, by) = (label.to_owned(), by.map(str::to_owned));
        let given = Done { item, label, by, time: Timestamp::now(), nonce: nonce.clone() };
        self.cabinet.put(&marker(id, &nonce), json(&given.time)).await?;
        let first = self.first(id, &given).await?;
        if first.nonce != nonce {
            // If this fails, the courier removes it.
            let _ = self.cabinet.delete(&marker(id, &nonce)).await;
            return Err(LabelError::Taken(Box::new(first)));
        }
        if let Err(error) = self.cabinet.delete(&waiting(id)).await {
            tracing::warn!(%id, %error, "a labelled item could not be taken away; the courier tries again");
        }
        Ok(given)
    }

    /// The label that stands: this one, or the one that was first.
    async fn first(&self, id: &ItemId, given: &Done) -> Result<Done, CabinetError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let exists = match self.cabinet.put_new(&done(id), json(given)).await {
                Ok(()) => return Ok(given.clone()),
                Err(exists @ CabinetError::Exists(_)) => exists,
                Err(error) => return Err(error),
            };
            match self.read(&done(id)).await? {
                // Perhaps one's own, written by a try whose answer was lost.
                Some(first) => return Ok(first),
                None if tries < TRIES => {}
                None => return Err(exists),
            }
        }
    }

    /// Removes what is older: items first, so that nobody is shown one without its image, and announcements last.
    /// Returns the number of files.
    ///
    /// # Errors
    /// If the store fails. What is left goes with the next call.
    pub async fn expire(&self, before: Timestamp) -> Result<usize, CabinetError> {
        let (end, mut removed) = (ItemId::start(before), 0);
        for folder in ["waiting", "images", "done", "feedback/accepted", "feedback/refused", "untold"] {
            loop {
                let mut names = self.cabinet.list(folder, "", LOOKED_AT).await?;
                names.retain(|name| *name < end);
                let count = names.len();
                let mut gone = iter(names)
                    .map(async |name| self.cabinet.delete(&format!("{folder}/{name}")).await)
                    .buffer_unordered(ABREAST);
                while let Some(done) = gone.next().await {
                    done?;
                }
                removed += count;
                if count < LOOKED_AT {
                    break;
                }
            }
        }
        Ok(removed)
    }

    /// What the router said of a label, if it was asked and answered.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn told(&self, id: &ItemId) -> Result<Option<Told>, CabinetError> {
        for outcome in ["accepted", "refused"] {
            if let Some(told) = self.read(&format!("feedback/{outcome}/{id}.json")).await? {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    pub(super) async fn write_told(&self, told: &Told) -> Result<(), CabinetError> {
        self.cabinet.put(&format!("feedback/{}/{}.json", told.outcome(), told.id), json(told)).await
    }
}

#[cfg(test)]
mod tests;
