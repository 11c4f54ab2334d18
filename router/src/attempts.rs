//! How often a request is tried, and where (R5, R6). Pure: it knows failures, not connections.

/// What became of one attempt that brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Provably not sent: no connection, or none of its bytes left.
    Unsent,
    /// The connection broke before any byte of the answer.
    Broken,
    /// It broke within the answer's head, or what came is no answer.
    Garbled,
}

/// What is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another endpoint of the same revision; without one, a new connection to the same endpoint.
    Again,
    /// Stable.
    Stable,
    /// Nothing: the client gets an error.
    GiveUp,
}

/// Attempts at a revision before stable takes over.
const AT_REVISION: u8 = 2;
/// Attempts at stable: there is nobody behind it.
const AT_STABLE: u8 = 3;

/// The attempts of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    /// Whether it may be sent a second time: the body is at hand and the table's `retry` is on.
    replay: bool,
    replayed: bool,
    at_stable: bool,
    here: u8,
}

impl Attempts {
    pub(crate) fn new(replay: bool, at_stable: bool) -> Self {
        Self { replay, replayed: false, at_stable, here: 0 }
    }

    pub(crate) fn at_stable(self) -> bool {
        self.at_stable
    }

    /// After a failed attempt.
    pub(crate) fn after(&mut self, failure: Failure) -> Next {
        match failure {
            Failure::Unsent => {}
            // Once only: a request that breaks two servers is not given a third.
            Failure::Broken if self.replay && !self.replayed => self.replayed = true,
            Failure::Broken | Failure::Garbled => return Next::GiveUp,
        }
        self.here += 1;
        let limit = if self.at_stable { AT_STABLE } else { AT_REVISION };
        if self.here < limit { Next::Again } else { self.exhausted() }
    }

    /// After finding no endpoint to try.
    pub(crate) fn exhausted(&mut self) -> Next {
        if self.at_stable {
            return Next::GiveUp;
        }
        self.at_stable = true;
        self.here = 0;
        Next::Stable
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(replay: bool, at_stable: bool, failures: &[Failure]) -> Vec<Next> {
        let mut attempts = Attempts::new(replay, at_stable);
        failures.iter().map(|f| attempts.after(*f)).collect()
    }

    // rule: R6
    #[test]
    fn what_may_have_been_received_is_sent_again_once() {
        use Failure::{Broken, Garbled, Unsent};
        use Next::{Again, GiveUp, Stable};
        assert_eq!(run(true, false, &[Broken, Broken]), [Again, GiveUp]);
        assert_eq!(run(false, false, &[Broken]), [GiveUp]);
        assert_eq!(run(true, false, &[Garbled]), [GiveUp]);
        assert_eq!(run(false, false, &[Unsent, Unsent, Unsent]), [Again, Stable, Again]);
        assert_eq!(run(true, false, &[Broken, Unsent, Unsent, Broken]), [Again, Stable, Again, GiveUp]);
        assert_eq!(run(true, true, &[Unsent, Unsent, Unsent]), [Again, Again, GiveUp]);
    }

    proptest! {
        // rule: R6
        #[test]
        fn it_ends_and_is_received_at_most_twice(
            failures in proptest::collection::vec(prop_oneof![Just(Failure::Unsent), Just(Failure::Broken)], 8),
            replay in any::<bool>(),
            at_stable in any::<bool>(),
        ) {
            let steps = run(replay, at_stable, &failures);
            let ended = steps.iter().position(|s| *s == Next::GiveUp);
            prop_assert!(ended.is_some_and(|i| i < 5), "{steps:?}");
            let tried = &failures[..=ended.unwrap()];
            let received = tried.iter().filter(|f| **f == Failure::Broken).count();
            prop_assert!(received <= 1 + usize::from(replay));
        }
    }
}
