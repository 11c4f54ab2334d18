//! Tells what was done: status and events first, then the answered verb, then the record.

mod events;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{ModelDeployment, ModelRollout, ModelRolloutStatus, Record, VerdictStatus, names};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::Patch;
use kube::runtime::events::{Event, EventType};
use rollout::{Kind, Outcome, Phase, Plan};
use serde_json::json;

use crate::capacity::Room;
use crate::decisions;
use crate::herald::Herald;
use crate::notify::Mail;
use crate::observe::Written;
use crate::retrain::{self, Retrained};
use crate::revision::DIGEST;
use crate::scaling::{self, SCALED_IN, SCALED_OUT, Scaled, Step};
use crate::status::{self, Picture};
use crate::write::{Pen, WriteError};
use events::{event, troubles, warning};

/// Decisions that a record keeps.
const RECORDS: usize = 100;
/// Verdicts that a record keeps, beside the one about the record itself.
const VERDICTS: usize = 127;
/// Bytes of a text for people, at most.
pub(crate) const TEXT: usize = 1024;
/// Bytes of the evidence state, at most (C6).
const EVIDENCE: usize = 32 * 1024;
/// How long a process that has just begun may leave a status as it found it: longer than it takes to ask the pods of a
/// thousand deployments once.
const FIRST_LOOK: Duration = Duration::from_secs(20);
/// Intervals between two writes of a status in which nothing but the number of requests is new.
const COUNTS: u32 = 4;
/// Time between two writes of the evidence while a promoted revision is watched.
const WATCHING: Duration = Duration::from_secs(180);

/// One plan that was carried out.
pub struct Report<'a> {
    /// What it was decided from.
    pub picture: Picture<'a>,
    /// Where writes are remembered.
    pub written: &'a Written,
    /// The connection.
    pub pen: Pen<'a>,
    /// Publishes events.
    pub herald: &'a Herald,
    /// Tells the receivers of notifications.
    pub mail: Mail<'a>,
    /// What became of the triggers of a retraining.
    pub retrained: &'a Retrained,
    /// How many model servers there are to be; absent where the spec says it.
    pub scaled: Option<&'a Scaled>,
    /// Whether what is planned fits.
    pub room: &'a Room,
    /// When the evidence was written last.
    pub evidence_written: Option<Instant>,
    /// When the status was written last.
    pub status_written: Option<Instant>,
    /// When this process first looked at the deployment.
    pub since: Instant,
    /// Whether every router has let go of what is taken back since this was decided: who is on call waits to hear it.
    pub overtaken: &'a (dyn Fn() -> bool + Sync),
}

/// What a report did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reported {
    /// The evidence state was written.
    pub evidence: bool,
    /// The status was written.
    pub status: bool,
    /// The status was left as it is until the pods are asked: it is to be looked at again soon.
    pub withheld: bool,
    /// What comes after the status is left to the next reconcile, which has more urgent news.
    pub overtaken: bool,
}

impl Report<'_> {
    /// Writes what changed, and nothing else.
    ///
    /// # Errors
    /// The first write that is not made. What comes after it is made by a later reconcile, the record of these
    /// very decisions too: the status holds them.
    pub async fn report(&self) -> Result<Reported, WriteError> {
        let withheld = self.knows_less();
        let written = if withheld { None } else { self.status().await? };
        let status = written.is_some();
        let deployment = written.unwrap_or_else(|| self.picture.seen.deployment.clone());
        self.events(&deployment);
        let told = Reported { status, withheld, ..Reported::default() };
        let overtaken = Reported { overtaken: true, ..told };
        if (self.overtaken)() {
            return Ok(overtaken);
        }
        self.answer(&deployment).await?;
        if (self.overtaken)() {
            return Ok(overtaken);
        }
        let evidence = self.records().await?;
        self.digests().await?;
        Ok(Reported { evidence, ..told })
    }

    /// Whether the status says more than this process knows: it has just begun, has decided nothing, and has not asked
    /// the API server of an overlay or every pod yet, or read what is judged only once. Else each restart would write
    /// every status twice.
    fn knows_less(&self) -> bool {
        let Picture { seen, snapshot, valid, plan, trouble, .. } = self.picture;
        let Some(told) = &seen.deployment.status else { return false };
        let young = self.since.elapsed();
        let unheard = young < FIRST_LOOK && status::is_unheard(seen, snapshot);
        let unread = young < FIRST_LOOK + 2 * valid.wanted.interval && status::is_unread(self.picture);
        let unchecked = young < FIRST_LOOK && valid.unchecked().is_some();
        (unheard || unread || unchecked)
            && told.observed_generation.is_some()
            && told.observed_generation == seen.deployment.metadata.generation
            && plan.notes.is_empty()
            && plan.state == seen.state
            && trouble.is_none()
    }

    /// Writes the status if it changed, and returns it with its object.
    async fn status(&self) -> Result<Option<Arc<ModelDeployment>>, WriteError> {
        let seen = self.picture.seen;
        let mut status = status::status(self.picture);
        let generation = seen.deployment.metadata.generation;
        scaling::tell(self.scaled, &mut status, generation, self.picture.now);
        self.retrained.tell(&mut status, generation, self.picture.now);
        self.room.tell(&mut status);
        if let Some(before) = &seen.deployment.status
            && (*before == status || status::only_counts_differ(before, &status) && !self.counts_are_due())
        {
            return Ok(None);
        }
        let mut changed = ModelDeployment::clone(&seen.deployment);
        changed.status = Some(status);
        Ok(Some(self.written.deployments.remember(self.pen.status(&changed).await?)))
    }

    /// Removes the verb that was carried out and names it in its place (V2).
    async fn answer(&self, deployment: &ModelDeployment) -> Result<(), WriteError> {
        let Some(verb) = &self.picture.plan.state.verb else { return Ok(()) };
        let asked = deployment.annotations().get(names::ACTION);
        if asked != Some(&verb.text) {
            return Ok(());
        }
        let path = |name: &str| format!("/metadata/annotations/{}", name.replace('/', "~1"));
        let patch = json!([
            {"op": "test", "path": path(names::ACTION), "value": verb.text},
            {"op": "remove", "path": path(names::ACTION)},
            {"op": "add", "path": path(names::ACTION_DONE), "value": verb.id},
        ]);
        let patch = Patch::Json(serde_json::from_value(patch).expect("a JSON patch of this crate"));
        match self.pen.patch::<ModelDeployment>(&deployment.name_any(), &patch).await {
            Ok(changed) => drop(self.written.deployments.remember(changed)),
            // It asks for something else by now: the next reconcile's business.
            Err(WriteError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Brings the ModelRollouts to what is known of them; each is looked at anew, so that what a crash left
    /// out is put right. Returns whether the evidence was written.
    async fn records(&self) -> Result<bool, WriteError> {
        let Picture { seen, plan, .. } = self.picture;
        let mut evidence = false;
        // Not what the API server answered: one with older definitions leaves the field out.
        let held = status::decisions(self.picture);
        for (sequence, stored) in &seen.rollouts {
            let before = stored.status.clone().unwrap_or_default();
            let added: Vec<&Record> = decisions::missing(&held, *sequence, &before.record).collect();
            let mut after = record(before.clone(), &added, *sequence, (plan, self.picture.now));
            self.mail.mark(*sequence, &mut after, added.len());
            let judged = status::judged(self.picture).iter().any(|(_, e)| e.key.sequence == *sequence);
            // Beside the numbers, of which the judge has its own.
            let tells = after != before;
            if judged && (tells || self.evidence_is_due()) {
                self.add_evidence(&mut after);
            }
            if after == before {
                self.mail.tell(stored);
                continue;
            }
            evidence |= after.evidence != before.evidence;
            let mut changed = ModelRollout::clone(stored);
            changed.status = Some(after);
            let stored = self.pen.status(&changed).await?;
            let rollouts = &self.written.rollouts;
            let stored = if tells { rollouts.remember(stored) } else { rollouts.remember_quietly(stored) };
            self.mail.tell(&stored);
        }
        Ok(evidence)
    }

    /// Once per interval inside a stage, since the state changes no more often; rarely while watching.
    fn evidence_is_due(&self) -> bool {
        let watching = matches!(self.picture.plan.state.phase, Phase::Watching(_));
        !watching || self.evidence_written.is_none_or(|at| at.elapsed() >= WATCHING)
    }

    /// The numbers are in the ModelRollout too, of each interval: a write more for them alone would be half of all
    /// writes while many deployments are judged.
    fn counts_are_due(&self) -> bool {
        let pause = COUNTS * self.picture.valid.wanted.interval;
        self.status_written.is_none_or(|at| at.elapsed() >= pause)
    }

    fn add_evidence(&self, after: &mut ModelRolloutStatus) {
        let judged = status::judged(self.picture);
        let before = std::mem::take(&mut after.verdicts);
        let several = judged.len() > 1;
        let all = judged.iter().flat_map(|(name, e)| e.readings.iter().map(move |r| (*name, r)));
        after.verdicts = all.take(VERDICTS).map(|(name, r)| verdict(several.then_some(name), r)).collect();
        let Some(memory) = &self.picture.snapshot.memory else { return };
        let unstored = store(after, memory.write());
        if let Some(verdict) = unstored.filter(|verdict| !before.iter().any(|b| b.name == verdict.name)) {
            let rollout = judged.first().map_or(0, |(_, e)| e.key.sequence);
            tracing::error!(deployment = %self.picture.seen.key, rollout, "{}", verdict.reason);
        }
    }

    /// Records the digest that the first ready pod of a revision reports (I5).
    async fn digests(&self) -> Result<(), WriteError> {
        let Picture { seen, snapshot, .. } = self.picture;
        for (name, revision) in seen.revisions.iter().filter(|(_, r)| r.digest.is_none()) {
            let reported: BTreeSet<&String> =
                snapshot.servers.get(name).iter().flat_map(|s| &s.digests).collect();
            if let [digest] = reported.into_iter().collect::<Vec<_>>()[..] {
                let patch = Patch::Merge(json!({"metadata": {"annotations": {DIGEST: digest}}}));
                self.pen.patch::<ControllerRevision>(&revision.name, &patch).await?;
            }
        }
        Ok(())
    }

    /// Events may be lost; the record is the memory.
    fn events(&self, deployment: &ModelDeployment) {
        let before = self.picture.seen.deployment.status.as_ref();
        let mut trouble = troubles(before, deployment.status.as_ref());
        trouble.extend(self.room.is_news(before).map(|message| warning("DoesNotFit", message)));
        trouble.extend(self.retrained.said.iter().map(|(reason, message)| match *reason {
            retrain::STARTED => Event { type_: EventType::Normal, ..warning(reason, message) },
            _ => warning(reason, message),
        }));
        trouble.extend(self.scaled.and_then(|scaled| {
            let reason = match scaled.step? {
                Step::Out => SCALED_OUT,
                Step::In => SCALED_IN,
            };
            Some(Event { type_: EventType::Normal, ..warning(reason, &scaled.status.reason) })
        }));
        for event in &trouble {
            self.mail.tell_unrecorded(
                &event.reason,
                event.note.as_deref().unwrap_or_default(),
                self.picture.now,
            );
        }
        let notes = self.picture.plan.notes.iter().map(event);
        for event in notes.chain(trouble) {
            self.herald.tell(deployment, event);
        }
    }
}

/// What the record of one rollout is after this plan.
fn record(
    mut status: ModelRolloutStatus,
    added: &[&Record],
    sequence: u64,
    (plan, now): (&Plan, jiff::Timestamp),
) -> ModelRolloutStatus {
    status.record.extend(added.iter().copied().cloned());
    let excess = status.record.len().saturating_sub(RECORDS);
    status.record.drain(..excess);
    if let Some((outcome, reason)) = outcome(sequence, plan)
        && status.outcome != Some(outcome)
        // What was taken back is not less so because a later rollout followed.
        && !(status.outcome.is_some() && outcome == api::Outcome::Superseded)
    {
        status.outcome = Some(outcome);
        status.reason = Some(cut(&reason, TEXT));
        status.ended = Some(MicroTime(now));
    }
    status
}

/// How a rollout ended, if it did: as far as the memory tells.
fn outcome(sequence: u64, plan: &Plan) -> Option<(api::Outcome, String)> {
    let state = &plan.state;
    let spelt = |outcome| match outcome {
        Outcome::Promoted => api::Outcome::Promoted,
        Outcome::RolledBack => api::Outcome::RolledBack,
        Outcome::Superseded => api::Outcome::Superseded,
        Outcome::Reported => api::Outcome::Reported,
    };
    if let Some(last) = state.last.as_ref().filter(|l| l.sequence == sequence) {
        return Some((spelt(last.outcome), last.reason.clone()));
    }
    let undoes = match &state.phase {
        Phase::Rolling(r) if r.kind == Kind::Rollback => r.undo.as_ref(),
        _ => state.last.as_ref().and_then(|last| last.undo.as_ref()),
    };
    if let Some(undo) = undoes.filter(|undo| undo.sequence == sequence) {
        return Some((spelt(undo.outcome), undo.reason.clone()));
    }
    let running = match &state.phase {
        Phase::Rolling(r) => Some(r.sequence),
        Phase::Returning(r) => Some(r.undo.sequence),
        Phase::Watching(_) | Phase::Idle => None,
    };
    let over = sequence < state.sequence && running != Some(sequence);
    over.then(|| (api::Outcome::Superseded, format!("rollout {} followed", state.sequence)))
}

fn verdict(candidate: Option<&str>, reading: &evidence::Reading) -> VerdictStatus {
    VerdictStatus {
        candidate: candidate.map(str::to_owned),
        name: reading.metric.clone(),
        verdict: status::spell(reading.verdict).to_owned(),
        value: reading.value,
        threshold: reading.threshold,
        samples: reading.n,
        p_value: reading.p_value,
        forecast: reading.forecast,
        detects: reading.detects,
        reason: cut(&reading.reason, TEXT),
    }
}

/// Stores the evidence state. If it is too large the one before stays, and people are told among the verdicts,
/// for as long as it is so.
fn store(after: &mut ModelRolloutStatus, text: String) -> Option<&VerdictStatus> {
    let bytes = text.len();
    if bytes <= EVIDENCE {
        after.evidence = Some(text);
        return None;
    }
    let reason = format!(
        "evidence-state: {bytes} bytes, at most {EVIDENCE} can be stored: a restart of the operator would go back to \
         the last state that was; fewer metrics or shorter names of classes make it smaller"
    );
    after.verdicts.push(VerdictStatus {
        candidate: None,
        name: "evidence-state".to_owned(),
        verdict: status::spell(evidence::Verdict::Error).to_owned(),
        value: Some(bytes as f64),
        threshold: Some(EVIDENCE as f64),
        samples: 0,
        p_value: None,
        forecast: None,
        detects: None,
        reason,
    });
    after.verdicts.last()
}

/// At most as long as the API server stores it, at a character's border.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    let end = text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= bytes).last();
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
