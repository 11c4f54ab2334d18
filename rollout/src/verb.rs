//! What the person on call can ask for (V1).

/// A verb of the annotation `sluice.dev/action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Undo the newest rollout.
    Rollback,
    /// Go back to this revision.
    RollbackTo(String),
    /// End the running rollout; stable serves.
    Abort,
    /// Approve the stage and leave it.
    Promote,
    /// Leave all stages, and promote.
    PromoteFull,
    /// Leave the stage out, served or not.
    Skip,
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// Try the spec's revision again.
    Retry,
}

impl Verb {
    /// Reads the annotation.
    ///
    /// # Errors
    /// Says what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().split_once(':') {
            Some(("rollback", revision)) if !revision.trim().is_empty() => {
                Ok(Self::RollbackTo(revision.trim().to_owned()))
            }
            None => match text.trim() {
                "rollback" => Ok(Self::Rollback),
                "abort" => Ok(Self::Abort),
                "promote" => Ok(Self::Promote),
                "promote-full" => Ok(Self::PromoteFull),
                "skip" => Ok(Self::Skip),
                "pause" => Ok(Self::Pause),
                "resume" => Ok(Self::Resume),
                "retry" => Ok(Self::Retry),
                _ => Err(unknown(text)),
            },
            Some(_) => Err(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> String {
    format!(
        "unknown action {text:?}: use rollback, rollback:<revision>, abort, promote, promote-full, skip, pause, resume \
         or retry"
    )
}
