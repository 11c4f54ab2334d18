//! Where an artefact is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::names;

/// Bytes of a URI, at most.
const LENGTH: usize = 512;

/// The address of an artefact. It holds no secret: a query, a user or a password is refused, so that an address can be
/// told everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uri {
    /// `file:///path`: a folder of this machine.
    File(PathBuf),
    /// `http://` or `https://`: an archive, or, with `/` at the end, a folder that cannot be listed.
    Web {
        /// Whether it is `https`.
        secure: bool,
        /// Host, and port if there is one.
        authority: String,
        /// The path, with `/` at its beginning.
        path: String,
    },
    /// `s3://`, `gs://` or `az://`: objects whose names begin with a prefix.
    Bucket {
        /// Whose.
        store: Store,
        /// Its name; that of the container with `az`.
        bucket: String,
        /// Names of the prefix, joined by `/`, none at the end.
        prefix: String,
    },
}

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Amazon S3, or what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
}

impl Store {
    /// The scheme of its addresses.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
        }
    }
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// `.tar`.
    Tar,
    /// `.tar.gz` or `.tgz`.
    TarGz,
}

/// What is no address of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("uri: {allowed}")]
pub struct UriError {
    /// What is allowed. What was found is not repeated: somebody may have put a password into it.
    pub allowed: String,
}

fn wrong<T>(allowed: &str) -> Result<T, UriError> {
    Err(UriError { allowed: allowed.to_owned() })
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.is_empty() || text.len() > LENGTH {
            return wrong("1..=512 bytes are allowed");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("no scheme was found, allowed: file, http, https, s3, gs, az");
        };
        if let Some(found) = rest.chars().find(|c| !is_plain(*c)) {
            return wrong(&format!(
                "{found:?} was found, allowed: letters, digits and ._~+@=,:-/ (no query, no %, no password)"
            ));
        }
        match scheme {
            "file" => file(rest),
            "http" | "https" => web(scheme == "https", rest),
            "s3" => bucket(Store::S3, rest),
            "gs" => bucket(Store::Gs, rest),
            "az" => bucket(Store::Az, rest),
            "pvc" => wrong("pvc is a volume of a pod, allowed: file, http, https, s3, gs, az"),
            _ => wrong("an unknown scheme was found, allowed: file, http, https, s3, gs, az"),
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._~+@=,:-/".contains(c)
}

/// The names of a path; those of the last `/` are none.
fn path(text: &str) -> Result<&str, UriError> {
    let path = text.strip_suffix('/').unwrap_or(text);
    match names::check(path) {
        Ok(()) => Ok(path),
        Err(error) => wrong(&format!("the path is refused: {}", error.allowed)),
    }
}

fn file(rest: &str) -> Result<Uri, UriError> {
    let Some(within) = rest.strip_prefix('/') else {
        return wrong("a path was not found, allowed: file:///<path>");
    };
    if within.split('/').any(|name| name == "..") {
        return wrong("the path must not contain ..");
    }
    Ok(Uri::File(PathBuf::from(rest)))
}

fn web(secure: bool, rest: &str) -> Result<Uri, UriError> {
    let (authority, within) = rest.split_once('/').unwrap_or((rest, "?"));
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if host.is_empty() || !host.chars().all(is_host) || host.starts_with(['-', '.']) {
        return wrong("no host was found, allowed: http(s)://<host>[:<port>]/<path>");
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return wrong("the port is no number up to 65535");
    }
    let uri = Uri::Web { secure, authority: authority.to_owned(), path: format!("/{within}") };
    if within.is_empty() {
        return Ok(uri);
    }
    if within != "?" {
        path(within)?;
    }
    if within.ends_with('/') || uri.archive().is_some() {
        return Ok(uri);
    }
    wrong(
        "over http(s) nothing can be listed: the path must end in .tar, .tar.gz or .tgz, or in / for a folder",
    )
}

fn bucket(store: Store, rest: &str) -> Result<Uri, UriError> {
    let (bucket, within) = rest.split_once('/').unwrap_or((rest, ""));
    let of_ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| of_ends(c) || "._-".contains(c);
    if !(3..=222).contains(&bucket.len())
        || !bucket.chars().all(is_inner)
        || !bucket.starts_with(of_ends)
        || !bucket.ends_with(of_ends)
    {
        return wrong("the bucket must have 3..=222 lower case letters, digits and ._-");
    }
    if within.is_empty() {
        return wrong("a path was not found: an artefact is a folder of a bucket, not all of it");
    }
    Ok(Uri::Bucket { store, bucket: bucket.to_owned(), prefix: path(within)?.to_owned() })
}

impl Uri {
    /// The kind of archive that it leads to; absent: it is a folder.
    #[must_use]
    pub fn archive(&self) -> Option<Archive> {
        let Self::Web { path, .. } = self else { return None };
        if path.ends_with(".tar") {
            return Some(Archive::Tar);
        }
        (path.ends_with(".tar.gz") || path.ends_with(".tgz")).then_some(Archive::TarGz)
    }

    /// Whether what it leads to comes unencrypted, so that anyone on the way may change it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Web { secure: false, .. })
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Web { secure, authority, path } => {
                write!(f, "{}://{authority}{path}", if *secure { "https" } else { "http" })
            }
            Self::Bucket { store, bucket, prefix } => write!(f, "{}://{bucket}/{prefix}", store.scheme()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("file:///models/digits", "file:///models/digits")]
    #[case("https://models.example/digits/1.0.0/", "https://models.example/digits/1.0.0/")]
    #[case("http://minio.models:9000/", "http://minio.models:9000/")]
    #[case("https://models.example/digits-1.0.0.tar.gz", "https://models.example/digits-1.0.0.tar.gz")]
    #[case("s3://team-models/digits/1.0.0/", "s3://team-models/digits/1.0.0")]
    #[case("gs://team_models.example/d", "gs://team_models.example/d")]
    #[case("az://models/a/b", "az://models/a/b")]
    fn an_address_is_read(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<Uri>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("", "1..=512 bytes")]
    #[case("models/digits", "no scheme was found")]
    #[case("ftp://host/a/", "an unknown scheme was found")]
    #[case("pvc://claim/a", "pvc is a volume of a pod")]
    #[case("file://host/a", "allowed: file:///<path>")]
    #[case("file:///a/../b", "must not contain ..")]
    #[case("https://host/model", "must end in .tar, .tar.gz or .tgz, or in /")]
    #[case("https://host", "must end in .tar")]
    #[case("https:///a/", "no host was found")]
    #[case("https://user@host/a/", "no host was found")]
    #[case("https://host:99999/a/", "the port is no number")]
    #[case("https://host:/a/", "the port is no number")]
    #[case("https://host/a/../b/", "the path is refused: allowed: no . or ..")]
    #[case("https://host/.well-known/", "no hidden files")]
    #[case("https://host/a//b/", "no empty names")]
    #[case("https://host/a%2e%2e/", "'%' was found")]
    #[case("https://host/a.tar?sig=1", "'?' was found")]
    #[case("s3://b/a", "the bucket must have 3..=222")]
    #[case("s3://Bucket/a", "the bucket must have 3..=222")]
    #[case("s3://bucket", "an artefact is a folder of a bucket")]
    #[case("s3://bucket/", "an artefact is a folder of a bucket")]
    #[case("s3://bucket/../other/a", "no . or ..")]
    #[case("s3://bucket//a", "paths within the artefact")]
    fn what_is_none_is_refused(#[case] text: &str, #[case] message: &str) {
        let error = text.parse::<Uri>().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_password_is_not_repeated() {
        let error = "https://me:hunter2!@host/a/".parse::<Uri>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(s3|gs|az|https?|file)://[a-z.:@/-]{0,20}") {
            if let Ok(uri) = text.parse::<Uri>() {
                let shown = uri.to_string();
                prop_assert_eq!(shown.trim_end_matches('/'), text.trim_end_matches('/'));
                prop_assert_eq!(shown.parse::<Uri>(), Ok(uri));
            }
        }

        #[test]
        fn no_bytes_break_the_parser(text in "\\PC{0,40}") {
            let _ = text.parse::<Uri>();
        }
    }
}
