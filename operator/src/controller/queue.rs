//! From changes in the world to reconciles: one at a time per deployment, a bounded number at once, in turn.

use std::convert::Infallible;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, Stream, StreamExt, stream};
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config, Error as QueueError, ReconcileReason, ReconcileRequest};
use kube::runtime::reflector::ObjectRef;

use super::turns::Turns;
use super::{Context, Error, reconcile, reference};
use crate::index::Key;
use crate::world::{Guarded, Trigger, key_of};

/// Reconciles until `stop` is done and the reconciles that run have ended.
pub async fn run(
    context: Arc<Context>,
    triggers: UnboundedReceiver<Trigger>,
    samples: impl Stream<Item = Key> + Send + 'static,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let changes = stream::select(triggers, samples.map(Trigger::One));
    let (expanding, turns) = (context.clone(), Arc::new(Turns::new(concurrency)));
    let closing = turns.clone();
    let stop = stop.map(move |()| closing.close());
    let queue = stream::select(changes, began(context.clone()))
        .flat_map(move |trigger| stream::iter(expand(&expanding, trigger)))
        .map(|key| Ok::<_, Infallible>(request(&key)))
        .take_until(stop);
    let store = context.world.deployments.clone();
    let reconciles = applier(
        move |object, context| Box::pin(in_turn(object, context, turns.clone())),
        |object, error: &Error, context| follow(&context, &key_of(&object), error),
        context,
        store,
        queue,
        // The turns are the limit.
        Config::default(),
    );
    reconciles.for_each(async |result| log(result)).await;
}

/// Each reconcile is a task of its own: several run on several cores, and a panic ends only one of them.
async fn in_turn(object: Arc<Guarded>, context: Arc<Context>, turns: Arc<Turns>) -> Result<Action, Error> {
    let Some(_turn) = turns.next(context.urgent(&object)).await else { return Ok(Action::await_change()) };
    // It may have changed while it waited; one that went is told by its last state.
    let newest = context.world.deployments.get(&reference(&key_of(&object))).unwrap_or(object);
    tokio::spawn(reconcile(newest, context)).await.unwrap_or(Err(Error::Panicked))
}

/// Everything is looked at anew whenever this replica begins to lead; whoever led before may have been in the
/// midst of anything.
fn began(context: Arc<Context>) -> impl Stream<Item = Trigger> {
    stream::unfold((context.acting.clone(), context), async |(mut acting, context)| {
        if acting.now() {
            acting.ended().await;
            context.metrics.leading.set(0);
            context.stand_by();
        }
        acting.began().await;
        // A reconcile that was late may have started one since.
        context.stand_by();
        context.metrics.leading.set(1);
        Some((Trigger::All, (acting, context)))
    })
}

fn expand(context: &Context, trigger: Trigger) -> Vec<Key> {
    match trigger {
        Trigger::One(key) => vec![key],
        Trigger::All => {
            context.forget_missing();
            context.world.deployments.state().iter().map(|object| key_of(object)).collect()
        }
        Trigger::Gone(key) => {
            context.gone(&key);
            Vec::new()
        }
    }
}

fn request(key: &Key) -> ReconcileRequest<Guarded> {
    ReconcileRequest { obj_ref: reference(key), reason: ReconcileReason::Unknown }
}

fn follow(context: &Context, key: &Key, error: &Error) -> Action {
    context.metrics.errors.with_label_values(&[error.class()]).inc();
    let failures = context.notes.with(key, |note| {
        note.failures = note.failures.saturating_add(1);
        note.failures
    });
    error.policy(failures)
}

fn log(result: Result<(ObjectRef<Guarded>, Action), QueueError<Error, Infallible>>) {
    match result {
        Ok((object, action)) => tracing::debug!(%object, ?action, "reconciled"),
        // A change of something whose ModelDeployment is gone.
        Err(QueueError::ObjectNotFound(_)) => {}
        Err(QueueError::ReconcilerFailed(error, object)) => match error.class() {
            "Conflict" | "NotLeading" | "Leaving" => tracing::debug!(%object, %error, "will be tried again"),
            class => {
                tracing::warn!(%object, class, error = &error as &dyn std::error::Error, "not reconciled");
            }
        },
        Err(error) => tracing::error!(%error, "the queue is broken"),
    }
}

impl Context {
    /// Ends everything that only the leader does.
    fn stand_by(&self) {
        self.courier.stand_by();
        self.rehearsal.stand_by();
        for object in self.world.deployments.state() {
            let key = key_of(&object);
            self.samplers.forget(&key);
            self.notes.with(&key, |note| note.since = None);
        }
    }
}
