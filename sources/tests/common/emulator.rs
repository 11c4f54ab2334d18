//! Emulators of object stores (`hack/stores`), each for one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static EMULATORS: LazyLock<PathBuf> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/stores");
    let done = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(done.status.success(), "hack/stores failed");
    PathBuf::from(String::from_utf8(done.stdout).unwrap().lines().last().unwrap())
});

/// An emulator that runs for one test.
pub(crate) struct Emulator {
    process: Child,
    pub(crate) port: u16,
    _data: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Emulator {
    /// Starts one and waits until it takes connections.
    fn start(program: &str, args: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(EMULATORS.join(program));
        command.args(args(port, data.path())).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let emulator = Self { process, port, _data: data };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{program} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    pub(crate) fn s3() -> Self {
        Self::start("moto/bin/moto_server", |port, _| vec!["-p".into(), port.to_string()])
    }

    pub(crate) fn gs() -> Self {
        Self::start("fake-gcs-server", |port, data| {
            // Without a port the public host is also that of the proxy.
            let flags = ["-scheme=http", "-backend=memory", "-host=127.0.0.1", "-public-host=127.0.0.1"];
            let mut all: Vec<String> = flags.map(str::to_owned).into();
            all.push(format!("-port={port}"));
            all.push(format!("-data={}", data.display()));
            all
        })
    }

    pub(crate) fn az() -> Self {
        Self::start("azurite/node_modules/.bin/azurite-blob", |port, _| {
            let flags =
                ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"];
            let mut all: Vec<String> = flags.map(str::to_owned).into();
            all.extend(["--blobPort".into(), port.to_string()]);
            all
        })
    }
}

pub(crate) fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn s3_variables(endpoint: &str) -> Vec<(String, String)> {
    variables(&[
        ("AWS_ACCESS_KEY_ID", "someone"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ])
}

/// Azurite's own account, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub(crate) fn az_variables(endpoint: &str) -> Vec<(String, String)> {
    variables(&[
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
        ("AZURE_STORAGE_ENDPOINT", &format!("{endpoint}/{ACCOUNT}")),
    ])
}
