//! The only way to the API server for everything that changes it: who may write, under which fence, and what
//! an answer means.

use std::fmt::Debug;
use std::time::Duration;

use api::names;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use tokio::time::timeout;

use crate::leader::Acting;
use crate::resources::{Owner, covers, stamp};

/// Longest time for one request: kube sets none, and a reconcile that hangs keeps its deployment from all
/// others.
pub const REQUEST: Duration = Duration::from_secs(5);

/// Version of no object: the store's own first revision holds none.
const NO_VERSION: &str = "1";

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another replica leads.
    #[error("this replica does not lead")]
    NotLeading,
    /// It changed meanwhile: everything is decided anew from what it is now.
    #[error("{object} changed meanwhile")]
    Conflict {
        /// Kind and name.
        object: String,
    },
    /// Somebody else has that name: objects without our owner reference are never adopted.
    #[error("{object} exists and does not belong to this ModelDeployment: delete or rename one of them")]
    NameTaken {
        /// Kind and name.
        object: String,
    },
    /// It was made for an earlier ModelDeployment of this name: the garbage collector takes it.
    #[error("{object} is of an earlier ModelDeployment of this name, and still has to go")]
    Leaving {
        /// Kind and name.
        object: String,
    },
    /// The API server will never accept it as it is.
    #[error("{object} is refused: {reason}")]
    Refused {
        /// Kind and name.
        object: String,
        /// What the API server says.
        reason: String,
    },
    /// The API server does not answer in time; whether it was written is not known.
    #[error("{object}: no answer within {REQUEST:?}")]
    Slow {
        /// Kind and name.
        object: String,
    },
    /// The API server does not answer as it should.
    #[error("{object} cannot be written")]
    Api {
        /// Kind and name.
        object: String,
        /// What it says.
        #[source]
        source: kube::Error,
    },
}

impl WriteError {
    fn of<K: Object>(name: &str, error: kube::Error) -> Self {
        let object = describe::<K>(name);
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict { object },
            kube::Error::Api(status) if for_people::<K>(status.code) => {
                Self::Refused { object, reason: status.message.clone() }
            }
            source => Self::Api { object, source },
        }
    }

    /// Whether it is about this one object, for longer than a moment: what does not depend on it goes on.
    #[must_use]
    pub fn is_of_one_object(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NameTaken { .. } | Self::Leaving { .. })
    }

    /// Why a name cannot be given to what is new.
    fn taken<K: Object>(by: &K, owner: &Owner) -> Self {
        let object = describe::<K>(&by.name_any());
        if owner.owns(by) {
            Self::Conflict { object }
        } else if owner.succeeds(by) {
            Self::Leaving { object }
        } else {
            Self::NameTaken { object }
        }
    }
}

/// Whether such an answer comes of what people wrote, and not of an API server in trouble.
fn for_people<K: Object>(code: u16) -> bool {
    match code {
        400 | 422 => true,
        // A quota or a policy of the namespace. Our own kinds have none: there it is a role that is late.
        403 => K::group(&()) != names::GROUP,
        // rule: K8. A pod overlay, or a user's Job, that is rejected.
        500 => matches!(&*K::kind(&()), "Deployment" | "Job"),
        _ => false,
    }
}

/// What all objects that are written have in common.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// Writes for one deployment.
pub struct Pen<'a> {
    client: &'a Client,
    acting: &'a Acting,
    owner: &'a Owner,
}

impl<'a> Pen<'a> {
    /// Writes through `client` while `acting` allows it.
    #[must_use]
    pub fn new(client: &'a Client, acting: &'a Acting, owner: &'a Owner) -> Self {
        Self { client, acting, owner }
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.owner.namespace)
    }

    /// Asked before each single request: the lease may run out between two of them (K4).
    fn may_write(&self) -> Result<(), WriteError> {
        if self.acting.now() { Ok(()) } else { Err(WriteError::NotLeading) }
    }

    /// Brings an object to what is wanted; writes nothing when it is so already. With `fenced` the write is
    /// refused if the object changed since it was seen (K3).
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn put<K: Object>(
        &self,
        live: Option<&K>,
        wanted: K,
        fenced: bool,
    ) -> Result<Option<K>, WriteError> {
        let wanted = stamp(wanted);
        let Some(live) = live else { return self.create(&wanted).await.map(Some) };
        let mut body = to_value(&wanted);
        if covers(&to_value(live), &body) {
            return Ok(None);
        }
        // With a uid an object that was deleted meanwhile is not made anew, nor one of another owner changed.
        body["metadata"]["uid"] = json!(live.uid());
        if fenced {
            body["metadata"]["resourceVersion"] = json!(live.resource_version());
        }
        self.apply(&wanted.name_any(), body, true).await.map(Some)
    }

    async fn apply<K: Object>(&self, name: &str, mut body: Value, force: bool) -> Result<K, WriteError> {
        self.may_write()?;
        body["apiVersion"] = json!(K::api_version(&()));
        body["kind"] = json!(K::kind(&()));
        let params = PatchParams { force, ..PatchParams::apply(names::MANAGER) };
        ask::<K, _>(name, self.api::<K>().patch(name, &params, &Patch::Apply(&body))).await
    }

    /// Makes an object that is not there yet. One of the same name that is ours is a watch that is behind.
    async fn create<K: Object>(&self, wanted: &K) -> Result<K, WriteError> {
        let (name, mut body) = (wanted.name_any(), to_value(wanted));
        // rule: K3. Applied, not posted: a field that is posted stays with its poster when a later apply leaves
        // it out. With a version that no object has, the apply makes what is absent and changes nothing else.
        body["metadata"]["resourceVersion"] = json!(NO_VERSION);
        match self.apply(&name, body, false).await {
            Err(WriteError::Conflict { .. }) => {
                Err(WriteError::taken(&self.holder::<K>(&name).await?, self.owner))
            }
            other => other,
        }
    }

    /// Who has a name that could not be given.
    async fn holder<K: Object>(&self, name: &str) -> Result<K, WriteError> {
        // Absent, it went in this very moment.
        self.read(name).await?.ok_or_else(|| WriteError::Conflict { object: describe::<K>(name) })
    }

    /// Makes an object that is never changed afterwards; one of ours that is there already is returned.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn create_once<K: Object>(&self, wanted: &K) -> Result<K, WriteError> {
        self.may_write()?;
        let name = wanted.name_any();
        match in_time::<K, _>(&name, self.api::<K>().create(&posted(), wanted)).await? {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = self.holder::<K>(&name).await?;
                if self.owner.owns(&found) { Ok(found) } else { Err(WriteError::taken(&found, self.owner)) }
            }
            other => other.map_err(|error| WriteError::of::<K>(&name, error)),
        }
    }

    /// Replaces the status of an object that is still as it was seen.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn status<K: Object>(&self, changed: &K) -> Result<K, WriteError> {
        self.may_write()?;
        let name = changed.name_any();
        ask::<K, _>(&name, self.api::<K>().replace_status(&name, &posted(), changed)).await
    }

    /// Changes single fields; the caller's patch carries its own preconditions.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn patch<K: Object>(&self, name: &str, patch: &Patch<Value>) -> Result<K, WriteError> {
        self.may_write()?;
        let params = PatchParams { field_manager: manager(), ..PatchParams::default() };
        ask::<K, _>(name, self.api::<K>().patch(name, &params, patch)).await
    }

    /// Deletes an object that is still as it was seen; one that is gone already is fine.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete<K: Object>(&self, seen: &K, grace: Option<u32>) -> Result<(), WriteError> {
        self.may_write()?;
        // A pod's status changes all the time, and it is the pod that is deleted, not its status.
        let version = if grace.is_some() { None } else { seen.resource_version() };
        let params = DeleteParams {
            grace_period_seconds: grace,
            preconditions: Some(Preconditions { uid: seen.uid(), resource_version: version }),
            ..DeleteParams::background()
        };
        let name = seen.name_any();
        match in_time::<K, _>(&name, self.api::<K>().delete(&name, &params)).await? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(WriteError::of::<K>(&name, error)),
        }
    }

    /// The object as the API server has it now, past every cache.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn read<K: Object>(&self, name: &str) -> Result<Option<K>, WriteError> {
        ask::<K, _>(name, self.api::<K>().get_opt(name)).await
    }
}

async fn in_time<K: Object, T>(
    name: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<kube::Result<T>, WriteError> {
    timeout(REQUEST, request).await.map_err(|_| WriteError::Slow { object: describe::<K>(name) })
}

async fn ask<K: Object, T>(
    name: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, WriteError> {
    in_time::<K, _>(name, request).await?.map_err(|error| WriteError::of::<K>(name, error))
}

fn manager() -> Option<String> {
    Some(names::MANAGER.to_owned())
}

/// How everything is written that is not applied.
pub(crate) fn posted() -> PostParams {
    PostParams { field_manager: manager(), dry_run: false }
}

fn describe<K: Object>(name: &str) -> String {
    format!("{} {name}", K::kind(&()))
}

fn to_value<K: Serialize>(object: &K) -> Value {
    serde_json::to_value(object).expect("Kubernetes objects are JSON")
}

#[cfg(test)]
mod tests {
    use api::{ModelDeployment, ModelRoute};
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Service;
    use kube::core::Status;

    use super::*;

    fn is_for_people<K: Object>(code: u16) -> bool {
        let status = Status { code, ..Status::failure("no", "") };
        matches!(WriteError::of::<K>("x", kube::Error::Api(status.boxed())), WriteError::Refused { .. })
    }

    #[test]
    fn what_the_garbage_collector_is_about_to_take_has_nobodys_name() {
        let stored = |uid: &str| -> ModelDeployment {
            serde_json::from_value(json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
                "metadata": {"name": "digits", "namespace": "team", "uid": uid},
                "spec": {"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "strategy": {}},
            }))
            .unwrap()
        };
        let owner = Owner::of(&stored("now")).unwrap();
        let taken =
            |metadata| WriteError::taken::<Service>(&Service { metadata, ..Service::default() }, &owner);
        let made_for = |uid| Owner::of(&stored(uid)).unwrap().meta("digits", &[]);
        assert!(matches!(taken(made_for("now")), WriteError::Conflict { .. }), "the watch is behind");
        let error = taken(made_for("before"));
        assert!(matches!(error, WriteError::Leaving { .. }) && error.is_of_one_object(), "{error}");
        let mut orphan = made_for("before");
        orphan.owner_references = None;
        assert!(matches!(taken(orphan), WriteError::NameTaken { .. }));
    }

    #[test]
    fn an_api_server_in_trouble_is_nobodys_mistake() {
        // rule: K8
        assert!(is_for_people::<Deployment>(500));
        assert!(!is_for_people::<ModelRoute>(500) && !is_for_people::<Service>(500));
        assert!(is_for_people::<Deployment>(403) && is_for_people::<Service>(403));
        assert!(!is_for_people::<ModelRoute>(403) && !is_for_people::<ModelDeployment>(403));
        assert!(is_for_people::<ModelRoute>(422) && !is_for_people::<Deployment>(503));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_never_answers_keeps_nobody_waiting() {
        let done = ask::<ModelRoute, ()>("x", std::future::pending()).await;
        assert!(matches!(done, Err(WriteError::Slow { .. })), "{done:?}");
    }
}
