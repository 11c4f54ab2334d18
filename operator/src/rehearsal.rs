//! Asks the API server whether it takes a revision with a pod overlay, before anything is made or stopped for it: a
//! dry run of its Deployment, with strict validation.
//!
//! Nobody waits for the answer: a reconcile looks at what is known and is woken when there is something new, so that
//! no rollback is ever behind a slow request. Nothing is asked of a revision that is stored: it was taken. An answer
//! is kept for as long as the spec asks for the same; only an API server in trouble is asked again.

mod answer;
mod settle;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::names;
use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::{Api, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::ApiResource;
use kube::{Client, Resource};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::index::Key;
use crate::observe::Seen;
use crate::resources::{self, Images};
use crate::revision::Resolved;
use crate::validate::Valid;
use crate::world::Trigger;
use crate::write::REQUEST;

/// First and longest pause after an API server in trouble.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Requests at the same time: many specs may change at once, and others have to write.
const AT_ONCE: usize = 8;

/// A revision that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// The image of the server.
    pub image: String,
    /// Its Deployment, which may have fields that this program does not know.
    pub deployment: Value,
}

/// What is known of the revisions that are to be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The API server takes them: what each resolves to.
    Taken(Arc<BTreeMap<String, Resolved>>),
    /// It does not take one of them, and never will: why.
    Refused(String),
    /// It has not answered yet; if it was asked before, why there is no answer.
    Waiting(Option<String>),
}

/// The revisions with an overlay that a spec asks for and that are not stored yet.
#[must_use]
pub fn drafts(seen: &Seen, valid: &Valid, images: &Images) -> Vec<Draft> {
    let new = valid.asked.iter().filter(|(name, asked)| {
        !valid.is_put_off() && asked.overlay().is_some() && !seen.revisions.contains_key(name)
    });
    new.map(|(name, asked)| {
        let rendered = resources::render(&seen.owner, name, asked, images);
        let empty = resources::workload(&seen.owner, name, &PodTemplateSpec::default(), 0);
        let mut deployment = serde_json::to_value(empty).expect("Kubernetes objects are JSON");
        deployment["apiVersion"] = json!(Deployment::api_version(&()));
        deployment["kind"] = json!(Deployment::kind(&()));
        deployment["spec"]["template"] = rendered.template;
        Draft { name: name.clone(), image: rendered.image, deployment }
    })
    .collect()
}

/// Asks on behalf of all deployments. Clones share everything.
#[derive(Clone)]
pub struct Rehearsal(Arc<Inner>);

struct Inner {
    client: Client,
    wake: UnboundedSender<Trigger>,
    asked: Mutex<HashMap<Key, Asked>>,
    turns: Semaphore,
}

/// What was asked for one deployment, and what is known.
struct Asked {
    drafts: Arc<Vec<Draft>>,
    answer: Answer,
}

impl Rehearsal {
    /// Nothing is asked yet. A deployment is woken when there is something new to say of it.
    #[must_use]
    pub fn new(client: Client, wake: UnboundedSender<Trigger>) -> Self {
        let turns = Semaphore::new(AT_ONCE);
        Self(Arc::new(Inner { client, wake, asked: Mutex::default(), turns }))
    }

    /// What is known of these revisions; asks if they were not asked for yet. Never waits.
    #[must_use]
    pub fn look(&self, key: &Key, drafts: Vec<Draft>) -> Answer {
        let mut all = self.asked();
        if drafts.is_empty() {
            all.remove(key);
            return Answer::Taken(Arc::default());
        }
        if let Some(asked) = all.get(key).filter(|asked| *asked.drafts == drafts) {
            return asked.answer.clone();
        }
        let (drafts, answer) = (Arc::new(drafts), Answer::Waiting(None));
        tokio::spawn(self.clone().ask(key.clone(), drafts.clone()));
        all.insert(key.clone(), Asked { drafts, answer: answer.clone() });
        answer
    }

    /// Forgets a deployment that is gone.
    pub fn forget(&self, key: &Key) {
        self.asked().remove(key);
    }

    /// Ends all questions: only the leader asks.
    pub fn stand_by(&self) {
        self.asked().clear();
    }

    /// Asks until there is an answer, or nobody wants it any more.
    async fn ask(self, key: Key, drafts: Arc<Vec<Draft>>) {
        let (mut pause, longest) = AGAIN;
        loop {
            let answer = self.all_of(key.namespace.as_deref().unwrap_or_default(), &drafts).await;
            let waits = matches!(answer, Answer::Waiting(_));
            if !self.tell(&key, &drafts, answer) || !waits {
                return;
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    /// Keeps an answer and wakes the deployment if it is news; whether the question still stands.
    fn tell(&self, key: &Key, drafts: &Arc<Vec<Draft>>, answer: Answer) -> bool {
        let mut all = self.asked();
        let Some(asked) = all.get_mut(key).filter(|asked| Arc::ptr_eq(&asked.drafts, drafts)) else {
            return false;
        };
        if asked.answer != answer {
            tracing::info!(deployment = %key, "pod overlay: {answer}");
            asked.answer = answer;
            // The other end is gone only when the program stops.
            let _ = self.0.wake.unbounded_send(Trigger::One(key.clone()));
        }
        true
    }

    /// The answer about all of them: the first that is not yes.
    async fn all_of(&self, namespace: &str, drafts: &[Draft]) -> Answer {
        let mut taken = BTreeMap::new();
        for draft in drafts {
            match self.one(namespace, draft).await {
                Ok(resolved) => drop(taken.insert(draft.name.clone(), resolved)),
                Err(answer) => return answer,
            }
        }
        Answer::Taken(Arc::new(taken))
    }

    async fn one(&self, namespace: &str, draft: &Draft) -> Result<Resolved, Answer> {
        let _turn = self.0.turns.acquire().await;
        let kind = ApiResource::erase::<Deployment>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.0.client.clone(), namespace, &kind);
        let params = PatchParams {
            dry_run: true,
            force: true,
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(names::MANAGER)
        };
        let patch = Patch::Apply(&draft.deployment);
        match timeout(REQUEST, api.patch(&draft.name, &params, &patch)).await {
            Ok(Ok(deployment)) => settle::settle(draft, &deployment.data).map_err(Answer::Refused),
            Ok(Err(error)) => Err(answer::of(&error)),
            Err(_) => Err(Answer::Waiting(Some(format!("no answer within {REQUEST:?}")))),
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Key, Asked>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
