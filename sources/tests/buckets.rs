//! Object stores, as their emulators speak (`hack/stores`): S3 by moto, Google Cloud Storage by fake-gcs-server, Azure
//! Blob Storage by Azurite.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::emulator::{ACCOUNT_KEY, Emulator, az_variables, s3_variables, variables};
use common::proxy::Proxy;
use common::{artefact, digest_of, get, names, read, request, upload};
use sources::{FetchError, Limits, Request};

struct Case {
    files: BTreeMap<String, Vec<u8>>,
    proxy: Proxy,
    folder: tempfile::TempDir,
    request: Request,
}

impl Case {
    /// An artefact with a folder in it, in the bucket `models`; requests go through a proxy that counts and cuts.
    async fn new(scheme: &str, emulator: &Emulator, of: fn(&str) -> Vec<(String, String)>) -> Self {
        let mut files = artefact(3_000_000);
        files.insert("more/notes.txt".into(), b"held out".to_vec());
        let direct = format!("http://127.0.0.1:{}", emulator.port);
        upload::all(scheme, &of(&direct), "models", "digits/1.0.0", &files).await;
        let proxy = Proxy::new(emulator.port).await;
        let folder = tempfile::tempdir().unwrap();
        let uri = format!("{scheme}://models/digits/1.0.0/");
        let plain = request(&uri, &folder.path().join("m"));
        let request = Request {
            sha256: Some(digest_of(&files)),
            variables: of(&proxy.address()),
            // Emulators are slow.
            patience: sources::Patience { stall: Duration::from_secs(20), ..plain.patience },
            ..plain
        };
        Self { files, proxy, folder, request }
    }

    fn is_placed(&self) {
        assert_eq!(read(&self.request.to), self.files);
        assert_eq!(names(self.folder.path()), ["m"], "nothing else is left");
    }

    /// The whole story of one store.
    async fn lives(mut self) {
        // A connection that breaks within the model: the rest comes, and only that.
        self.proxy.cut_after(1_000_000);
        let fetched = get(&self.request).await.unwrap();
        self.is_placed();
        let all: u64 = self.files.values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!((fetched.downloaded, fetched.resumed), (all, 0));
        let down = self.proxy.down();
        assert!(down > all && down < all + 100_000, "{down} bytes came for {all}");
        assert_eq!(self.proxy.cuts(), 1);
        // There already: nobody is asked.
        assert!(get(&self.request).await.unwrap().present);
        assert_eq!(self.proxy.down(), down);
        // Another one of the bucket is none.
        self.request.to = self.folder.path().join("n");
        self.request.uri = self.request.uri.to_string().replace("1.0.0", "1.0").parse().unwrap();
        let error = get(&self.request).await.unwrap_err();
        assert!(matches!(&error, FetchError::Missing { .. }), "{error}");
        self.request.uri = self.request.uri.to_string().replace("1.0", "1.0.0").parse().unwrap();
        // Limits hold before anything comes.
        self.request.limits = Limits { files: 3, ..Limits::default() };
        let error = get(&self.request).await.unwrap_err();
        assert!(matches!(&error, FetchError::Files { limit: 3, .. }), "{error}");
        self.request.limits = Limits { bytes: 1_000_000, ..Limits::default() };
        let before = self.proxy.down();
        let error = get(&self.request).await.unwrap_err();
        assert!(matches!(&error, FetchError::Bytes { limit: 1_000_000, .. }), "{error}");
        assert!(self.proxy.down() - before < 50_000);
        // Plain HTTP without a digest: not at all.
        self.request.sha256 = None;
        let error = get(&self.request).await.unwrap_err();
        assert!(matches!(&error, FetchError::Open(_)), "{error}");
        assert!(!self.request.to.exists());
    }
}

#[tokio::test]
async fn s3() {
    let emulator = Emulator::s3();
    Case::new("s3", &emulator, s3_variables).await.lives().await;
}

#[tokio::test]
async fn gs() {
    let emulator = Emulator::gs();
    let of = |endpoint: &str| variables(&[("GOOGLE_BASE_URL", endpoint)]);
    Case::new("gs", &emulator, of).await.lives().await;
}

#[tokio::test]
async fn az() {
    let emulator = Emulator::az();
    Case::new("az", &emulator, az_variables).await.lives().await;
}

#[tokio::test]
async fn an_object_that_changes_begins_anew() {
    let emulator = Emulator::s3();
    let mut case = Case::new("s3", &emulator, s3_variables).await;
    case.proxy.cut_after(1_000_000);
    let hasty = sources::Patience { retries: 0, ..case.request.patience };
    get(&Request { patience: hasty, ..case.request.clone() }).await.unwrap_err();
    // As long as before.
    let mut model = case.files["model.pt"].clone();
    model.reverse();
    case.files.insert("model.pt".into(), model);
    let direct = format!("http://127.0.0.1:{}", emulator.port);
    upload::all("s3", &s3_variables(&direct), "models", "digits/1.0.0", &case.files).await;
    case.request.sha256 = Some(digest_of(&case.files));
    get(&case.request).await.unwrap();
    case.is_placed();
}

#[tokio::test]
async fn objects_that_only_stand_for_folders_are_no_files() {
    let emulator = Emulator::s3();
    let case = Case::new("s3", &emulator, s3_variables).await;
    // As the console of S3 makes them.
    upload::raw(emulator.port, "/models/digits/1.0.0/").await;
    upload::raw(emulator.port, "/models/digits/1.0.0/more/").await;
    get(&case.request).await.unwrap();
    case.is_placed();
}

#[tokio::test]
async fn a_hostile_name_is_refused() {
    let emulator = Emulator::s3();
    let case = Case::new("s3", &emulator, s3_variables).await;
    upload::raw(emulator.port, "/models/digits/1.0.0/.hidden").await;
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("no hidden files"), "{error}");
    assert!(!case.request.to.exists());
}

#[tokio::test]
async fn a_refusal_is_told_without_the_secret() {
    let emulator = Emulator::az();
    let mut case = Case::new("az", &emulator, az_variables).await;
    let wrong = ACCOUNT_KEY.replace("Eby8", "Abc8");
    case.request.variables[1].1.clone_from(&wrong);
    let error = get(&case.request).await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { .. }), "{error:?}");
    assert!(!error.to_string().contains(&wrong), "{error}");
    case.request.variables.clear();
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("AZURE_STORAGE_ACCOUNT_NAME is not set"), "{error}");
}

#[tokio::test]
async fn without_credentials_nobody_is_asked_for_some() {
    let emulator = Emulator::s3();
    let mut case = Case::new("s3", &emulator, s3_variables).await;
    case.request.variables.retain(|(name, _)| !name.contains("KEY"));
    // Not signed, and so not given; the metadata service of a node, which has credentials, was not asked.
    let error = get(&case.request).await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { reason, .. } if reason.contains("403")), "{error}");
}
