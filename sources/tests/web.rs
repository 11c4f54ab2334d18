//! Folders and archives of a web server that breaks, changes and lies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::time::{Duration, Instant};

use common::site::{Fault, Page, Site};
use common::{artefact, digest_of, get, names, read, request, write};
use sources::{FetchError, Limits, Request};

const MODEL: &str = "/a/model.pt";

/// A site with an artefact, a folder for it, and a request for the one in the other.
struct Case {
    files: std::collections::BTreeMap<String, Vec<u8>>,
    site: Site,
    folder: tempfile::TempDir,
    request: Request,
}

impl Case {
    async fn new(model: usize) -> Self {
        let files = artefact(model);
        let site = Site::of(&files).await;
        let folder = tempfile::tempdir().unwrap();
        let sha256 = Some(digest_of(&files));
        let request = Request { sha256, ..request(&site.uri("/a/"), &folder.path().join("m")) };
        Self { files, site, folder, request }
    }

    fn is_placed(&self) {
        assert_eq!(read(&self.request.to), self.files);
        assert_eq!(names(self.folder.path()), ["m"], "nothing else is left");
    }

    fn is_not_placed(&self) {
        assert!(!self.request.to.exists());
    }
}

#[tokio::test]
async fn a_folder_is_fetched_by_its_known_names() {
    let mut case = Case::new(100_000).await;
    let told = std::sync::Mutex::new(Vec::new());
    let fetched = sources::fetch(&case.request, &|tally| told.lock().unwrap().push(tally)).await.unwrap();
    assert_eq!(Some(&fetched.sha256), case.request.sha256.as_ref());
    let bytes: u64 = case.files.values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!((fetched.downloaded, fetched.resumed, fetched.present), (bytes, 0, false));
    let last = *told.lock().unwrap().last().unwrap();
    assert_eq!((last.files, last.of_files, last.bytes, last.of_bytes), (3, 3, bytes, bytes));
    case.is_placed();
    // What is there is not asked for again.
    case.site.pages.lock().unwrap().clear();
    assert!(get(&case.request).await.unwrap().present);
    // Something else is not overwritten, and by default not asked for either.
    case.request.sha256 = Some("0".repeat(64));
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("is there already, with the sha256") && error.contains("--replace"), "{error}");
    case.is_placed();
}

#[tokio::test]
async fn after_a_cut_only_the_rest_comes() {
    let case = Case::new(1_000_000).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Cut(300_000), Fault::Cut(400_000)].into());
    let fetched = get(&case.request).await.unwrap();
    case.is_placed();
    let asked = case.site.asked(MODEL);
    let ranges: Vec<_> = asked.iter().map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=300000-"), Some("bytes=700000-")]);
    assert!(asked[1..].iter().all(|asked| asked.if_range.as_deref() == Some("\"1000000\"")));
    assert_eq!(case.site.sent(MODEL), 1_000_000);
    assert_eq!(fetched.downloaded, 1_000_022);
}

#[tokio::test]
async fn the_next_fetch_goes_on_where_the_last_gave_up() {
    let case = Case::new(1_000_000).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Cut(300_000)].into());
    let hasty = Request {
        patience: sources::Patience { retries: 0, ..case.request.patience },
        ..case.request.clone()
    };
    let error = get(&hasty).await.unwrap_err();
    assert!(matches!(error, FetchError::GaveUp { tries: 1, .. }) && error.is_passing(), "{error}");
    case.is_not_placed();
    let fetched = get(&hasty).await.unwrap();
    case.is_placed();
    assert_eq!(case.site.sent(MODEL), 1_000_000);
    assert!(fetched.resumed >= 300_000, "{fetched:?}");
    assert_eq!(fetched.downloaded + fetched.resumed, 1_000_022);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_begins_anew() {
    let mut case = Case::new(1_000_000).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Cut(300_000)].into());
    let hasty = sources::Patience { retries: 0, ..case.request.patience };
    let first = Request { patience: hasty, ..case.request.clone() };
    get(&first).await.unwrap_err();
    // Of the same length, so that only the ETag tells.
    let mut other = case.files["model.pt"].clone();
    other.reverse();
    case.site.change(MODEL, |page| *page = Page { etag: Some("\"other\"".into()), ..Page::new(&other) });
    case.files.insert("model.pt".into(), other);
    case.request.sha256 = Some(digest_of(&case.files));
    let fetched = get(&case.request).await.unwrap();
    case.is_placed();
    assert_eq!(case.site.asked(MODEL).last().unwrap().range, None);
    assert!(fetched.resumed < 300_000);
}

#[tokio::test]
async fn a_file_that_changes_between_two_parts_begins_anew() {
    let mut case = Case::new(1_000_000).await;
    let mut other = case.files["model.pt"].clone();
    other.reverse();
    case.files.insert("model.pt".into(), other.clone());
    case.request.sha256 = Some(digest_of(&case.files));
    case.site.change(MODEL, |page| page.faults = [Fault::Cut(300_000)].into());
    case.request.patience.pause = Duration::from_millis(300);
    let (site, changed) = (case.site.clone(), other);
    tokio::spawn(async move {
        while site.asked(MODEL).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        site.change(MODEL, |page| *page = Page { etag: Some("\"other\"".into()), ..Page::new(&changed) });
    });
    get(&case.request).await.unwrap();
    case.is_placed();
}

#[tokio::test]
async fn without_ranges_or_etags_all_of_it_comes_again() {
    for (ranges, etag) in
        [(false, Some("\"1\"".to_owned())), (true, None), (true, Some("W/\"1\"".to_owned()))]
    {
        let case = Case::new(500_000).await;
        case.site.change(MODEL, |page| {
            page.faults = [Fault::Cut(100_000)].into();
            (page.ranges, page.etag) = (ranges, etag.clone());
        });
        get(&case.request).await.unwrap();
        case.is_placed();
        assert_eq!(case.site.sent(MODEL), 600_000, "{ranges} {etag:?}");
    }
}

#[tokio::test]
async fn a_stall_ends_a_try() {
    let case = Case::new(500_000).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Stall(200_000)].into());
    let begun = Instant::now();
    get(&case.request).await.unwrap();
    case.is_placed();
    assert!(begun.elapsed() >= case.request.patience.stall, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(case.site.asked(MODEL)[1].range.as_deref(), Some("bytes=200000-"));
}

#[tokio::test]
async fn a_slow_server_is_no_stall() {
    let case = Case::new(200_000).await;
    // 100 bytes a millisecond: longer than the stall as a whole, never in between.
    case.site.change(MODEL, |page| page.pace = 100);
    let begun = Instant::now();
    get(&case.request).await.unwrap();
    assert!(begun.elapsed() > case.request.patience.stall, "{:?}", begun.elapsed());
    assert_eq!(case.site.asked(MODEL).len(), 1);
}

#[tokio::test]
async fn tries_are_counted() {
    let case = Case::new(1000).await;
    case.site.change(MODEL, |page| page.faults = [503, 500, 429, 502, 503].map(Fault::Status).into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("after 4 tries: status 502"), "{error}");
    case.is_not_placed();
    // A refusal is not asked again.
    case.site.change(MODEL, |page| page.faults = [Fault::Status(403)].into());
    let before = case.site.asked(MODEL).len();
    let error = get(&case.request).await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { reason, .. } if reason.contains("403")), "{error}");
    assert_eq!(case.site.asked(MODEL).len(), before + 1);
}

#[tokio::test]
async fn another_digest_places_nothing_and_leaves_nothing() {
    let mut case = Case::new(1000).await;
    let found = case.request.sha256.replace("0".repeat(64)).unwrap();
    let error = get(&case.request).await.unwrap_err();
    assert!(matches!(&error, FetchError::Mismatch { found: f, .. } if *f == found), "{error}");
    assert!(!error.is_passing() && error.to_string().contains("only the known names"), "{error}");
    case.is_not_placed();
    assert_eq!(names(&case.folder.path().join(".m.fetch")), ["lock"]);
}

#[tokio::test]
async fn more_than_the_limit_does_not_come() {
    let mut case = Case::new(100_000).await;
    case.request.limits = Limits { bytes: 99_999, ..Limits::default() };
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("holds 100022 bytes or more, allowed: 99999"), "{error}");
    assert_eq!(case.site.sent(MODEL), 0, "it was known before");
    // A server that does not say how much it is: as far as the limit.
    case.site.change(MODEL, |page| (page.ranges, page.chunked, page.etag) = (false, true, None));
    case.site.change(MODEL, |page| page.faults = [Fault::Endless].into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("bytes or more, allowed: 99999"), "{error}");
    case.is_not_placed();
}

#[tokio::test]
async fn lengths_that_are_lies_are_noticed() {
    let case = Case::new(10_000).await;
    // More is announced than comes, and the connection stays open.
    let all = [Fault::Longer(5), Fault::Longer(5), Fault::Longer(5), Fault::Longer(5)];
    case.site.change(MODEL, |page| page.faults = all.into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("no longer what was listed"), "{error}");
    // More comes than the first look said.
    case.site.change(MODEL, |page| page.faults = [Fault::Endless].into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("more than its 10000 bytes came"), "{error}");
    case.is_not_placed();
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    let case = Case::new(1000).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Elsewhere(MODEL.into())].into());
    get(&case.request).await.unwrap();
    case.is_placed();
    let case = Case::new(1000).await;
    case.site.change(MODEL, |page| page.faults = vec![Fault::Elsewhere(MODEL.into()); 50].into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("sent elsewhere more than 5 times"), "{error}");
}

#[tokio::test]
async fn plain_http_needs_a_digest() {
    let mut case = Case::new(10).await;
    case.request.sha256 = None;
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("only taken with a sha256"), "{error}");
    assert_eq!(case.site.asked(MODEL), []);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let case = Case::new(10).await;
    case.site.pages.lock().unwrap().remove(MODEL);
    let error = get(&case.request).await.unwrap_err();
    assert!(!error.is_passing());
    assert!(error.to_string().contains("/a/{model.pt,model.safetensors,model.pth,model.onnx} is not there"));
    case.site.pages.lock().unwrap().remove("/a/metadata.json");
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("/a/metadata.json is not there"), "{error}");
}

#[tokio::test]
async fn a_coding_that_was_not_asked_for_is_refused() {
    let case = Case::new(10).await;
    case.site.change(MODEL, |page| page.faults = [Fault::Coded].into());
    let error = get(&case.request).await.unwrap_err().to_string();
    assert!(error.contains("comes in the coding \"gzip\""), "{error}");
}

#[tokio::test]
async fn two_at_once_do_not_mix() {
    let case = Case::new(100_000).await;
    case.site.change(MODEL, |page| page.pace = 1000);
    let (one, other) = tokio::join!(get(&case.request), get(&case.request));
    let busy = |r: &Result<_, _>| matches!(r, Err(FetchError::Busy { .. }));
    assert!(busy(&one) != busy(&other), "{one:?} {other:?}");
    case.is_placed();
}

#[tokio::test]
async fn another_artefact_is_replaced_in_one_step() {
    let mut case = Case::new(1000).await;
    std::fs::create_dir(&case.request.to).unwrap();
    get(&case.request).await.unwrap();
    case.is_placed();
    std::fs::remove_dir_all(&case.request.to).unwrap();
    write(&case.request.to, &artefact(5));
    case.request.replace = true;
    get(&case.request).await.unwrap();
    case.is_placed();
}

#[tokio::test]
async fn an_archive_is_fetched_in_parts_and_unpacked() {
    let files = artefact(300_000);
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, format!("./{path}"), bytes.as_slice()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let page = Page::new(&tar).faults([Fault::Cut(100_000)]);
    let chunked = Page { chunked: true, etag: None, ranges: false, ..Page::new(&tar) };
    let site = Site::new([("/m.tar".to_owned(), page), ("/c.tar".to_owned(), chunked)]).await;
    for path in ["/m.tar", "/c.tar"] {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("m");
        let request = Request { sha256: Some(digest_of(&files)), ..request(&site.uri(path), &to) };
        get(&request).await.unwrap();
        assert_eq!(read(&to), files);
        assert_eq!(names(folder.path()), ["m"]);
    }
    assert_eq!(site.sent("/m.tar"), tar.len());
}

#[tokio::test]
async fn a_folder_of_this_machine_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    write(&from, &artefact(1000));
    let uri = format!("file://{}", from.display());
    let small = Limits { bytes: 1000, ..Limits::default() };
    let error = get(&Request { limits: small, ..request(&uri, &to) }).await.unwrap_err().to_string();
    assert!(error.contains("bytes or more, allowed: 1000"), "{error}");
    assert!(!to.exists());
    get(&request(&uri, &to)).await.unwrap();
    assert_eq!(read(&to), artefact(1000));
    std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
    let error = get(&request(&uri, &folder.path().join("other"))).await.unwrap_err().to_string();
    assert!(error.contains("is a link"), "{error}");
}
