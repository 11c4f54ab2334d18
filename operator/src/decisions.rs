//! Decisions on their way from the status, which is decided from, to the record, which keeps them. Pure.
//!
//! The status is written first. A process that dies before it has written the record leaves its decisions in the
//! status, and whoever follows records them: a decision that was acted upon is never without its reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Decision, ModelRollout, Record};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use rollout::{Phase, Plan};

use crate::report::{TEXT, cut};

/// Decisions that the status holds at most.
const HELD: usize = 32;

/// What the status is to hold: what it held, as long as nothing new is decided; else what is in no record yet, and
/// the new decisions after it.
#[must_use]
pub fn held(
    before: &[Decision],
    rollouts: &BTreeMap<u64, Arc<ModelRollout>>,
    plan: &Plan,
    now: Timestamp,
) -> Vec<Decision> {
    if plan.notes.is_empty() {
        return before.to_vec();
    }
    let late = |decision: &&Decision| {
        rollouts.get(&decision.rollout).is_some_and(|rollout| !is_in(decision, record_of(rollout)))
    };
    let mut held: Vec<Decision> = before.iter().filter(late).cloned().collect();
    held.extend(plan.notes.iter().map(|note| Decision {
        rollout: note.sequence,
        record: Record {
            time: MicroTime(now),
            reason: note.reason.to_string(),
            message: cut(&note.message, TEXT),
            weight: weight(plan),
        },
    }));
    held.drain(..held.len().saturating_sub(HELD));
    held
}

/// The held decisions of a rollout that its record lacks, in order.
pub fn missing<'a>(
    held: &'a [Decision],
    sequence: u64,
    record: &'a [Record],
) -> impl Iterator<Item = &'a Record> {
    held.iter().filter(move |d| d.rollout == sequence && !is_in(d, record)).map(|decision| &decision.record)
}

fn is_in(decision: &Decision, record: &[Record]) -> bool {
    record.contains(&decision.record)
}

fn record_of(rollout: &ModelRollout) -> &[Record] {
    rollout.status.as_ref().map_or(&[], |status| &status.record)
}

/// Percent of the revision that is on its way.
fn weight(plan: &Plan) -> u8 {
    let revision = match &plan.state.phase {
        Phase::Rolling(r) => Some(&r.to),
        Phase::Returning(r) => Some(&r.candidate),
        Phase::Watching(_) | Phase::Idle => plan.state.last.as_ref().map(|l| &l.to),
    };
    revision.and_then(|r| plan.route.shares.get(r)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rollout::{Note, Reason};

    use super::*;
    use crate::observe::tests::first_rollout;

    fn plan(notes: &[&str]) -> Plan {
        let note =
            |text: &&str| Note { reason: Reason::StagePassed, message: (*text).to_owned(), sequence: 1 };
        let settled = crate::report::tests::plan(&rollout::State::default());
        Plan { notes: notes.iter().map(note).collect(), ..settled }
    }

    fn rollouts(record: &[Record]) -> BTreeMap<u64, Arc<ModelRollout>> {
        first_rollout(&serde_json::json!({"record": record}))
    }

    #[test]
    fn a_decision_is_held_until_a_later_one_finds_it_recorded() {
        let now = Timestamp::UNIX_EPOCH;
        let first = held(&[], &rollouts(&[]), &plan(&["a"]), now);
        assert_eq!(held(&first, &rollouts(&[]), &plan(&[]), now), first, "nothing is written for it");
        let both = held(&first, &rollouts(&[]), &plan(&["b"]), now);
        assert_eq!(missing(&both, 1, &[]).map(|r| r.message.as_str()).collect::<Vec<_>>(), ["a", "b"]);

        let recorded = [first[0].record.clone()];
        assert_eq!(missing(&both, 1, &recorded).count(), 1, "nothing is recorded twice");
        let later = held(&first, &rollouts(&recorded), &plan(&["b"]), now);
        assert_eq!(later.len(), 1);
        assert_eq!(missing(&both, 2, &[]).count(), 0, "it belongs to another rollout");
    }
}
