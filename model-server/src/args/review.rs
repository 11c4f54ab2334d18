//! The flags of `review`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model_server::review::{Address, Doors, Options, Router};
use sources::Uri;

use super::at_least_one;
use super::serve::{any, duration};

#[derive(Debug, Args)]
pub(crate) struct Review {
    /// The folder that `serve --review` writes into: s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH.
    /// Credentials as with `fetch`; an endpoint that is http:// needs AWS_ALLOW_HTTP=true (AZURE_…, GOOGLE_…).
    #[arg(long, env = "SLUICE_REVIEW")]
    review: Uri,
    /// File with the token of reviewers, 16 characters or more. Read again for each request.
    #[arg(long, env = "SLUICE_TOKEN_FILE")]
    token_file: PathBuf,
    /// Feedback port of the router, such as http://digits:8081, which is told of labels.
    #[arg(long, env = "SLUICE_FEEDBACK", requires = "feedback_token_file")]
    feedback: Option<Address>,
    /// File with the token of the feedback port. Read again for each label.
    #[arg(long, env = "SLUICE_FEEDBACK_TOKEN_FILE", requires = "feedback")]
    feedback_token_file: Option<PathBuf>,
    /// Router or model server that shows where the model looks (POST /explain), such as http://digits.
    #[arg(long, env = "SLUICE_EXPLAIN")]
    explain: Option<Address>,
    /// Remove items, images and labels that are older, such as 720h; 0s: never.
    #[arg(long, env = "SLUICE_KEEP", default_value = "0s", value_parser = keep)]
    keep: Duration,
    /// Address for reviewers.
    #[arg(long, env = "SLUICE_LISTEN", default_value_t = any(wire::endpoint::SERVER_PORT))]
    listen: SocketAddr,
    /// Address of the admin port: /livez, /readyz, /metrics.
    #[arg(long, env = "SLUICE_ADMIN", default_value_t = any(wire::endpoint::ADMIN_PORT))]
    admin: SocketAddr,
    /// Longest time from SIGTERM to the end, such as 20s.
    #[arg(long, env = "SLUICE_DRAIN", default_value = "31s", value_parser = duration)]
    drain: Duration,
    /// Open connections.
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", default_value_t = 256, value_parser = at_least_one)]
    max_connections: usize,
}

impl Review {
    /// What the process is started with.
    pub(crate) fn options(self) -> Options {
        let router = self.feedback.zip(self.feedback_token_file);
        Options {
            folder: self.review,
            variables: super::variables(),
            doors: Doors { token: self.token_file, explain: self.explain },
            router: router.map(|(address, token)| Router { address, token }),
            keep: (!self.keep.is_zero()).then_some(self.keep),
            listen: self.listen,
            admin: self.admin,
            drain: self.drain,
            max_connections: self.max_connections,
        }
    }
}

/// A slip must not remove what came today.
fn keep(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    let hour = Duration::from_secs(3600);
    let range = hour..=hour * 24 * 365 * 100;
    read.filter(|d| d.is_zero() || range.contains(d))
        .ok_or_else(|| "0s (never), or 1h or more is meant, such as 720h".to_owned())
}
