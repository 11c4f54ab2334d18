//! A real API server for tests: etcd and kube-apiserver on loopback, nothing else of Kubernetes.
//!
//! One per test binary, started by the first test that asks (`hack/apiserver`, about 4 s), gone with the
//! process. Every test gets a namespace of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Client, Config, ResourceExt};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::repository;

/// A running API server.
#[derive(Debug)]
pub struct ApiServer {
    ready: Ready,
    /// Its stdin is the leash: when this process ends, in whatever way, the server does.
    _script: Child,
}

#[derive(Debug, Deserialize)]
struct Ready {
    kubeconfig: String,
    #[serde(flatten)]
    audited: Option<Audited>,
}

/// A user of its own, whose requests the server writes down.
#[derive(Debug, Clone, Deserialize)]
pub struct Audited {
    /// Path of its kubeconfig; it may do everything.
    #[serde(rename = "operator")]
    pub kubeconfig: PathBuf,
    /// Path of the log, a line of JSON (`audit.k8s.io/v1`, level Metadata) per request.
    #[serde(rename = "audit")]
    pub log: PathBuf,
}

static SERVER: LazyLock<Result<ApiServer, String>> =
    LazyLock::new(|| ApiServer::start(&[]).map_err(|error| format!("{error:#}")));
static DEFINITIONS: OnceCell<()> = OnceCell::const_new();

impl ApiServer {
    fn start(arguments: &[&str]) -> Result<Self> {
        let script = repository().join("hack/apiserver");
        let mut child = Command::new(&script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", script.display()))?;
        let stdout = child.stdout.take().context("the pipe was asked for above")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = serde_json::from_str(&line)
            .with_context(|| format!("{} printed {line:?}; its errors are above", script.display()))?;
        Ok(Self { ready, _script: child })
    }

    /// The server of this test binary, with the definitions of `crds/` in place.
    ///
    /// # Errors
    /// When it does not start, or refuses a definition.
    pub async fn shared() -> Result<&'static Self> {
        let server = tokio::task::spawn_blocking(|| SERVER.as_ref()).await?;
        let server = server.map_err(|error| anyhow::anyhow!("{error}"))?;
        DEFINITIONS.get_or_try_init(|| server.define()).await?;
        Ok(server)
    }

    /// A server of its own that writes down what one user asks of it, with the definitions in place.
    ///
    /// # Errors
    /// When it does not start, or refuses a definition.
    pub async fn audited() -> Result<(Self, Audited)> {
        let server = tokio::task::spawn_blocking(|| Self::start(&["--audit"])).await??;
        server.define().await?;
        let audited = server.ready.audited.clone().context("hack/apiserver --audit names no log")?;
        Ok((server, audited))
    }

    /// Path of a kubeconfig for everything.
    #[must_use]
    pub fn kubeconfig(&self) -> &str {
        &self.ready.kubeconfig
    }

    /// A client that belongs to the present runtime.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.ready.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// A fresh namespace whose name begins with `name`.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn namespace(&self, client: &Client, name: &str) -> Result<String> {
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some(format!("{name}-"));
        let made = Api::<Namespace>::all(client.clone()).create(&Default::default(), &namespace).await?;
        Ok(made.name_any())
    }

    async fn define(&self) -> Result<()> {
        let client = self.client().await?;
        let api = Api::<CustomResourceDefinition>::all(client);
        for definition in definitions()? {
            let name = definition.name_any();
            let apply = PatchParams::apply("e2e").force();
            api.patch(&name, &apply, &Patch::Apply(&definition)).await.with_context(|| name.clone())?;
            await_condition(api.clone(), &name, is_crd_established()).await?;
        }
        Ok(())
    }
}

/// The definitions as they are committed in `crds/`.
///
/// # Errors
/// When one cannot be read.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>> {
    let folder = repository().join("crds");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            all.push(serde_yaml::from_str(&text).with_context(|| path.display().to_string())?);
        }
    }
    anyhow::ensure!(!all.is_empty(), "no definition in {}", folder.display());
    Ok(all)
}
