//! The whole way: look at what is there, get what is missing, check it, put it in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::bucket::{Bucket, Settings};
use crate::digest::{self, DigestError, MAX_FILES};
use crate::download::{Counts, Download, patiently};
use crate::names;
use crate::place::place;
use crate::source::{Item, Source};
use crate::transport::Transport;
use crate::uri::Uri;
use crate::web::Web;
use crate::work::{Work, beside, gone};
use crate::{FetchError, Patience, archive, local};

/// What is to be fetched, and where it is to be put.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it is.
    pub uri: Uri,
    /// The folder that it becomes; the one above it is made where it is missing. It may not be a mount point.
    pub to: PathBuf,
    /// The digest that it must have (I5): 64 lower-case hex digits.
    pub sha256: Option<String>,
    /// Whether another artefact that is there may be replaced.
    pub replace: bool,
    /// How much it may be.
    pub limits: Limits,
    /// How long others are waited for.
    pub patience: Patience,
    /// Names and values of the environment: settings and credentials of object stores.
    pub variables: Vec<(String, String)>,
}

/// How much an artefact may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, and of an archive.
    pub bytes: u64,
    /// Files; folders of an archive may be as many again.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 2 << 30, files: MAX_FILES }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Files that are complete.
    pub files: usize,
    /// Files that are to come; an archive is one.
    pub of_files: usize,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that are to come, as far as they are known.
    pub of_bytes: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fetched {
    /// Digest of the artefact (I5).
    pub sha256: String,
    /// Bytes that came over the network as content; what a file was asked for twice, counts twice.
    pub downloaded: u64,
    /// Bytes that an earlier fetch had left.
    pub resumed: u64,
    /// Whether the artefact was in its place already.
    pub present: bool,
}

/// Fetches an artefact. `tell` is called for each piece that comes. Files are written on the calling task: it should be
/// a program's only one, or have a runtime of its own.
///
/// It may be dropped, or killed, at any time: then the next fetch of the same address goes on where it was.
///
/// # Errors
/// If it is not there, is too much, is something else, or cannot be had. The folder is as it was before.
pub async fn fetch(request: &Request, tell: &(dyn Fn(Tally) + Sync)) -> Result<Fetched, FetchError> {
    if request.uri.is_open() && request.sha256.is_none() {
        return Err(FetchError::Open(request.uri.to_string()));
    }
    let to = std::path::absolute(&request.to).map_err(FetchError::disk(&request.to))?;
    let there = present(&to)?;
    if let Some(sha256) = there.as_ref().filter(|found| Some(*found) == request.sha256.as_ref()) {
        // What a fetch left that was killed behind its rename.
        gone(&beside(&to)).map_err(FetchError::disk(beside(&to)))?;
        return Ok(Fetched { sha256: sha256.clone(), downloaded: 0, resumed: 0, present: true });
    }
    if request.sha256.is_some() && !request.replace {
        refuse(&to, there.as_deref())?;
    }
    let work = Work::open(&to, &request.uri.to_string())?;
    let counts = gather(request, &work, tell).await?;
    let sha256 = check(request, &work).await?;
    let is_same = there.as_ref() == Some(&sha256);
    if !is_same {
        if !request.replace {
            refuse(&to, there.as_deref())?;
        }
        place(&work.tree(), &to, request.replace)?;
    }
    work.end()?;
    let (downloaded, resumed) = (counts.came.load(Relaxed), counts.kept.load(Relaxed));
    Ok(Fetched { sha256, downloaded, resumed, present: is_same })
}

/// The digest of what is in the place; none where nothing is, or a folder
/// without files. What is no artefact has one that no artefact has.
fn present(to: &Path) -> Result<Option<String>, FetchError> {
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FetchError::disk(to)(error)),
        Ok(found) if !found.is_dir() => return Ok(Some("no folder".to_owned())),
        Ok(_) => {}
    }
    match digest::of_directory(to) {
        Ok(digest) => Ok(Some(digest)),
        Err(DigestError::Count { many: false, .. }) => Ok(None),
        Err(DigestError::NotRegular { .. } | DigestError::Count { .. }) => Ok(Some("no artefact".to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn refuse(to: &Path, there: Option<&str>) -> Result<(), FetchError> {
    let Some(found) = there else { return Ok(()) };
    let found = if found.len() == 64 { format!("with the sha256 {found}") } else { format!("as {found}") };
    Err(FetchError::Occupied { path: to.to_owned(), found })
}

/// Brings all files into the tree.
async fn gather(request: &Request, work: &Work, tell: &(dyn Fn(Tally) + Sync)) -> Result<Counts, FetchError> {
    let uri = request.uri.to_string();
    let (limits, patience) = (&request.limits, &request.patience);
    let Some(source) = source(request)? else {
        let Uri::File(from) = &request.uri else { unreachable!("only files have no source") };
        work.uproot()?;
        let bytes = local::copy(from, &work.tree(), &uri, limits, tell)?;
        return Ok(Counts::copied(bytes));
    };
    let items = patiently(patience, &uri, async || source.list(limits.files).await).await?;
    if request.uri.archive().is_none() {
        complete(&items, &uri)?;
        work.keep(&items)?;
    }
    let counts = Counts::default();
    let download = Download { uri: &uri, source: &source, work, limits, patience, tell, counts };
    download.all(items).await?;
    if let Some(kind) = request.uri.archive() {
        work.uproot()?;
        let (from, into, limits) = (work.archive(), work.tree(), *limits);
        blocking(move || Ok(archive::unpack(&from, kind, &into, &limits)?)).await.inspect_err(|_| {
            // It will not get better: the next fetch gets it anew.
            let _ = work.clear();
        })?;
        if !work.tree().join(names::METADATA).is_file() {
            let at = format!("{} at the top of {uri}", names::METADATA);
            return Err(FetchError::Missing { at });
        }
    }
    Ok(download.counts)
}

/// Where its files come from; none for a folder of this machine.
fn source(request: &Request) -> Result<Option<Source>, FetchError> {
    let is_checked = request.sha256.is_some();
    let transport = Transport::new(&request.patience, is_checked).map(Arc::new).map_err(|error| {
        let (uri, reason) = (request.uri.to_string(), error.to_string());
        FetchError::Settings { uri, reason }
    })?;
    Ok(match &request.uri {
        Uri::File(_) => None,
        uri @ Uri::Web { .. } => Some(Source::Web(Web::new(transport, uri))),
        Uri::Bucket { store, bucket, prefix } => {
            let may_be_open = is_checked;
            let settings = Settings { variables: &request.variables, may_be_open, transport };
            Some(Source::Bucket(Bucket::new(*store, bucket, prefix, &settings)?))
        }
    })
}

/// Whether it can be an artefact at all: a wrong prefix is noticed before its bytes come.
fn complete(items: &[Item], uri: &str) -> Result<(), FetchError> {
    if items.iter().any(|item| item.path == names::METADATA) {
        return Ok(());
    }
    let uri = uri.trim_end_matches('/');
    Err(FetchError::Missing { at: format!("{uri}/{}", names::METADATA) })
}

/// The digest of the tree, if it is the one that was asked for.
async fn check(request: &Request, work: &Work) -> Result<String, FetchError> {
    let tree = work.tree();
    let found = blocking(move || Ok(digest::of_directory(&tree)?)).await?;
    match &request.sha256 {
        Some(asked) if *asked != found => {
            // Nobody knows which of its bytes are wrong.
            work.clear()?;
            let web = matches!(request.uri, Uri::Web { .. }) && request.uri.archive().is_none();
            Err(FetchError::Mismatch { found, asked: asked.clone(), web })
        }
        _ => Ok(found),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and nobody stops it")
}
