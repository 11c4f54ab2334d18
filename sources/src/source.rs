//! What all sources have in common: a list of files, and each of them from any byte on.

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::FetchError;
use crate::bucket::Bucket;
use crate::web::Web;

/// A file, as its source tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its path within the artefact, checked.
    pub(crate) path: String,
    /// Bytes; absent where the source does not say.
    pub(crate) size: Option<u64>,
    /// What tells one state of it from another; absent where nothing does, and then no part of it is kept.
    pub(crate) etag: Option<String>,
}

/// A file whose bytes come now.
pub(crate) struct Opened {
    /// The first of them: 0 where the source does not give a part, whatever was asked for.
    pub(crate) start: u64,
    /// Bytes of the whole file; absent where the source does not say.
    pub(crate) size: Option<u64>,
    /// The state that they are of.
    pub(crate) etag: Option<String>,
    /// The bytes.
    pub(crate) body: BoxStream<'static, Result<Bytes, String>>,
}

/// Why a file did not come.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may come when it is asked for again.
    Passing(String),
    /// It is no longer what was listed.
    Changed(String),
    /// It will not come.
    Final(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// Where files come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A bucket.
    Bucket(Bucket),
    /// A web server.
    Web(Web),
}

impl Source {
    /// All files, if there are not more than `most`.
    pub(crate) async fn list(&self, most: usize) -> Result<Vec<Item>, Trouble> {
        match self {
            Self::Bucket(bucket) => bucket.list(most).await,
            Self::Web(web) => web.list().await,
        }
    }

    /// Asks anew what a file is.
    pub(crate) async fn look(&self, path: &str) -> Result<Item, Trouble> {
        match self {
            Self::Bucket(bucket) => bucket.look(path).await,
            Self::Web(web) => web.look(path).await,
        }
    }

    /// A file from the byte `from` on, as long as it is what was listed.
    pub(crate) async fn open(&self, item: &Item, from: u64) -> Result<Opened, Trouble> {
        match self {
            Self::Bucket(bucket) => bucket.open(item, from).await,
            Self::Web(web) => web.open(item, from).await,
        }
    }
}
