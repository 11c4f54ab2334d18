//! On-call verbs (V1, V2).

use super::Turn;
use crate::{Halt, Kind, Outcome, Phase, Reason, Request, Then, Verb, VerbDone};

impl Turn<'_> {
    /// Carries out the verb in the annotation, once. It is the same request while the annotation still
    /// stands and the id of the stored one has not been confirmed (V2).
    pub(super) fn obey_verb(&mut self) {
        let Some(Request { text, done }) = self.observed.request.as_ref() else {
            if let Some(stored) = &mut self.state.verb {
                stored.closed = true;
            }
            return;
        };
        if let Some(stored) = &self.state.verb
            && !stored.closed
            && stored.text == *text
            && done.as_ref() != Some(&stored.id)
        {
            return;
        }
        let outcome = Verb::parse(text).and_then(|verb| self.obey(verb));
        let answer = match outcome {
            Ok(answer) => answer,
            Err(why) => {
                self.note(Reason::ActionRefused, self.state.sequence, format!("{text}: {why}"));
                format!("refused: {why}")
            }
        };
        let id = self.now.as_nanosecond().to_string();
        self.state.verb = Some(VerbDone { id, text: text.clone(), answer, closed: false });
    }

    fn obey(&mut self, verb: Verb) -> Result<String, String> {
        match verb {
            Verb::Rollback => self.rollback(),
            Verb::RollbackTo(revision) => self.rollback_to(revision),
            Verb::Abort => self.abort(),
            Verb::Promote => self.approve(),
            Verb::PromoteFull => self.jump(true),
            Verb::Skip => self.jump(false),
            Verb::Pause => self.pause(),
            Verb::Resume => self.resume(),
            Verb::Retry => self.retry(),
        }
    }

    /// Undoes the newest rollout; a second press never removes a good model (V1).
    fn rollback(&mut self) -> Result<String, String> {
        if let Phase::Rolling(rolling) = &self.state.phase
            && rolling.kind == Kind::Rollout
        {
            return self.abort();
        }
        if !matches!(self.state.phase, Phase::Idle | Phase::Watching(_)) {
            return Err("the newest rollout is being undone already".into());
        }
        let Some(last) = &self.state.last else { return Err("nothing was rolled out yet".into()) };
        let undoable = last.kind == Kind::Rollout && last.outcome == Outcome::Promoted;
        if !undoable || self.state.stable.as_ref() != Some(&last.to) {
            return Err(format!(
                "the newest rollout (number {}, to {}) is already undone; rollback:<revision> goes further back",
                last.sequence, last.to
            ));
        }
        let Some(from) = last.from.clone() else {
            return Err(format!("{} is the first revision: there is nothing to go back to", last.to));
        };
        self.back_to_known(from, "rollback was asked for")
    }

    fn rollback_to(&mut self, revision: String) -> Result<String, String> {
        let rolling = match &self.state.phase {
            Phase::Rolling(rolling) => Some(rolling.clone()),
            _ => None,
        };
        if let Some(rolling) = &rolling
            && rolling.to == revision
        {
            return match rolling.kind {
                Kind::Rollout => Err(format!("{revision} is the candidate; use promote to go on with it")),
                Kind::Rollback => Err(format!("going back to {revision} already")),
            };
        }
        if self.state.stable.as_ref() == Some(&revision) {
            return match rolling {
                Some(rolling) if rolling.kind == Kind::Rollout => self.abort(),
                Some(_) => {
                    self.take_back(Outcome::RolledBack, "rollback to stable was asked for".into());
                    Ok(format!("{revision} stays"))
                }
                None => Err(format!("{revision} is stable already")),
            };
        }
        if self.state.stable.is_none() {
            return Err("nothing is stable yet; change spec.model instead".into());
        }
        self.back_to_known(revision, "rollback to it was asked for")
    }

    fn back_to_known(&mut self, revision: String, reason: &str) -> Result<String, String> {
        if !self.observed.known.contains(&revision) {
            let known: Vec<&str> = self.observed.known.iter().map(String::as_str).collect();
            return Err(format!(
                "revision {revision} is not in the history; known are: {}",
                known.join(", ")
            ));
        }
        let answer = format!("back to {revision}");
        self.go_back(revision, reason.into());
        Ok(answer)
    }

    fn abort(&mut self) -> Result<String, String> {
        match &self.state.phase {
            Phase::Rolling(r) if r.kind == Kind::Rollout => match &r.from {
                Some(stable) => {
                    let answer = format!("back to {stable}");
                    self.take_back(Outcome::RolledBack, "abort was asked for".into());
                    Ok(answer)
                }
                None if self.gets_only_copies(r) => {
                    let answer =
                        format!("{} gets no more copies; nothing is stable, so nobody answers", r.to);
                    self.take_back(Outcome::RolledBack, "abort was asked for".into());
                    Ok(answer)
                }
                None => Err("this is the first deployment: there is no stable revision to go back to".into()),
            },
            Phase::Rolling(_) | Phase::Returning(_) => Err("going back already".into()),
            Phase::Idle | Phase::Watching(_) => {
                Err("no rollout is running; rollback undoes the last one".into())
            }
        }
    }

    /// Approves the present stage and leaves it as soon as it is served, unless a gate fails.
    fn approve(&mut self) -> Result<String, String> {
        let failing = match &self.state.phase {
            Phase::Rolling(rolling) => self.failing_gate(rolling),
            _ => None,
        };
        let Phase::Rolling(rolling) = &mut self.state.phase else {
            return Err("no rollout is running".into());
        };
        if rolling.kind == Kind::Rollback || rolling.stage().is_none() {
            return Err("there is no stage left to approve".into());
        }
        if rolling.since().is_none() {
            return Err(format!("stage {} is not served yet", rolling.index + 1));
        }
        if let Some(why) = failing {
            return Err(format!("a metric fails: {why}"));
        }
        rolling.approved = true;
        let (sequence, stage) = (rolling.sequence, rolling.index + 1);
        self.note(Reason::Approved, sequence, format!("stage {stage} was approved"));
        Ok(match self.halted() {
            Some(why) => format!("stage {stage} approved; it is left once this is over: {why}"),
            None => format!("stage {stage} approved"),
        })
    }

    /// Leaves the present stage out, or all that are left, served or not. What comes next needs its pods, its
    /// routers and its gates as ever.
    fn jump(&mut self, to_the_end: bool) -> Result<String, String> {
        let Phase::Rolling(rolling) = &self.state.phase else { return Err("no rollout is running".into()) };
        if rolling.kind == Kind::Rollback || rolling.stage().is_none() {
            return Err("there is no stage left to leave out".into());
        }
        if let Some(why) = self.failing_gate(rolling) {
            return Err(format!("a metric fails: {why}"));
        }
        if let Some(why) = self.halted() {
            return Err(format!("stands still: {why}"));
        }
        let (sequence, from, of) = (rolling.sequence, rolling.index + 1, rolling.stages.len());
        let mut next = if to_the_end { rolling.at(of) } else { rolling.next() };
        if next.stage().is_none() {
            // Whoever wants to be at the end wants the candidate there, alone.
            next.rivals.clear();
            next.then = Then::Promote;
        }
        let answer = match next.stage() {
            None => format!("{} goes to 100 % without the rest of its {of} stages", next.to),
            Some(_) => format!("stage {from} of {of} is left out"),
        };
        self.note(Reason::Skipped, sequence, answer.clone());
        self.state.phase = Phase::Rolling(next);
        Ok(answer)
    }

    fn pause(&mut self) -> Result<String, String> {
        if self.state.halt.is_some() {
            return Err("paused already".into());
        }
        self.state.halt = Some(Halt { reason: "pause was asked for".into(), sequence: None });
        self.note(Reason::Paused, self.state.sequence, "pause was asked for".into());
        Ok("paused".into())
    }

    fn resume(&mut self) -> Result<String, String> {
        // rule: T4
        if let Some(why) = &self.wanted.paused {
            return Err(why.to_string());
        }
        if self.state.halt.is_none() {
            return Err("not paused".into());
        }
        if let Some(why) = self.pausing() {
            return Err(format!("a metric still asks for the pause: {why}"));
        }
        let halt = self.state.halt.take().expect("looked at above");
        let message = format!("goes on after: {}", halt.reason);
        self.note(Reason::Resumed, self.state.sequence, message);
        Ok("resumed".into())
    }

    /// Tries what the spec asks for again (I2).
    fn retry(&mut self) -> Result<String, String> {
        let wanted = self.wanted.intent();
        if !matches!(self.state.phase, Phase::Idle | Phase::Watching(_)) {
            return Err("a rollout is running".into());
        }
        if self.candidates().is_empty() {
            return Err(format!("{wanted} is stable already"));
        }
        if let Some(why) = self.barred() {
            return Err(format!("no rollout starts: {why}"));
        }
        self.open();
        Ok(format!("rolling out {wanted} again"))
    }
}
