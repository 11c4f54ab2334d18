//! The node and the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::repository;

/// A running cluster, reached by the tools that people use.
#[derive(Debug, Clone)]
pub struct Node {
    root: PathBuf,
    kubeconfig: String,
    path: String,
}

impl Node {
    /// Starts the cluster if it is not up, and loads the images that `hack/images` has built.
    ///
    /// # Errors
    /// When a script fails; its output has gone to the terminal.
    pub fn up() -> Result<Self> {
        let root = repository();
        run(Command::new(root.join("hack/cluster")).arg("up"))?;
        load(&root, &["operator", "router", "model-server"])?;
        let env = capture(Command::new("bash").args([
            "-c",
            "eval \"$(\"$0\" env)\" && printf '%s\\n%s\\n' \"$KUBECONFIG\" \"$PATH\"",
            &root.join("hack/cluster").to_string_lossy(),
        ]))?;
        let mut lines = env.lines().map(str::to_owned);
        let (Some(kubeconfig), Some(path)) = (lines.next(), lines.next()) else {
            bail!("hack/cluster env printed {env:?}")
        };
        Ok(Self { root, kubeconfig, path })
    }

    /// Loads one more image that `hack/images` has built.
    ///
    /// # Errors
    /// When a script fails; its output has gone to the terminal.
    pub fn load(&self, image: &str) -> Result<()> {
        load(&self.root, &[image])
    }

    /// Path of the kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// A client of the cluster's API server.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client> {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig)?;
        let options = kube::config::KubeConfigOptions::default();
        Ok(kube::Client::try_from(kube::Config::from_custom_kubeconfig(config, &options).await?)?)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        capture(self.tool("kubectl").args(arguments))
    }

    /// `kubectl apply -f -`.
    ///
    /// # Errors
    /// With kubectl's own words.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        use std::io::Write;
        let mut child = self
            .tool("kubectl")
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("the pipe was asked for above")?;
        input.write_all(manifest.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs or upgrades the chart and waits until the operator is ready.
    ///
    /// # Errors
    /// With helm's own words.
    pub fn install(&self) -> Result<Duration> {
        let start = Instant::now();
        let chart = self.root.join("charts/sluice");
        capture(self.tool("helm").args(["upgrade", "--install", "sluice"]).arg(chart).args([
            "--namespace",
            "sluice-system",
            "--create-namespace",
            "--wait",
            "--timeout",
            "120s",
        ]))?;
        Ok(start.elapsed())
    }

    /// Uninstalls the chart.
    ///
    /// # Errors
    /// With helm's own words.
    pub fn uninstall(&self) -> Result<String> {
        capture(self.tool("helm").args([
            "uninstall",
            "sluice",
            "--namespace",
            "sluice-system",
            "--wait",
            "--timeout",
            "120s",
        ]))
    }

    fn tool(&self, name: &str) -> Command {
        // The PATH of `hack/cluster env` must already hold when the program is looked up.
        let program = std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|p| p.is_file())
            .unwrap_or_else(|| name.into());
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).env("PATH", &self.path);
        command
    }
}

fn load(root: &Path, images: &[&str]) -> Result<()> {
    let folder = capture(Command::new(root.join("hack/images")).arg("path"))?;
    let archives = images.iter().map(|image| format!("{}/{image}.tar", folder.trim()));
    run(Command::new(root.join("hack/cluster")).arg("load").args(archives))
}

/// Runs with the terminal's output.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed with {status}");
    }
    Ok(())
}

/// Runs and returns what was printed to stdout.
pub(super) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
