//! Cabinets over object_store: the same client, credentials and silence about them as where artefacts come from.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path as Folder;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::time::{sleep, timeout};

use super::{Cabinet, CabinetError};
use crate::bucket::{self, Settings, is_refusal};
use crate::secrets::Secrets;
use crate::transport::Transport;
use crate::{FetchError, Patience, Store, Uri, names};

/// Longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(10);
/// Hosts that are this machine: nobody is on the way.
const LOOPBACK: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"];

/// Credentials of Google Cloud Storage.
const GOOGLE: [&str; 5] = [
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_BEARER_TOKEN",
];

/// Opens a folder: `file:///…`, which is made where it is missing, or one of an object store, whose settings and
/// credentials are among the `variables`. Nobody is asked yet.
///
/// # Errors
/// [`CabinetError::Settings`] and [`CabinetError::Open`].
pub fn open_cabinet(
    uri: &Uri,
    variables: &[(String, String)],
    patience: Patience,
) -> Result<Arc<dyn Cabinet>, CabinetError> {
    let told = uri.to_string();
    let wrong = |reason: String| CabinetError::Settings { uri: told.clone(), reason };
    let (store, prefix, is_sorted) = match uri {
        Uri::File(folder) => (local(folder).map_err(wrong)?, Path::default(), false),
        Uri::Bucket { store, bucket, prefix } => {
            let prefix = Path::parse(prefix).map_err(|error| wrong(error.to_string()))?;
            (remote(*store, bucket, &told, variables, &patience)?, prefix, true)
        }
        Uri::Web { .. } => return Err(wrong("allowed: file, s3, gs, az".to_owned())),
    };
    let secrets = Secrets::of(variables);
    Ok(Arc::new(Opened { store, prefix, uri: told, secrets, patience, is_sorted }))
}

fn local(folder: &Folder) -> Result<Arc<dyn ObjectStore>, String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| error.to_string())?;
    // What was said to be written outlives the machine's power.
    Ok(Arc::new(store.with_fsync(true)))
}

fn remote(
    kind: Store,
    bucket: &str,
    uri: &str,
    variables: &[(String, String)],
    patience: &Patience,
) -> Result<Arc<dyn ObjectStore>, CabinetError> {
    // object_store signs what it writes there also where that is switched off, and would ask the metadata service.
    if kind == Store::Gs
        && !GOOGLE.iter().any(|name| variables.iter().any(|(n, v)| n == name && !v.is_empty()))
    {
        let reason = format!("whoever writes needs a credential, allowed: {}", GOOGLE.join(", "));
        return Err(CabinetError::Settings { uri: uri.to_owned(), reason });
    }
    let may_be_open = is_near(kind, variables) || is_allowed(kind, variables);
    let transport = Transport::new(patience, may_be_open)
        .map(Arc::new)
        .map_err(|error| CabinetError::Settings { uri: uri.to_owned(), reason: error.to_string() })?;
    let settings = Settings { variables, may_be_open, transport };
    bucket::store(kind, bucket, uri, &settings).map_err(|error| match error {
        FetchError::Open(_) => CabinetError::Open(uri.to_owned(), allowing(kind)),
        FetchError::Settings { uri, reason } => CabinetError::Settings { uri, reason },
        other => CabinetError::Settings { uri: uri.to_owned(), reason: other.to_string() },
    })
}

/// The variable that allows plain HTTP: beside the endpoint, and called as other programs over object_store call it.
const fn allowing(kind: Store) -> &'static str {
    match kind {
        Store::S3 => "AWS_ALLOW_HTTP",
        Store::Gs => "GOOGLE_ALLOW_HTTP",
        Store::Az => "AZURE_ALLOW_HTTP",
    }
}

fn is_allowed(kind: Store, variables: &[(String, String)]) -> bool {
    variables.iter().any(|(name, value)| name == allowing(kind) && value.eq_ignore_ascii_case("true"))
}

/// Whether every endpoint that is named without TLS is this machine.
fn is_near(kind: Store, variables: &[(String, String)]) -> bool {
    let start = allowing(kind).trim_end_matches("ALLOW_HTTP");
    let open: Vec<&str> = variables
        .iter()
        .filter(|(name, _)| name.starts_with(start))
        .filter_map(|(_, value)| value.strip_prefix("http://"))
        .collect();
    let host = |rest: &str| -> String {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = if authority.starts_with('[') {
            authority.split_inclusive(']').next().unwrap_or_default()
        } else {
            authority.split(':').next().unwrap_or_default()
        };
        host.to_ascii_lowercase()
    };
    !open.is_empty() && open.into_iter().all(|rest| LOOPBACK.contains(&host(rest).as_str()))
}

/// An open folder.
struct Opened {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    uri: String,
    secrets: Secrets,
    patience: Patience,
    /// Whether lists come in the order of names.
    is_sorted: bool,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cabinet").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Opened {
    fn key(&self, name: &str) -> Result<Path, CabinetError> {
        names::check(name)
            .map_err(|error| CabinetError::Refused { at: self.uri.clone(), reason: error.to_string() })?;
        Ok(name.split('/').fold(self.prefix.clone(), Path::join))
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.uri.trim_end_matches('/'))
    }

    /// Asks until there is an answer, or patience is at its end; no try takes longer than a connection and an answer.
    async fn ask<'a, T>(
        &self,
        name: &str,
        once: impl Fn() -> BoxFuture<'a, Result<T, Error>> + Send,
    ) -> Result<T, CabinetError> {
        let Patience { connect, stall, retries, mut pause } = self.patience;
        for tries in 1.. {
            let reason = match timeout(connect + stall, once()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => match self.final_of(name, &error) {
                    Some(known) => return Err(known),
                    None => self.secrets.clean(&error),
                },
                Err(_) => format!("nothing came for {:?}", connect + stall),
            };
            if tries > retries {
                return Err(CabinetError::Away { at: self.at(name), tries, reason });
            }
            sleep(pause).await;
            pause = PAUSE.min(pause * 2);
        }
        unreachable!("the loop ends by returning")
    }

    /// What will not get better by asking again.
    fn final_of(&self, name: &str, error: &Error) -> Option<CabinetError> {
        let at = self.at(name);
        let reason = self.secrets.clean(error);
        match error {
            Error::NotFound { .. } => Some(CabinetError::Missing(at)),
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Some(CabinetError::Exists(at)),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::InvalidPath { .. } => {
                Some(CabinetError::Refused { at, reason })
            }
            _ if is_refusal(&reason) => Some(CabinetError::Refused { at, reason }),
            _ => None,
        }
    }

    async fn write(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<(), CabinetError> {
        let key = self.key(name)?;
        let options = PutOptions { mode, ..PutOptions::default() };
        let once = || self.store.put_opts(&key, bytes.clone().into(), options.clone());
        self.ask(name, once).await.map(drop)
    }
}

/// A file, or how large it is where that is too much.
async fn read(store: &dyn ObjectStore, key: &Path, most: usize) -> Result<Result<Bytes, u64>, Error> {
    let answer = store.get(key).await?;
    let size = answer.meta.size;
    if size > most as u64 {
        return Ok(Err(size));
    }
    let (mut bytes, mut body) = (BytesMut::with_capacity(size as usize), answer.into_stream());
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if bytes.len() + piece.len() > most {
            return Ok(Err((bytes.len() + piece.len()) as u64));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Ok(bytes.freeze()))
}

/// A part of a list.
#[derive(Clone, Copy)]
struct Part<'a> {
    below: &'a Path,
    behind: Option<&'a Path>,
    after: &'a str,
    limit: usize,
    is_sorted: bool,
}

impl Part<'_> {
    async fn list(self, store: &dyn ObjectStore) -> Result<Vec<String>, Error> {
        let start = format!("{}/", self.below);
        let mut found = match self.behind {
            Some(behind) => store.list_with_offset(Some(self.below), behind),
            None => store.list(Some(self.below)),
        };
        let mut names = BTreeSet::new();
        while let Some(object) = found.try_next().await? {
            let key: &str = object.location.as_ref();
            let Some(name) = key.strip_prefix(&start).filter(|name| *name > self.after) else { continue };
            names.insert(name.to_owned());
            if names.len() > self.limit {
                names.pop_last();
            }
            if self.is_sorted && names.len() == self.limit {
                break;
            }
        }
        Ok(names.into_iter().collect())
    }
}

#[async_trait::async_trait]
impl Cabinet for Opened {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError> {
        self.write(name, bytes, PutMode::Overwrite).await
    }

    async fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), CabinetError> {
        self.write(name, bytes, PutMode::Create).await
    }

    async fn get(&self, name: &str, most: usize) -> Result<Bytes, CabinetError> {
        let key = self.key(name)?;
        let read = self.ask(name, || read(&*self.store, &key, most).boxed());
        read.await?.map_err(|found| CabinetError::Large { at: self.at(name), found, most })
    }

    async fn has(&self, name: &str) -> Result<bool, CabinetError> {
        let key = self.key(name)?;
        match self.ask(name, || self.store.head(&key).map_ok(drop).boxed()).await {
            Ok(()) => Ok(true),
            Err(CabinetError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Vec<String>, CabinetError> {
        let below = self.key(folder)?;
        let behind = if after.is_empty() { None } else { Some(self.key(&format!("{folder}/{after}"))?) };
        let part = Part { below: &below, behind: behind.as_ref(), after, limit, is_sorted: self.is_sorted };
        self.ask(folder, || part.list(&*self.store).boxed()).await
    }

    async fn delete(&self, name: &str) -> Result<(), CabinetError> {
        let key = self.key(name)?;
        match self.ask(name, || self.store.delete(&key).boxed()).await {
            Err(CabinetError::Missing(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
