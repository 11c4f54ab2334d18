//! Who is measured, and how each is started: with the configuration in bench/peers, on the core of the proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Serialize, Serializer};

use super::sluice::Sluice;
use super::{LOAD_CORE, PROXY_CORE};
use super::{api_server::ApiServer, model};
use crate::process::{Program, pinned};

/// Ports of the servers: stable's, and the candidate's. The peers' configurations name them.
pub(super) const STABLE: SocketAddr = local(18101);
pub(super) const CANDIDATE: SocketAddr = local(18102);

/// A port of this machine.
pub(super) const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Where the programs are.
#[derive(Debug, Clone, Args)]
pub struct Paths {
    /// The router, built for release.
    #[arg(long)]
    router: PathBuf,
    /// Folder of the minimal proxies, built for release.
    #[arg(long)]
    proxies: PathBuf,
    /// Folder of the peers' configurations, bench/peers.
    #[arg(long)]
    peers: PathBuf,
}

/// A contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// No proxy at all: what clients and servers can do on their core.
    Direct,
    Nginx,
    Haproxy,
    Pingora,
    /// The least that a proxy on hyper does.
    Hyper,
    /// The router, with everything on.
    Sluice,
    /// nginx that copies each request.
    NginxMirror,
}

impl Peer {
    /// Those that split, in the order of their turns.
    pub(super) const SPLITTING: [Self; 6] =
        [Self::Direct, Self::Nginx, Self::Haproxy, Self::Pingora, Self::Hyper, Self::Sluice];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Pingora => "pingora",
            Self::Hyper => "hyper",
            Self::Sluice => "sluice",
            Self::NginxMirror => "nginx-mirror",
        }
    }

    /// Where it listens.
    pub(super) fn address(self) -> SocketAddr {
        match self {
            Self::Direct => STABLE,
            Self::Nginx => local(18201),
            Self::Haproxy => local(18202),
            Self::Pingora => local(18203),
            Self::Hyper => local(18204),
            Self::Sluice => local(18205),
            Self::NginxMirror => local(18207),
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A contestant that runs.
pub(super) struct Contestant {
    pub(super) peer: Peer,
    /// None for [`Peer::Direct`].
    pub(super) program: Option<Program>,
}

impl Paths {
    /// Starts a contestant other than Sluice, with its files in a folder.
    fn command(&self, peer: Peer, folder: &std::path::Path) -> Command {
        let on_core = |program: PathBuf| pinned(PROXY_CORE, &program);
        let nginx = |file: &str| {
            let mut command = on_core("nginx".into());
            command.arg("-p").arg(folder).arg("-c").arg(self.peers.join(file)).args(["-e", "stderr"]);
            command
        };
        match peer {
            Peer::Nginx => nginx("nginx.conf"),
            Peer::NginxMirror => nginx("nginx-mirror.conf"),
            Peer::Haproxy => {
                let mut command = on_core("haproxy".into());
                command.args(["-db", "-f"]).arg(self.peers.join("haproxy.cfg"));
                command
            }
            Peer::Pingora => on_core(self.proxies.join("pingora-proxy")),
            Peer::Hyper => on_core(self.proxies.join("hyper-proxy")),
            Peer::Direct | Peer::Sluice => unreachable!("started elsewhere"),
        }
    }

    /// The script of the load generator.
    pub(super) fn script(&self) -> PathBuf {
        self.peers.join("wrk.lua")
    }

    /// The instructions per request that were committed.
    pub(super) fn instructions(&self) -> PathBuf {
        self.peers.join("instructions.json")
    }

    pub(super) fn router(&self) -> PathBuf {
        self.router.clone()
    }
}

/// Servers, an API server and contestants, all running.
pub(super) struct Stand {
    pub(super) paths: Paths,
    pub(super) folder: tempfile::TempDir,
    pub(super) api: ApiServer,
    /// The servers of stable and candidate, for as long as this is here.
    _servers: Program,
    pub(super) contestants: Vec<Contestant>,
}

impl Stand {
    /// Starts these, Sluice with a tenth for the candidate and nothing copied.
    pub(super) fn start(paths: &Paths, peers: &[Peer]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let _servers = servers(&folder, "servers", &[(STABLE, 0), (CANDIDATE, 1)])?;
        let api = ApiServer::start()?;
        let mut stand = Self { paths: paths.clone(), folder, api, _servers, contestants: vec![] };
        for &peer in peers {
            let program = match peer {
                Peer::Direct => None,
                Peer::Sluice => {
                    Sluice::prepare(&stand.api);
                    Some(Sluice::start(&stand, peer.name(), Sluice::FIRST)?)
                }
                _ => {
                    let command = stand.paths.command(peer, stand.folder.path());
                    Some(
                        Program::start(peer.name(), command, stand.folder.path())?
                            .listening(peer.address())?,
                    )
                }
            };
            stand.contestants.push(Contestant { peer, program });
        }
        Ok(stand)
    }

    /// The program of a contestant.
    pub(super) fn program(&self, peer: Peer) -> Result<&Program> {
        let found = self.contestants.iter().find(|contestant| contestant.peer == peer);
        found
            .and_then(|contestant| contestant.program.as_ref())
            .with_context(|| format!("{} runs", peer.name()))
    }
}

/// Starts servers that are played, each by its address and the index of its version.
pub(super) fn servers(
    folder: &tempfile::TempDir,
    name: &str,
    pods: &[(SocketAddr, usize)],
) -> Result<Program> {
    let mut command = pinned(LOAD_CORE, &std::env::current_exe()?);
    command.arg("model");
    for (address, version) in pods {
        command.arg("--pod").arg(format!("{address}={}", model::VERSIONS[*version]));
    }
    let mut program = Program::start(name, command, folder.path())?;
    for (address, _) in pods {
        program = program.listening(*address)?;
    }
    Ok(program)
}

/// What a server has seen.
pub(super) fn seen(address: SocketAddr) -> Result<model::Seen> {
    let (_, text) = crate::http::page(address, model::SEEN)?;
    serde_json::from_str(&text).with_context(|| format!("{address}{}: {text:?}", model::SEEN))
}
