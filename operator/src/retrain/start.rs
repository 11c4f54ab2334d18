//! Makes the Job of a retraining, and tells of it.

use std::sync::Arc;

use api::{ModelDeploymentStatus, ModelRollout, Outcome, Retraining, RetrainingStatus, RolloutKind, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::timeout;

use super::job::{Job, Next, ROLE, job, next};
use super::{Cause, Effect, Moment, TakenBack, decide};
use crate::resources::Owner;
use crate::status::{self, Picture};
use crate::write::{Pen, REQUEST, WriteError};

/// Condition: whether a trigger would start a Job, as far as is known.
const READY: &str = "RetrainingReady";

/// Reason: a Job was started.
pub const STARTED: &str = "RetrainingStarted";
/// Reason: there was a trigger, too soon after the last Job.
const SKIPPED: &str = "RetrainingSkipped";
/// Reason: the API server does not take the Job.
const REFUSED: &str = "RetrainingRefused";

/// What is said where the installation starts no Jobs.
const FORBIDDEN: &str = "the operator may not list Jobs: the chart's retraining.jobs grants it";

/// What became of the triggers of one deployment.
#[derive(Debug, Clone, Default)]
pub struct Retrained {
    /// What is to be remembered; absent where nothing is to be retrained.
    pub memory: Option<RetrainingStatus>,
    /// Reason and message of what people are told.
    pub said: Option<(&'static str, String)>,
    /// It was not possible now, and is to be tried again.
    pub again: bool,
}

/// Deals with the triggers that are there.
pub async fn retrain(picture: Picture<'_>, client: &Client, pen: &Pen<'_>) -> Retrained {
    let seen = picture.seen;
    let Some(settings) = &seen.deployment.spec.retraining else { return Retrained::default() };
    let stored = seen.deployment.status.as_ref();
    let memory = stored.and_then(|s| s.retraining.clone());
    let conditions = status::status(picture).conditions;
    let (mut after, effect) = decide(Moment {
        settings,
        memory: memory.as_ref(),
        drifting: conditions.iter().find(|c| c.type_ == "Drifting"),
        taken_back: taken_back(seen.rollouts.values().map(Arc::as_ref)),
        sequence: picture.plan.state.sequence,
        now: picture.now,
    });
    let maker = Maker { client, pen, owner: &seen.owner, settings, now: picture.now };
    let said = match effect {
        Effect::Nothing => None,
        Effect::Skipped(why) => Some((SKIPPED, why)),
        Effect::Start(cause) => match maker.start(&cause, after.number).await {
            Ok(Started::Job(number, at)) => {
                (after.number, after.started) = (number, Some(MicroTime(at)));
                let job = format!("{}-retrain-{number}", seen.owner.name);
                Some((STARTED, format!("{job} was started: {}", cause.reason)))
            }
            Ok(Started::TooSoon(why)) => Some((SKIPPED, why)),
            Ok(Started::Refused(why)) => Some((REFUSED, format!("{why}; the next trigger tries again"))),
            Err(error) => {
                tracing::warn!(deployment = %seen.key, %error, "no retraining was started yet");
                return Retrained { memory, said: None, again: true };
            }
        },
    };
    Retrained { memory: Some(after), said, again: false }
}

/// The newest rollout that a metric took back, as the records have it: their reason names the metric.
pub(super) fn taken_back<'a>(
    rollouts: impl DoubleEndedIterator<Item = &'a ModelRollout>,
) -> Option<TakenBack<'a>> {
    rollouts.rev().find_map(|rollout| {
        let status = rollout.status.as_ref()?;
        let reason = status.reason.as_deref()?;
        let by_metric = status.verdicts.iter().any(|verdict| {
            reason.strip_prefix(verdict.name.as_str()).is_some_and(|rest| rest.starts_with(':'))
        });
        let back = rollout.spec.kind == RolloutKind::Rollout && status.outcome == Some(Outcome::RolledBack);
        (back && by_metric).then_some(TakenBack { sequence: rollout.spec.sequence, reason })
    })
}

/// What became of one trigger.
#[derive(Debug, PartialEq)]
pub(super) enum Started {
    Job(u32, Timestamp),
    TooSoon(String),
    Refused(String),
}

/// Makes Jobs of one deployment.
pub(super) struct Maker<'a> {
    pub(super) client: &'a Client,
    pub(super) pen: &'a Pen<'a>,
    pub(super) owner: &'a Owner,
    pub(super) settings: &'a Retraining,
    pub(super) now: Timestamp,
}

impl Maker<'_> {
    /// Makes the Job of a trigger, unless it was made already; `newest` is the number of the last that is remembered.
    pub(super) async fn start(&self, cause: &Cause, newest: u32) -> Result<Started, WriteError> {
        let Some(jobs) = self.jobs().await? else { return Ok(Started::Refused(FORBIDDEN.into())) };
        let number = match next(&jobs, newest, cause, self.settings, self.now) {
            Next::Known(number, at) => return Ok(Started::Job(number, at)),
            Next::TooSoon(why) => return Ok(Started::TooSoon(why)),
            Next::Make(number) => number,
        };
        let wanted = match job(self.owner, number, &self.settings.job_template, cause) {
            Ok(wanted) => wanted,
            Err(why) => return Ok(Started::Refused(why)),
        };
        match self.pen.put(None, wanted, false).await {
            Ok(_) => Ok(Started::Job(number, self.now)),
            Err(error) if error.is_of_one_object() => Ok(Started::Refused(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Its Jobs of now, which nobody watches; `None` where they may not be listed.
    async fn jobs(&self) -> Result<Option<Vec<Job>>, WriteError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &self.owner.namespace);
        let ours = format!("{}={},{}={ROLE}", names::DEPLOYMENT, self.owner.name, names::ROLE);
        let object = || "the list of Jobs".to_owned();
        let listed = timeout(REQUEST, api.list(&ListParams::default().labels(&ours))).await;
        match listed.map_err(|_| WriteError::Slow { object: object() })? {
            Ok(jobs) => Ok(Some(jobs.items.into_iter().filter(|job| self.owner.owns(job)).collect())),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            Err(source) => Err(WriteError::Api { object: object(), source }),
        }
    }
}

impl Retrained {
    /// Puts it into a status.
    pub fn tell(&self, status: &mut ModelDeploymentStatus, generation: Option<i64>, now: Timestamp) {
        status.retraining.clone_from(&self.memory);
        let Some(memory) = &self.memory else {
            status.conditions.retain(|c| c.type_ != READY);
            return;
        };
        let known = status.conditions.iter().any(|c| c.type_ == READY);
        let (is, reason, message) = match &self.said {
            Some((REFUSED, why)) => ("False", REFUSED, why.clone()),
            Some((reason, why)) => ("True", *reason, why.clone()),
            None if known => return,
            None => ("True", "Waiting", format!("{} were started so far", memory.number)),
        };
        status::set(&mut status.conditions, (READY, is, reason), message, generation, now);
    }
}
