//! How a request was assigned and what became of it (C1, C2).

use serde::{Deserialize, Serialize};

/// How the arm of a request was drawn. Only `Split` requests (and shadow pairs) are evidence (C1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assignment {
    /// By the slot ranges: at random or by the sticky hash.
    Split,
    /// By a rule of the route, ahead of the slots.
    Match,
    /// By the request itself, which named its revision ([`crate::header::TARGET`]).
    Target,
    /// By a break-glass pin (R8).
    Pin,
    /// A copy of a request that another revision answered.
    Shadow,
}

impl Assignment {
    /// All values, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Split, Self::Match, Self::Target, Self::Pin, Self::Shadow];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Match => "match",
            Self::Target => "target",
            Self::Pin => "pin",
            Self::Shadow => "shadow",
        }
    }

    /// Reads [`Assignment::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

/// What became of a request, counted once, at completion, for the revision it was drawn for (C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered with a success status.
    Ok,
    /// 4xx about the input.
    Rejected,
    /// 429 or 503: no capacity.
    Overload,
    /// Any other 5xx, or an answer that broke off.
    Error,
    /// No answer within the request timeout.
    Timeout,
    /// No connection, and the retry (R6) failed too.
    Connect,
    /// The client went away, or 408.
    Cancelled,
    /// Served by stable, because the revision drawn had no ready endpoint.
    Fallback,
    /// As `Fallback`, while the only endpoints of the revision are terminating: counted apart, it holds the
    /// stage and is no error (C2).
    Drained,
}

impl Outcome {
    /// All values, in the order in which they are written.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Rejected,
        Self::Overload,
        Self::Error,
        Self::Timeout,
        Self::Connect,
        Self::Cancelled,
        Self::Fallback,
        Self::Drained,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Overload => "overload",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Cancelled => "cancelled",
            Self::Fallback => "fallback",
            Self::Drained => "drained",
        }
    }

    /// Reads [`Outcome::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == text)
    }

    /// Position in [`Outcome::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the error rate counts it as an event (C2).
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Overload | Self::Error | Self::Timeout | Self::Connect | Self::Fallback)
    }

    /// Whether the error rate counts it as a trial: all but the requests whose client left and those that
    /// were drained.
    #[must_use]
    pub const fn is_trial(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Drained)
    }

    /// The outcome that a status code of an upstream answer means. Only 2xx is a success: a redirect or an
    /// upgrade is no prediction, and 499 is not for a server to say.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            408 => Self::Cancelled,
            429 | 503 => Self::Overload,
            504 => Self::Timeout,
            400..=499 => Self::Rejected,
            _ => Self::Error,
        }
    }
}
