//! One reconcile: observe, validate, judge, decide, act, report.

mod errors;
mod queue;
mod turns;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::ModelDeployment;
use jiff::Timestamp;
use kube::Client;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use rollout::{Pause, Plan, decide};
use wire::RouteState;

pub use errors::Error;
pub use queue::run;

use crate::act::Act;
use crate::capacity::{self, Reader};
use crate::herald::Herald;
use crate::index::Key;
use crate::judge::{is_served, judge, order};
use crate::leader::Acting;
use crate::metrics::Metrics;
use crate::notify::{Courier, Mail};
use crate::observe::{Seen, Written, observe};
use crate::rehearsal::{self, Answer, Rehearsal};
use crate::report::{Report, TEXT, cut};
use crate::resources::{Images, Owner};
use crate::retrain::retrain;
use crate::revision::{self, Resolved};
use crate::sampler::Samplers;
use crate::scaling::{self, Scaled};
use crate::status::{self, Picture};
use crate::validate::{Defaults, Valid, validate};
use crate::world::{Guarded, World, key_of};
use crate::write::{Pen, WriteError};

/// What every reconcile works with.
pub struct Context {
    /// Connection of most writes.
    pub client: Client,
    /// Connection of the route alone, so that nothing is queued before it (R5).
    pub lane: Client,
    /// The stores.
    pub world: World,
    /// Our last writes.
    pub written: Written,
    /// Readers of the pods' pages.
    pub samplers: Samplers,
    /// Whether this replica may write.
    pub acting: Acting,
    /// Publishes events.
    pub herald: Herald,
    /// Delivers notifications.
    pub courier: Courier,
    /// Says whether what is planned fits.
    pub capacity: Reader,
    /// Says whether the API server takes pod overlays.
    pub rehearsal: Rehearsal,
    /// Counters.
    pub metrics: Metrics,
    /// Images of the installation.
    pub images: Images,
    /// Defaults of the installation.
    pub defaults: Defaults,
    /// Per deployment, what only this process remembers.
    pub notes: Notes,
}

/// Pause before a retraining is tried again that could not be started.
const AGAIN: Duration = Duration::from_secs(30);
/// Pause before a status is written that was withheld until the pods are asked.
const SOON: Duration = Duration::from_secs(1);

/// What only this process remembers of a deployment; lost without harm.
#[derive(Debug, Default)]
pub struct Notes(Mutex<HashMap<Key, Note>>);

#[derive(Debug, Clone, Copy, Default)]
struct Note {
    /// Failures in a row.
    failures: u32,
    /// When the evidence was written last.
    evidence: Option<Instant>,
    /// When the status was written last.
    status: Option<Instant>,
    /// When it was first looked at.
    since: Option<Instant>,
}

impl Notes {
    fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Note) -> T) -> T {
        change(self.all().entry(key.clone()).or_default())
    }

    fn forget(&self, key: &Key) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings one deployment a step further.
///
/// # Errors
/// One per stage, see [`Error`]; [`Error::policy`] says what follows.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    if !context.acting.now() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    let deployment = object.0.as_ref().map_err(|bad| Error::Unreadable(bad.error.clone()))?;
    let key = key_of(&object);
    if deployment.metadata.deletion_timestamp.is_some() {
        // Everything is owned by it: the API server's garbage collector does the rest.
        context.gone(&key);
        return Ok(Action::await_change());
    }
    let done = context.reconcile(&key, deployment).await;
    if let Err(Error::Act(WriteError::Conflict { .. }) | Error::Report(WriteError::Conflict { .. })) = &done
        && let Some(owner) = Owner::of(deployment)
        && let Err(error) = context.refresh(&owner).await
    {
        tracing::debug!(%error, "not read anew after a conflict");
    }
    context.metrics.reconciles.inc();
    context.metrics.seconds.observe(started.elapsed().as_secs_f64());
    done
}

impl Context {
    async fn reconcile(&self, key: &Key, stored: &ModelDeployment) -> Result<Action, Error> {
        let now = now();
        let mut seen = observe(&self.world, &self.written, key, stored)?;
        let (mut valid, taken) = self.validate(key, &seen);
        let snapshot = self.samplers.snapshot(key);
        let observed = judge(&seen, &snapshot);
        let served = seen.route_state().filter(|_| observed.route.as_ref().is_some_and(|r| r.served));
        let scaled = scaling::scale(&seen, &valid, &observed, &snapshot, now);
        if let Some(scaled) = &scaled {
            valid.wanted.replicas = scaled.status.replicas;
        }
        let plan = decide(&valid.wanted, &seen.state, &observed, now);

        let owner = seen.owner.clone();
        let mut act = self.act(&owner, &mut seen, (&valid, &taken), &plan);
        let acted = act.act().await;
        // The routers are asked from this moment on, also when a later write failed.
        self.samplers.order(key, order(act.seen, &valid, &plan, &snapshot));
        if self.world.deployments.get(&reference(key)).is_none() {
            // It went meanwhile, and its end may have been told before this order.
            self.gone(key);
            return Ok(Action::await_change());
        }
        // A way back must be told, and remembered, although something else is in the way.
        let refused = match &acted {
            Ok(refused) => refused.as_ref().and_then(status::trouble),
            Err(error) => status::trouble(error),
        };
        if refused.is_none()
            && let Err(error) = acted
        {
            return Err(Error::Act(error));
        }
        let trouble = refused.as_ref().map(|(reason, message)| (*reason, message.as_str()));
        let picture = Picture {
            seen: &*act.seen,
            valid: &valid,
            observed: &observed,
            snapshot: &snapshot,
            plan: &plan,
            trouble,
            now,
        };
        let soon = self.report(key, picture, scaled.as_ref(), served.as_ref()).await?;
        let refused = acted.map_err(Error::Act)?;
        act.settle().await.map_err(Error::Act)?;

        self.notes.with(key, |note| note.failures = 0);
        let again = plan.check_again.map(|at| until(at, now)).into_iter().chain(soon).min();
        match refused {
            Some(error) => Err(Error::ButForOne { error, again }),
            None => Ok(again.map_or_else(Action::await_change, Action::requeue)),
        }
    }

    /// What is wanted, and what those revisions resolve to that have a pod overlay and are to be made.
    fn validate(&self, key: &Key, seen: &Seen) -> (Valid, Arc<BTreeMap<String, Resolved>>) {
        let spec = &seen.deployment.spec;
        let name = |asked: &revision::Asked| revision::name(&seen.owner.name, asked, &seen.revisions);
        let mut valid = validate(spec, name, &seen.state, self.defaults);
        let answer = self.rehearsal.look(key, rehearsal::drafts(seen, &valid, &self.images));
        let why = || cut(&answer.to_string(), TEXT);
        match &answer {
            Answer::Taken(taken) => return (valid, taken.clone()),
            Answer::Refused(_) => valid.put_off(Pause::Refused(why()), &seen.state),
            Answer::Waiting(_) => valid.put_off(Pause::Unchecked(why()), &seen.state),
        }
        (valid, Arc::default())
    }

    fn act<'a>(
        &'a self,
        owner: &'a Owner,
        seen: &'a mut Seen,
        (valid, taken): (&'a Valid, &'a BTreeMap<String, Resolved>),
        plan: &'a Plan,
    ) -> Act<'a> {
        Act {
            seen,
            valid,
            taken,
            plan,
            written: &self.written,
            images: &self.images,
            pen: Pen::new(&self.client, &self.acting, owner),
            lane: Pen::new(&self.lane, &self.acting, owner),
        }
    }

    /// Tells what was done; returns when something of it is to be tried again. `served` is the state of the table that
    /// was served already when it was decided.
    async fn report(
        &self,
        key: &Key,
        picture: Picture<'_>,
        scaled: Option<&Scaled>,
        served: Option<&RouteState>,
    ) -> Result<Option<Duration>, Error> {
        let pen = || Pen::new(&self.client, &self.acting, &picture.seen.owner);
        let retrained = retrain(picture, &self.client, &pen()).await;
        let room = self.capacity.look(key, capacity::coming(picture.seen, picture.plan));
        let notifications = &picture.seen.deployment.spec.notifications;
        let mail = Mail { courier: &self.courier, key, owner: &picture.seen.owner, notifications };
        let way_back = picture.plan.state.phase.is_way_back();
        let is_news = || picture.seen.route_state().as_ref() != served;
        let overtaken = || way_back && is_news() && is_served(picture.seen, &self.samplers.snapshot(key));
        let report = Report {
            picture,
            written: &self.written,
            pen: pen(),
            herald: &self.herald,
            mail,
            retrained: &retrained,
            scaled,
            room: &room,
            evidence_written: self.notes.with(key, |note| note.evidence),
            status_written: self.notes.with(key, |note| note.status),
            since: self.notes.with(key, |note| *note.since.get_or_insert_with(Instant::now)),
            overtaken: &overtaken,
        };
        let reported = report.report().await;
        if let Err(WriteError::Conflict { object }) = &reported
            && object.starts_with("ModelRollout ")
        {
            // rule: C4. Someone else may have counted on: the next page is only a baseline.
            self.samplers.forget(key);
        }
        let reported = reported.map_err(Error::Report)?;
        self.notes.with(key, |note| {
            let now = Instant::now();
            note.evidence = reported.evidence.then_some(now).or(note.evidence);
            note.status = reported.status.then_some(now).or(note.status);
        });
        for note in &picture.plan.notes {
            self.metrics.decisions.with_label_values(&[<&'static str>::from(note.reason)]).inc();
            tracing::info!(
                deployment = %key, reason = %note.reason, rollout = note.sequence, "{}", note.message
            );
        }
        let next = reported.overtaken.then_some(Duration::ZERO);
        Ok(next.or(reported.withheld.then_some(SOON)).or(retrained.again.then_some(AGAIN)))
    }

    /// After a conflict: what the objects are now, past every cache, so that the next reconcile need not wait
    /// for the watch.
    async fn refresh(&self, owner: &Owner) -> Result<(), WriteError> {
        let (namespace, name) = (owner.namespace.as_str(), owner.name.as_str());
        let pen = Pen::new(&self.lane, &self.acting, owner);
        match pen.read(name).await? {
            Some(route) => drop(self.written.routes.remember(route)),
            None => self.written.routes.forget(namespace, name),
        }
        match pen.read(name).await? {
            Some(deployment) => drop(self.written.deployments.remember(deployment)),
            None => self.written.deployments.forget(namespace, name),
        }
        Ok(())
    }

    /// Forgets a deployment that is gone.
    fn gone(&self, key: &Key) {
        self.samplers.forget(key);
        self.notes.forget(key);
        self.courier.forget(key);
        self.capacity.forget(key);
        self.rehearsal.forget(key);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        self.written.deployments.forget(namespace, &key.name);
        self.written.routes.forget(namespace, &key.name);
        self.written.rollouts.forget_of(key);
    }

    /// Forgets every deployment that the store no longer has: a list that was read anew does not name them.
    fn forget_missing(&self) {
        let mut known: HashSet<Key> = self.notes.all().keys().cloned().collect();
        known.extend(self.samplers.known());
        let here: HashSet<Key> = self.world.deployments.state().iter().map(|object| key_of(object)).collect();
        for key in known.difference(&here) {
            self.gone(key);
        }
    }
}

/// How the store names a deployment.
fn reference(key: &Key) -> ObjectRef<Guarded> {
    ObjectRef::new(&key.name).within(key.namespace.as_deref().unwrap_or_default())
}

/// Microseconds are what a status keeps: a finer time would look like a change of it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// An instant, as the delay that the queue wants: a new event replaces it, and is followed by a new one.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
