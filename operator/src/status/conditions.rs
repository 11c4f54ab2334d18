//! Conditions: one question each, with the answer's reason.

use evidence::Verdict;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use rollout::{Kind, Outcome, Pause, Phase, waiting};

use super::{Picture, judged, ready_routers, strategy_edited};
use crate::judge::digests;
use crate::judge::unfetched;
use crate::write::WriteError;

/// Type of the condition that says what is going on and what it waits for.
pub(super) const PROGRESSING: &str = "Progressing";
/// Reason: the spec cannot be carried out.
pub(super) const INVALID_SPEC: &str = "InvalidSpec";
/// Reason: the API server was asked whether the spec can be carried out.
pub(super) const BEING_CHECKED: &str = "BeingChecked";
/// Reason: the pin on the route names no revision of the table (R8).
pub(super) const PIN_IGNORED: &str = "PinIgnored";
/// Reason: an object of another owner has the name of one that must be made.
pub(super) const NAME_TAKEN: &str = "NameTaken";
/// Reason: an object of an earlier ModelDeployment of this name has not gone yet. That passes, so it is no
/// [`TROUBLES`].
pub(super) const NAME_LEAVING: &str = "NameLeaving";
/// Reason: the API server refuses an object as it is.
pub(super) const REFUSED: &str = "Refused";
/// Reason: pods of a revision that has a share loaded another artefact than they should (I5).
pub(super) const DIGEST_MISMATCH: &str = "DigestMismatch";
/// Reasons that people must hear of by an event, once.
pub const TROUBLES: [&str; 5] = [INVALID_SPEC, PIN_IGNORED, NAME_TAKEN, REFUSED, DIGEST_MISMATCH];

/// The reason and message of a write that one object is in the way of.
#[must_use]
pub fn trouble(error: &WriteError) -> Option<(&'static str, String)> {
    match error {
        WriteError::NameTaken { .. } => Some((NAME_TAKEN, error.to_string())),
        WriteError::Leaving { .. } => Some((NAME_LEAVING, error.to_string())),
        WriteError::Refused { .. } => Some((REFUSED, error.to_string())),
        WriteError::NotLeading
        | WriteError::Conflict { .. }
        | WriteError::Slow { .. }
        | WriteError::Api { .. } => None,
    }
}

/// The answer to one question.
struct Answer {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn answer(kind: &'static str, yes: bool, reason: &'static str, message: impl Into<String>) -> Answer {
    Answer { kind, status: if yes { "True" } else { "False" }, reason, message: message.into() }
}

/// All conditions; the time of one changes only with its status.
pub(super) fn all(picture: Picture<'_>, previous: Vec<Condition>) -> Vec<Condition> {
    let mut conditions = previous;
    let answers = [
        ready(picture),
        progressing(picture),
        spec_served(picture),
        rollback_ready(picture),
        paused(picture),
    ];
    let drifting = drifting(picture);
    let generation = picture.seen.deployment.metadata.generation;
    for Answer { kind, status, reason, message } in answers.into_iter().chain(drifting) {
        set(&mut conditions, (kind, status, reason), message, generation, picture.now);
    }
    conditions
}

/// Sets one condition: type, status and reason.
pub fn set(
    conditions: &mut Vec<Condition>,
    (kind, status, reason): (&str, &str, &str),
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) {
    let old = conditions.iter_mut().find(|c| c.type_ == kind);
    let since = old.as_ref().filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    let new = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

fn ready(picture: Picture<'_>) -> Answer {
    let Some(stable) = &picture.plan.state.stable else {
        let (reason, message) = unanswered(picture);
        return answer("Ready", false, reason, message);
    };
    let pods = picture.observed.workloads.get(stable).map_or(0, |p| p.ready);
    match (pods, ready_routers(picture.seen)) {
        (0, _) => {
            let why = unfetched(picture.seen, stable).map_or_else(String::new, |why| format!("; {why}"));
            answer("Ready", false, "NoServer", format!("no pod of {stable} is ready{why}"))
        }
        (_, 0) => answer("Ready", false, "NoRouter", "no router is ready"),
        _ => match mismatch(picture) {
            Some(message) => answer("Ready", false, DIGEST_MISMATCH, message),
            None => answer("Ready", true, "Serving", format!("{stable} answers users")),
        },
    }
}

/// What is said of users while nothing is stable.
fn unanswered(picture: Picture<'_>) -> (&'static str, String) {
    let state = &picture.plan.state;
    if let Phase::Rolling(rolling) = &state.phase
        && rolling.is_alone()
        && rolling.stage().is_some()
    {
        let message = format!(
            "nothing is stable: {} only gets copies, and the routers answer each request with 202",
            rolling.to
        );
        return ("OnlyCopies", message);
    }
    let over = state.last.as_ref().filter(|last| last.from.is_none() && state.phase == Phase::Idle);
    let nothing = match over {
        Some(last) if matches!(last.outcome, Outcome::Reported | Outcome::RolledBack) => {
            format!("no revision is stable yet: {} got copies only, which is over", last.to)
        }
        _ => "no revision is stable yet".to_owned(),
    };
    ("NothingServes", nothing)
}

/// rule: I5. Which revision with a share answers from more than one artefact.
fn mismatch(picture: Picture<'_>) -> Option<String> {
    let Picture { seen, snapshot, observed, .. } = picture;
    let shares = &observed.route.as_ref()?.shares;
    let conflict = |name: &&String| observed.workloads.get(*name).is_some_and(|pods| pods.conflict);
    let revision = shares.iter().filter(|(_, share)| **share > 0).map(|(name, _)| name).find(conflict)?;
    let digests: Vec<String> = digests(seen, snapshot, revision).into_iter().collect();
    Some(format!("pods of {revision} have, or should have, different artefacts: {}", digests.join(", ")))
}

fn progressing(picture: Picture<'_>) -> Answer {
    if let Some(why) = picture.valid.refused() {
        return answer(PROGRESSING, false, INVALID_SPEC, why.to_string());
    }
    if let Some(why) = picture.valid.unchecked() {
        return answer(PROGRESSING, false, BEING_CHECKED, why.to_string());
    }
    if let Some((reason, message)) = picture.trouble {
        return answer(PROGRESSING, false, reason, message);
    }
    let plan = picture.plan;
    let waits = waiting(&picture.valid.wanted, &plan.state, picture.observed, picture.now);
    let mut message = waits.unwrap_or_default();
    let edited = "the edited strategy acts from the next rollout";
    let more = [
        unheard(picture),
        refused(picture),
        without_model(picture, &message),
        strategy_edited(picture).then(|| edited.to_owned()),
    ];
    for said in more.into_iter().flatten() {
        message = if message.is_empty() { said } else { format!("{message}; {said}") };
    }
    match &plan.state.phase {
        Phase::Rolling(r) if r.missed => answer(PROGRESSING, false, "DeadlineExceeded", message),
        Phase::Rolling(r) if r.kind == Kind::Rollback => {
            answer(PROGRESSING, true, "RollingBack", or(message, format!("back to {}", r.to)))
        }
        Phase::Rolling(r) => {
            answer(PROGRESSING, true, "RollingOut", or(message, format!("towards {}", r.to)))
        }
        Phase::Returning(_) => answer(PROGRESSING, true, "RollingBack", message),
        Phase::Watching(w) => {
            let until = picture.valid.wanted.kept_until(w.since);
            let text = format!("{} is kept warm until {until}{}", w.old, noticed(picture));
            answer(PROGRESSING, false, "Watching", or(message, text))
        }
        Phase::Idle => answer(PROGRESSING, false, "Settled", or(message, "nothing is under way")),
    }
}

/// rule: S3. How large a harm can still be noticed. Only with what changes seldom: the reading has all of it.
fn noticed(picture: Picture<'_>) -> String {
    let judged = judged(picture);
    let mut readings = judged.iter().flat_map(|(_, evidence)| &evidence.readings);
    let errors = readings.find(|r| r.metric == evidence::ERRORS && r.verdict == Verdict::Pass);
    match errors.map(|reading| reading.detects) {
        Some(Some(ratio)) => format!("; an error rate {ratio} times as high would be noticed by then"),
        Some(None) => "; no rise of the error rate is foretold to be noticed by then".to_owned(),
        None => String::new(),
    }
}

/// rule: I5. Pods of the candidate that are ready but do not count yet.
fn unheard(picture: Picture<'_>) -> Option<String> {
    let Phase::Rolling(rolling) = &picture.plan.state.phase else { return None };
    let unheard = picture.observed.workloads.get(&rolling.to)?.unheard;
    (unheard > 0).then(|| format!("{unheard} more have not said yet what they loaded"))
}

/// Why the cluster makes no pods of a revision that the rollout goes to: a policy, a quota.
fn refused(picture: Picture<'_>) -> Option<String> {
    let Phase::Rolling(rolling) = &picture.plan.state.phase else { return None };
    rolling.arms().find_map(|arm| {
        let status = picture.seen.workloads.get(arm)?.status.as_ref()?;
        let fails = |c: &&DeploymentCondition| c.type_ == "ReplicaFailure" && c.status == "True";
        let why = status.conditions.iter().flatten().find(fails)?.message.as_deref()?;
        Some(format!("pods of {arm} are not made: {why}"))
    })
}

/// Why a revision that the rollout goes to gets no model, unless it is said already.
fn without_model(picture: Picture<'_>, said: &str) -> Option<String> {
    let Phase::Rolling(rolling) = &picture.plan.state.phase else { return None };
    rolling.arms().find_map(|arm| unfetched(picture.seen, arm)).filter(|why| !said.contains(why))
}

fn or(message: String, otherwise: impl Into<String>) -> String {
    if message.is_empty() { otherwise.into() } else { message }
}

fn spec_served(picture: Picture<'_>) -> Answer {
    const KIND: &str = "SpecServed";
    let state = &picture.plan.state;
    // Not `wanted`: for a refused spec that is what was acted upon last.
    if let Some(why) = picture.valid.refused() {
        return answer(KIND, false, INVALID_SPEC, why.to_string());
    }
    if let Some(why) = picture.valid.unchecked() {
        return answer(KIND, false, BEING_CHECKED, why.to_string());
    }
    let wanted = &picture.valid.wanted.intent();
    if let Some(stable) = state.stable.as_ref().filter(|stable| picture.valid.wanted.names(stable)) {
        return answer(KIND, true, "Served", format!("{stable} is stable"));
    }
    if state.acted.as_ref() != Some(wanted) {
        return answer(KIND, false, "Waiting", format!("no rollout of {wanted} has started"));
    }
    match &state.phase {
        Phase::Rolling(r) if r.kind == Kind::Rollout => {
            return answer(KIND, false, "RollingOut", format!("{wanted} is on its way"));
        }
        Phase::Rolling(_) | Phase::Returning(_) => {
            return answer(KIND, false, "RollingBack", format!("{wanted} is being taken back"));
        }
        Phase::Watching(_) | Phase::Idle => {}
    }
    match &state.last {
        Some(last) if last.outcome == Outcome::Reported => {
            let message = format!("{wanted} was reported on, not promoted: {}", last.reason);
            answer(KIND, false, "Reported", message)
        }
        Some(last) if last.outcome == Outcome::RolledBack || last.kind == Kind::Rollback => {
            let message = format!("{wanted} was taken back and is not tried again: {}", last.reason);
            answer(KIND, false, "RolledBack", message)
        }
        _ => answer(KIND, false, "Waiting", format!("no rollout of {wanted} has started")),
    }
}

/// What a bare `rollback` would do now.
fn rollback_ready(picture: Picture<'_>) -> Answer {
    const KIND: &str = "RollbackReady";
    let state = &picture.plan.state;
    match &state.phase {
        Phase::Rolling(r) if r.kind == Kind::Rollout => {
            return match &r.from {
                Some(from) => answer(KIND, true, "Instant", format!("{from} serves and takes over at once")),
                None if r.is_alone() && r.stage().is_some() => {
                    let message =
                        format!("there is nothing to go back to: abort ends the copies to {}", r.to);
                    answer(KIND, false, "FirstRevision", message)
                }
                None => answer(KIND, false, "FirstRevision", "there is nothing to go back to"),
            };
        }
        Phase::Rolling(_) | Phase::Returning(_) => {
            return answer(KIND, false, "RollingBack", "the newest rollout is being undone already");
        }
        Phase::Watching(_) | Phase::Idle => {}
    }
    let undoable = state.last.as_ref().filter(|last| {
        last.kind == Kind::Rollout
            && last.outcome == Outcome::Promoted
            && state.stable.as_ref() == Some(&last.to)
    });
    let Some(last) = undoable else {
        let message = "the newest rollout is undone; rollback:<revision> goes further back";
        return answer(
            KIND,
            false,
            if state.last.is_some() { "AlreadyUndone" } else { "NothingRolledOut" },
            message,
        );
    };
    let Some(from) = &last.from else {
        return answer(KIND, false, "FirstRevision", "there is nothing to go back to");
    };
    let ready = picture.observed.workloads.get(from).map_or(0, |p| p.ready);
    if ready > 0 {
        answer(KIND, true, "Instant", format!("{from} has ready pods and takes over at once"))
    } else if picture.observed.known.contains(from) {
        answer(KIND, true, "NeedsPods", needs_pods(picture, from))
    } else {
        let mut message = format!("{from} is no longer in the history");
        for why in &picture.seen.unreadable {
            message = format!("{message}; {why}");
        }
        answer(KIND, false, "Impossible", message)
    }
}

/// How many pods a way back has to wait for, and how long that took the last time.
fn needs_pods(picture: Picture<'_>, revision: &str) -> String {
    let pods = picture.valid.wanted.replicas;
    let took = picture
        .plan
        .state
        .took
        .get(revision)
        .map(|took| format!(", which took {} s last time", took.as_secs()));
    format!(
        "{revision} has no ready pods: {pods} are started, and the first that is ready takes over{}",
        took.unwrap_or_default()
    )
}

fn paused(picture: Picture<'_>) -> Answer {
    const KIND: &str = "Paused";
    if let Some(why) = &picture.valid.wanted.paused {
        let reason = match why {
            Pause::Asked => "SpecPaused",
            Pause::Refused(_) => INVALID_SPEC,
            Pause::Unchecked(_) => BEING_CHECKED,
        };
        return answer(KIND, true, reason, why.to_string());
    }
    if let Some(halt) = &picture.plan.state.halt {
        return answer(KIND, true, "Halted", &halt.reason);
    }
    if let Some(pin) = picture.seen.pin() {
        return answer(
            KIND,
            true,
            "Pinned",
            format!("the route is pinned to {pin}; only a person removes it"),
        );
    }
    if let Some(pin) = picture.seen.unknown_pin() {
        let known: Vec<&str> =
            picture.seen.route.iter().flat_map(|r| &r.spec.revisions).map(|r| r.name.as_str()).collect();
        let message = format!("the pin to {pin} is ignored: the table has {}", known.join(", "));
        return answer(KIND, false, PIN_IGNORED, message);
    }
    answer(KIND, false, "NotPaused", "")
}

/// `None` while the new stage has no reading yet: then the last answer stays.
fn drifting(picture: Picture<'_>) -> Option<Answer> {
    const KIND: &str = "Drifting";
    let is_drift = |name: &str| {
        let metric = picture.valid.metrics.iter().find(|m| m.name == name);
        metric.is_some_and(|m| matches!(m.kind, evidence::Kind::Drift { .. }))
    };
    let judged = judged(picture);
    if judged.is_empty() {
        let previous = picture.seen.deployment.status.as_ref().map(|s| s.conditions.as_slice());
        let known = previous.is_some_and(|all| all.iter().any(|c| c.type_ == KIND));
        let soon = picture.plan.sampling.is_some();
        let message = "nothing is judged now".to_owned();
        let unknown = Answer { kind: KIND, status: "Unknown", reason: "NotJudged", message };
        return (!soon || !known).then_some(unknown);
    }
    let mut readings = judged.iter().flat_map(|(_, evidence)| &evidence.readings);
    let failing = readings.find(|r| r.verdict == Verdict::Fail && is_drift(&r.metric));
    Some(match failing {
        Some(reading) => answer(KIND, true, "Drift", &reading.reason),
        None => answer(KIND, false, "NoDrift", "no drift metric is in breach"),
    })
}
