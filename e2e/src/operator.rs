//! The operator's own binary beside a test: started, stopped and killed as a node would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};

use crate::repository;

/// A running operator; killed when this is dropped.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    log: PathBuf,
}

/// Where it runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Path of the kubeconfig.
    pub kubeconfig: &'a str,
    /// The namespace that it watches, with its Lease; absent: all, with the Lease in `default`.
    pub namespace: Option<&'a str>,
    /// Its name in the Lease.
    pub identity: &'a str,
    /// Folder of its log.
    pub logs: &'a Path,
    /// What it logs (`SLUICE_LOG`).
    pub filter: &'a str,
}

static BINARY: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| build().map_err(|error| format!("{error:#}")));

impl Operator {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start(place: Place<'_>) -> Result<Self> {
        let binary = tokio::task::spawn_blocking(|| BINARY.as_ref()).await?;
        let binary = binary.map_err(|error| anyhow::anyhow!("{error}"))?;
        let log = place.logs.join(format!("{}.log", place.identity));
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(binary);
        command.args(["run", "--router-image", "router:test", "--server-image", "server:test"]);
        if let Some(namespace) = place.namespace {
            command.args(["--namespace", namespace]);
        }
        let child = command
            .args(["--lease-namespace", place.namespace.unwrap_or("default")])
            .args(["--identity", place.identity, "--admin", "127.0.0.1:0"])
            .env("KUBECONFIG", place.kubeconfig)
            .env("SLUICE_LOG", place.filter)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { child, log })
    }

    /// Its process id; absent when it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL: no last words.
    ///
    /// # Errors
    /// When it has ended before.
    pub async fn kill(mut self) -> Result<Instant> {
        let at = Instant::now();
        self.child.kill().await?;
        Ok(at)
    }

    /// SIGTERM, and waits for its end; says when the signal was sent.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn terminate(mut self) -> Result<Instant> {
        let pid = self.child.id().context("it has ended before")?;
        let at = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(sent.success(), "kill -TERM {pid}: {sent}");
        let status = self.child.wait().await?;
        ensure!(status.success(), "the operator ended with {status}; its log: {}", self.tail());
        Ok(at)
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Builds the binary beside this test's own, so that what is tested is what is in the tree; `SLUICE_OPERATOR`
/// names another one.
fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SLUICE_OPERATOR") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("tests lie in target/<profile>/deps")?;
    let target = folder.parent().context("the profile's folder lies in the target folder")?;
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository()).args(["build", "--quiet", "--package", "operator", "--bin", "operator"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.arg("--target-dir").arg(target).status().context("cannot start cargo")?;
    ensure!(built.success(), "cargo build of the operator: {built}");
    Ok(folder.join("operator"))
}
