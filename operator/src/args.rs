//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::validate::check_interval;

/// Rolls out image-classification models on Kubernetes and takes a bad one back by itself.
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
pub struct Cli {
    /// What to do; `run` when absent.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch ModelDeployments and carry them out.
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML.
    Crd(CrdArgs),
    /// Print the reference of all fields as Markdown.
    Reference,
    /// Remove the routers' ClusterRole if no ModelDeployment is left; the chart calls it on uninstall.
    ReleaseRouters,
}

/// Settings of `operator crd`.
#[derive(Debug, Args)]
pub struct CrdArgs {
    /// Write one file per definition into this folder instead.
    #[arg(long, conflicts_with = "chart")]
    pub dir: Option<PathBuf>,
    /// Print them as a template of the chart instead.
    #[arg(long)]
    pub chart: bool,
}

/// Settings of `operator run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Image of the routers.
    #[arg(long, env = "SLUICE_ROUTER_IMAGE")]
    pub router_image: String,
    /// Image of the model servers, where a ModelDeployment names none.
    #[arg(long, env = "SLUICE_SERVER_IMAGE")]
    pub server_image: String,
    /// When nodes fetch these images; absent: as the cluster decides.
    #[arg(long, env = "SLUICE_PULL_POLICY")]
    pub pull_policy: Option<PullPolicy>,
    /// Name of a Secret to fetch images with, in the namespace of each ModelDeployment; may be repeated.
    #[arg(long = "pull-secret", env = "SLUICE_PULL_SECRETS", value_delimiter = ',')]
    pub pull_secrets: Vec<String>,
    /// Watch this namespace only; absent: all.
    #[arg(long, env = "SLUICE_WATCH_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the Lease by which replicas agree on one writer.
    #[arg(long, env = "SLUICE_LEASE_NAME", default_value = "sluice-operator")]
    pub lease_name: String,
    /// Namespace of the Lease; absent: that of this pod.
    #[arg(long, env = "SLUICE_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Name of this replica in the Lease and in events; absent: the host name with a random end.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "SLUICE_ADMIN", default_value = "0.0.0.0:9091")]
    pub admin: SocketAddr,
    /// Time between two readings of the routers, where a ModelDeployment names none: 1s to 1h.
    #[arg(long, env = "SLUICE_INTERVAL", default_value = "15s", value_parser = interval)]
    pub interval: api::Duration,
    /// Whether a ModelDeployment may change the pods of its model servers (`spec.server.template`).
    #[arg(long, env = "SLUICE_POD_OVERLAYS", default_value_t = true, action = ArgAction::Set)]
    pub pod_overlays: bool,
    /// Deployments that are reconciled at the same time.
    #[arg(long, env = "SLUICE_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
}

/// When a node fetches an image, spelt as in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, strum::Display)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When it has none of that name.
    IfNotPresent,
    /// Never: it has it.
    Never,
}

/// Reads an interval within the same limits as that of a spec.
fn interval(text: &str) -> Result<api::Duration, String> {
    let read: api::Duration = text.parse()?;
    check_interval("--interval", read.get()).map_err(|error| error.to_string())?;
    Ok(read)
}

impl Cli {
    /// Reads the command line of the process; without a subcommand it means `run`.
    #[must_use]
    pub fn read() -> Self {
        Self::parse_from(with_default(std::env::args_os().collect()))
    }
}

fn with_default(mut words: Vec<OsString>) -> Vec<OsString> {
    const OF_THE_PROGRAM: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let first = words.get(1).map(|w| w.to_string_lossy().into_owned());
    let is_flag_of_run = first.is_none_or(|w| w.starts_with('-') && !OF_THE_PROGRAM.contains(&w.as_str()));
    if is_flag_of_run {
        words.insert(1.min(words.len()), "run".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_the_default() {
        let words = |line: &str| with_default(line.split(' ').map(OsString::from).collect());
        let cli = Cli::parse_from(words("operator --router-image r --server-image s"));
        let Command::Run(run) = cli.command else { panic!("{cli:?}") };
        assert_eq!((run.router_image.as_str(), run.interval.get().as_secs()), ("r", 15));
        let more = "operator --router-image r --server-image s --pull-policy IfNotPresent --pull-secret a --pull-secret b";
        let Command::Run(run) = Cli::parse_from(words(more)).command else { panic!("{more}") };
        assert_eq!(run.pull_policy.unwrap().to_string(), "IfNotPresent");
        assert_eq!(run.pull_secrets, ["a", "b"]);
        assert!(run.pod_overlays);
        let without = "operator --router-image r --server-image s --pod-overlays=false";
        let Command::Run(run) = Cli::parse_from(words(without)).command else { panic!("{without}") };
        assert!(!run.pod_overlays);
        let never = "operator --router-image r --server-image s --interval 2h";
        let refused = Cli::try_parse_from(words(never)).unwrap_err().to_string();
        assert!(refused.contains("--interval: found 7200s, must be within 1s and 1h"), "{refused}");
        assert!(matches!(Cli::parse_from(words("operator crd")).command, Command::Crd(_)));
        assert!(Cli::try_parse_from(words("operator --help")).unwrap_err().to_string().contains("Usage"));
    }
}
