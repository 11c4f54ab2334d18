//! How a stage brings requests to its candidate, and so which counts are evidence (C1).

use serde::{Deserialize, Serialize};
use wire::{Assignment, Key};

use crate::Arms;

/// How requests come to the candidate of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Draw {
    /// Each request is drawn for one of the arms.
    #[default]
    Split,
    /// It gets copies of requests that stable answers. Its own counts are those of the copies, stable's those of the
    /// requests that were drawn for it.
    Shadow,
    /// It gets what a rule of the route or the request itself sends to it, and nothing else (blue/green at weight 0).
    /// Such requests are chosen, not drawn: there is nothing of stable to compare them with.
    Preview,
}

/// The two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Candidate,
    Stable,
}

impl Arms {
    /// Whose evidence these counts are, if anybody's.
    pub(crate) fn side(&self, Key { revision, assignment }: &Key) -> Option<Side> {
        // rule: C1
        let is_the_candidates = match self.draw {
            Draw::Split => *assignment == Assignment::Split,
            Draw::Shadow => *assignment == Assignment::Shadow,
            Draw::Preview => matches!(assignment, Assignment::Match | Assignment::Target),
        };
        if *revision == self.candidate {
            return is_the_candidates.then_some(Side::Candidate);
        }
        let is_stables = self.draw != Draw::Preview && *assignment == Assignment::Split;
        (is_stables && self.stable.as_ref() == Some(revision)).then_some(Side::Stable)
    }
}
