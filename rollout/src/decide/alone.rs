//! A first deployment under `strategy.shadow`: a model beside whatever decides today, which may be people (ADR 13).
//!
//! Its stages are those of a shadow; what is special is that nothing is stable. So its copies are of requests that
//! nobody answers here, nobody can be matched or targeted to it, and taking it back leaves nobody behind. From the
//! promotion on, when it has a share, it is a first deployment like any other.

use super::Turn;
use crate::{Outcome, Rolling, Summary};

/// What becomes of one that is taken back.
pub(super) const NO_COPIES: &str = "gets no more copies";

impl Turn<'_> {
    /// Whether a rollout of this revision that begins now gets copies only. One that answers users already, because an
    /// earlier rollout gave it everything and was replaced before it was stable, goes on with that.
    pub(super) fn begins_alone(&self, to: &str) -> bool {
        self.wanted.alone && self.state.stable.is_none() && self.weight_of(to) == 0
    }

    /// Whether it can be taken back without a stable: nobody is answered by it yet. The route decides, which is written
    /// before the state: after a crash the state may not know of the share yet.
    pub(super) fn gets_only_copies(&self, rolling: &Rolling) -> bool {
        rolling.is_alone() && self.weight_of(&rolling.to) == 0
    }

    /// How a deployment is whose rollout is over, while nothing is stable.
    pub(super) fn at_rest_alone(&self) -> Summary {
        let is_over = self.state.acted.as_ref() == Some(&self.wanted.intent());
        match self.state.last.as_ref().filter(|_| is_over).map(|last| last.outcome) {
            // What was asked for was a report, and it is there.
            Some(Outcome::Reported) => Summary::Healthy,
            Some(Outcome::RolledBack) => Summary::RolledBack,
            _ => Summary::Pending,
        }
    }
}
