//! Who is measured, and how each is started: with what lies in bench/peers/servers.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Serialize, Serializer};

use super::CORES;
use super::models::Model;
use crate::process::{Program, pinned};

/// A port of this machine.
const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Where the programs are.
#[derive(Debug, Clone, Args)]
pub struct Paths {
    /// The model server, built for release.
    #[arg(long)]
    server: PathBuf,
    /// The program `limits`, built for release.
    #[arg(long)]
    pub(super) limits: PathBuf,
    /// Folder of programs of the peers' virtual environment.
    #[arg(long)]
    environment: PathBuf,
    /// Folder of what the peers run, bench/peers/servers.
    #[arg(long)]
    peers: PathBuf,
    /// Folder that models.py there has written.
    #[arg(long)]
    pub(super) made: PathBuf,
    /// Artefact of the digits, as hack/models makes it.
    #[arg(long)]
    pub(super) digits: PathBuf,
    /// Folder with the libraries of libtorch.
    #[arg(long)]
    pub(super) libtorch: PathBuf,
}

impl Paths {
    /// The script of wrk.
    pub(super) fn script(&self) -> PathBuf {
        self.peers.join("wrk.lua")
    }

    /// Megabytes that an image of the model server adds to its base: the program, and the libraries beside it.
    pub(super) fn image(&self) -> Result<f64> {
        let libraries = std::fs::read_dir(self.libtorch.join("lib"))?;
        let libraries = libraries.map(|entry| Ok(entry?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
        Ok((std::fs::metadata(&self.server)?.len() + libraries) as f64 / 1e6)
    }
}

/// A contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// The model server, with everything on.
    Sluice,
    /// The same with `--precision bf16`.
    SluiceBf16,
    /// FastAPI, one process whose operations have two threads.
    FastapiThreads,
    /// FastAPI, two workers of one thread.
    FastapiWorkers,
    Litserve,
    Torchserve,
    /// The model server with a model that costs nothing: a limit, and no contestant.
    Http,
}

impl Peer {
    const ALL: [Self; 7] = [
        Self::Sluice,
        Self::SluiceBf16,
        Self::FastapiThreads,
        Self::FastapiWorkers,
        Self::Litserve,
        Self::Torchserve,
        Self::Http,
    ];

    /// All that this machine can run, in the order of their turns.
    pub(super) fn all() -> Vec<Self> {
        Self::ALL.into_iter().filter(|peer| *peer != Self::SluiceBf16 || has_amx()).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::SluiceBf16 => "sluice-bf16",
            Self::FastapiThreads => "fastapi-1x2",
            Self::FastapiWorkers => "fastapi-2x1",
            Self::Litserve => "litserve",
            Self::Torchserve => "torchserve",
            Self::Http => "no model",
        }
    }

    /// Where it listens.
    pub(super) fn address(self) -> SocketAddr {
        match self {
            Self::Sluice => local(18301),
            Self::SluiceBf16 => local(18303),
            Self::FastapiThreads => local(18311),
            Self::FastapiWorkers => local(18312),
            Self::Litserve => local(18313),
            // Its other ports are in torchserve.properties.
            Self::Torchserve => local(18314),
            Self::Http => local(18321),
        }
    }

    /// Where images are asked about.
    pub(super) fn path(self) -> &'static str {
        if self == Self::Torchserve { "/predictions/model" } else { "/predict" }
    }

    pub(super) fn url(self) -> String {
        format!("http://{}{}", self.address(), self.path())
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How a model server is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) model: Model,
    pub(super) cores: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) bf16: bool,
    pub(super) log: bool,
}

impl Server {
    /// With everything on, where [`Peer::Sluice`] is.
    pub(super) const fn of(model: Model) -> Self {
        Self { model, cores: CORES, listen: local(18301), bf16: false, log: true }
    }

    /// The same on another port; its admin port is the next one.
    pub(super) const fn on(self, port: u16) -> Self {
        Self { listen: local(port), ..self }
    }

    pub(super) fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.listen.port() + 1)
    }

    pub(super) fn start(&self, paths: &Paths, name: &str, folder: &Path) -> Result<Program> {
        let mut what = Command::new(&paths.server);
        what.args(["serve", "--revision", "bench-1", "--version", &self.model.version(paths)?, "--model"]);
        what.arg(self.model.folder(paths));
        self.start_with(what.get_args(), paths, name, folder)
    }

    /// The same of a folder of models, of which this one answers.
    pub(super) fn start_repository(&self, models: &Path, paths: &Paths, folder: &Path) -> Result<Program> {
        let mut what = Command::new(&paths.server);
        what.args(["serve", "--poll", "200ms", "--name", self.model.name(), "--load", self.model.name()]);
        what.arg("--repository").arg(models);
        self.start_with(what.get_args(), paths, "repository", folder)
    }

    fn start_with<'a>(
        &self,
        what: impl Iterator<Item = &'a OsStr>,
        paths: &Paths,
        name: &str,
        folder: &Path,
    ) -> Result<Program> {
        let mut command = pinned(self.cores, &paths.server);
        command
            .args(what)
            .args(["--listen", &self.listen.to_string(), "--admin", &self.admin().to_string()])
            .args(["--precision", if self.bf16 { "bf16" } else { "fp32" }]);
        if self.log {
            command.arg("--prediction-log").arg(folder.join(format!("{name}.jsonl")));
        }
        Program::start(name, command, folder)
    }
}

impl Peer {
    /// Starts it with its files in a folder; it may take a while until it answers.
    pub(super) fn start(self, paths: &Paths, model: Model, folder: &Path) -> Result<Program> {
        let artefact = model.folder(paths);
        let peer = |program: &str| {
            let mut command = pinned(CORES, &paths.environment.join(program));
            command
                .env("MODEL", &artefact)
                .env("PYTHONPATH", &paths.peers)
                .env("PYTHONDONTWRITEBYTECODE", "1");
            // TorchServe unpacks there, and keeps the number of its process.
            command.env("TMPDIR", folder).env("TEMP", folder).current_dir(folder);
            command
        };
        let port = self.address().port().to_string();
        let uvicorn = |workers: &str, threads: &str| {
            let mut command = peer("uvicorn");
            command.env("THREADS", threads).args([
                "fastapi_server:app",
                "--no-access-log",
                "--log-level",
                "warning",
            ]);
            command.args(["--host", "127.0.0.1", "--port", &port, "--workers", workers]);
            command
        };
        let command = match self {
            Self::Sluice | Self::SluiceBf16 => {
                let server =
                    Server { bf16: self == Self::SluiceBf16, listen: self.address(), ..Server::of(model) };
                return server.start(paths, self.name(), folder);
            }
            Self::FastapiThreads => uvicorn("1", "2"),
            Self::FastapiWorkers => uvicorn("2", "1"),
            Self::Litserve => {
                let mut command = peer("python");
                command.arg(paths.peers.join("litserve_server.py")).env("PORT", &port);
                command
            }
            Self::Torchserve => {
                archive(paths, &artefact, folder)?;
                let mut command = peer("torchserve");
                // Workers are started by the name `python`.
                let path = std::env::var_os("PATH").unwrap_or_default();
                let folders = std::iter::once(paths.environment.clone()).chain(std::env::split_paths(&path));
                command.env("PATH", std::env::join_paths(folders)?);
                command
                    .args(["--start", "--foreground", "--disable-token-auth", "--ncs", "--model-store"])
                    .arg(folder);
                command
                    .args(["--models", "model=model.mar", "--ts-config"])
                    .arg(paths.peers.join("torchserve.properties"));
                command.arg("--log-config").arg(paths.peers.join("torchserve-log4j2.xml"));
                command
            }
            Self::Http => {
                let mut command = pinned(CORES, &paths.limits);
                command.args(["serve", "--listen", &self.address().to_string(), "--model"]).arg(&artefact);
                command.arg("--prediction-log").arg(folder.join("http.jsonl"));
                command
            }
        };
        Program::start(self.name(), command, folder)
    }
}

/// Writes the archive that TorchServe is given.
fn archive(paths: &Paths, artefact: &Path, folder: &Path) -> Result<()> {
    let file = |path: PathBuf| path.into_os_string().into_string().ok().context("a path in UTF-8");
    let extra = [paths.peers.join("common.py"), artefact.join("metadata.json")].map(file);
    let extra = extra.into_iter().collect::<Result<Vec<_>>>()?.join(",");
    let output = Command::new(paths.environment.join("torch-model-archiver"))
        .args(["--force", "--model-name", "model", "--version", "1.0", "--serialized-file"])
        .arg(artefact.join("model.pt"))
        .arg("--handler")
        .arg(paths.peers.join("torchserve_handler.py"))
        .args(["--extra-files", &extra, "--config-file"])
        .arg(paths.peers.join("torchserve-model.yaml"))
        .arg("--export-path")
        .arg(folder)
        .output()
        .context("torch-model-archiver")?;
    ensure!(output.status.success(), "torch-model-archiver: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn flags() -> Vec<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Whether bf16 is faster here.
pub(super) fn has_amx() -> bool {
    flags().iter().any(|flag| flag == "amx_bf16")
}

/// Instructions of the processor, and versions, for people.
pub(super) fn versions(paths: &Paths) -> Result<String> {
    const TELLING: [&str; 7] =
        ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"];
    let flags = flags();
    let flags: Vec<&str> =
        TELLING.into_iter().filter(|telling| flags.iter().any(|flag| flag == telling)).collect();
    let names = ["torch", "fastapi", "uvicorn", "litserve", "torchserve", "pillow"];
    let script = "import sys, json, importlib.metadata as m; print(sys.version.split()[0], json.dumps({n: m.version(n) for n in sys.argv[1:]}))";
    let output = Command::new(paths.environment.join("python")).args(["-c", script]).args(names).output()?;
    ensure!(output.status.success(), "versions of the peers: {}", String::from_utf8_lossy(&output.stderr));
    let ours =
        std::fs::read_to_string(paths.libtorch.join("build-version")).context("libtorch's build-version")?;
    let peers = String::from_utf8_lossy(&output.stdout);
    Ok(format!("{}; libtorch {} for sluice; peers: Python {}", flags.join(" "), ours.trim(), peers.trim()))
}
