//! Reads one page of one pod, within limits: 1 MiB, 2 s in all, no redirects.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use wire::endpoint::{EVIDENCE, PAGE_LIMIT, PROFILE, ROUTE};
use wire::{Page, Profile, RouteReport};

use super::metrics::Metrics;

/// Longest time for a page, from the connection to its last byte.
const WHOLE: Duration = Duration::from_secs(2);
/// Longest time for the connection: pods are near.
const CONNECT: Duration = Duration::from_millis(500);
/// Connections that are not used for this long are closed: pods' addresses are given to others. Longer than the pause
/// between two questions to a router that is behind.
const KEEP: Duration = Duration::from_secs(2);

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Route,
    Evidence,
    Profile,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Evidence => "evidence",
            Self::Profile => "profile",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Route => ROUTE,
            Self::Evidence => EVIDENCE,
            Self::Profile => PROFILE,
        }
    }
}

/// Why a page cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("{}", spell(.0))]
    Read(#[from] reqwest::Error),
    #[error("status {0}")]
    Status(u16),
    #[error("the page is longer than {PAGE_LIMIT} bytes")]
    TooLong,
    #[error("the page cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the page cannot be read: {0}")]
    Text(#[from] wire::PageError),
    #[error("the page is not UTF-8")]
    Encoding,
}

impl PageError {
    /// Whether the pod answered that it has no such page: any image can be judged, with or without a profile.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Status(404))
    }
}

/// The clients of pods' pages.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    /// Of what is asked again and again.
    asking: reqwest::Client,
    /// Of what is read now and then, with a connection each time: one that waits for the next interval would hold a
    /// buffer of the size of its largest page.
    reading: reqwest::Client,
    metrics: Metrics,
}

impl Pages {
    pub(super) fn new(metrics: Metrics) -> reqwest::Result<Self> {
        let client = |idle| {
            reqwest::Client::builder()
                .redirect(Policy::none())
                .no_proxy()
                .timeout(WHOLE)
                .connect_timeout(CONNECT)
                .pool_idle_timeout(KEEP)
                .pool_max_idle_per_host(idle)
                .build()
        };
        Ok(Self { asking: client(1)?, reading: client(0)?, metrics })
    }

    pub(super) async fn route(&self, address: SocketAddr) -> Result<RouteReport, PageError> {
        Ok(serde_json::from_slice(&self.read(address, Kind::Route).await?)?)
    }

    pub(super) async fn profile(&self, address: SocketAddr) -> Result<Profile, PageError> {
        Ok(serde_json::from_slice(&self.read(address, Kind::Profile).await?)?)
    }

    pub(super) async fn evidence(&self, address: SocketAddr) -> Result<Page, PageError> {
        let body = self.read(address, Kind::Evidence).await?;
        let text = std::str::from_utf8(&body).map_err(|_| PageError::Encoding)?;
        Ok(Page::parse(text)?)
    }

    async fn read(&self, address: SocketAddr, kind: Kind) -> Result<Vec<u8>, PageError> {
        let body = self.body(address, kind).await;
        self.metrics.read(kind, body.is_ok());
        body
    }

    async fn body(&self, address: SocketAddr, kind: Kind) -> Result<Vec<u8>, PageError> {
        let client = if kind == Kind::Route { &self.asking } else { &self.reading };
        let mut answer = client.get(format!("http://{address}{}", kind.path())).send().await?;
        if answer.status().as_u16() != 200 {
            return Err(PageError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > PAGE_LIMIT {
                return Err(PageError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// One short phrase: reqwest's own text repeats the URL and hides the cause.
fn spell(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "does not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_connect() { format!("no connection: {cause}") } else { cause.to_string() }
}
