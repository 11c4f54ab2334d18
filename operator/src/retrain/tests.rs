use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use api::{ModelDeployment, ModelRollout, RetrainingStatus};
use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::start::{Maker, Started, taken_back};
use super::*;
use crate::leader::Acting;
use crate::resources::Owner;
use crate::write::Pen;

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * 3600).unwrap()
}

fn settings(triggers: &[&str]) -> Retraining {
    let container = json!({"name": "train", "image": "train:1", "env": [
        {"name": "SLUICE_REASON", "value": "mine"}, {"name": "DATA", "value": "s3"},
    ]});
    serde_json::from_value(json!({
        "triggers": triggers, "cooldown": "24h",
        "jobTemplate": {
            "metadata": {"labels": {"queue": "gpu", "sluice.dev/role": "server"}},
            "spec": {"backoffLimit": 1, "template": {"spec": {
                "restartPolicy": "Never", "containers": [container], "initContainers": [{"name": "get"}],
            }}},
        },
    }))
    .unwrap()
}

fn drifting(status: &str, since: i64) -> Condition {
    Condition {
        type_: "Drifting".into(),
        status: status.into(),
        reason: "Drift".into(),
        message: "inputs: psi 0.3 > 0.2".into(),
        observed_generation: None,
        last_transition_time: Time(at(since)),
    }
}

/// One deployment over time.
struct Story {
    settings: Retraining,
    memory: Option<RetrainingStatus>,
    taken_back: Option<(u64, &'static str)>,
}

impl Story {
    fn new(triggers: &[&str]) -> Self {
        Self { settings: settings(triggers), memory: None, taken_back: None }
    }

    /// Decides, and remembers; a Job is made at once.
    fn turn(&mut self, drifting: Option<&Condition>, hour: i64) -> Effect {
        let (mut after, effect) = decide(Moment {
            settings: &self.settings,
            memory: self.memory.as_ref(),
            drifting,
            taken_back: self.taken_back.map(|(sequence, reason)| TakenBack { sequence, reason }),
            sequence: 3,
            now: at(hour),
        });
        if let Effect::Start(_) = effect {
            (after.number, after.started) = (after.number + 1, Some(MicroTime(at(hour))));
        }
        self.memory = Some(after);
        effect
    }
}

fn started(effect: &Effect) -> &str {
    let Effect::Start(cause) = effect else { panic!("{effect:?}") };
    &cause.id
}

#[test]
fn drift_starts_one_job_when_it_begins_and_none_while_it_lasts() {
    let mut story = Story::new(&["drift"]);
    assert_eq!(story.turn(Some(&drifting("False", 0)), 0), Effect::Nothing);
    assert_eq!(started(&story.turn(Some(&drifting("True", 1)), 1)), "drift 1970-01-01T01:00:00Z");
    assert_eq!(story.turn(Some(&drifting("True", 1)), 2), Effect::Nothing);
    assert_eq!(story.turn(Some(&drifting("True", 1)), 50), Effect::Nothing, "the same drift");
    assert_eq!(story.turn(Some(&drifting("Unknown", 51)), 51), Effect::Nothing);
    assert_eq!(started(&story.turn(Some(&drifting("True", 52)), 52)), "drift 1970-01-03T04:00:00Z");
}

#[test]
fn a_trigger_within_the_cooldown_is_dropped_and_said() {
    let mut story = Story::new(&["drift", "rollback"]);
    story.turn(None, 0);
    started(&story.turn(Some(&drifting("True", 1)), 1));
    story.taken_back = Some((3, "errors: 5 % > 2 %"));
    let Effect::Skipped(why) = story.turn(None, 24) else { panic!() };
    assert_eq!(
        why,
        "no retraining before 1970-01-02T01:00:00Z, when its cooldown is over: errors: 5 % > 2 %"
    );
    assert_eq!(story.turn(None, 30), Effect::Nothing, "it was dropped");
    story.taken_back = Some((4, "errors: 5 % > 2 %"));
    assert_eq!(started(&story.turn(None, 31)), "rollback 4");
}

#[test]
fn what_was_there_before_is_no_trigger() {
    // An edit of the spec, or an operator that knows the field for the first time.
    let mut story = Story::new(&["drift", "rollback"]);
    story.taken_back = Some((7, "errors: 5 %"));
    assert_eq!(story.turn(Some(&drifting("True", 1)), 100), Effect::Nothing);
    assert_eq!(story.turn(Some(&drifting("True", 1)), 200), Effect::Nothing);
    story.taken_back = Some((8, "errors: 5 %"));
    started(&story.turn(Some(&drifting("True", 1)), 201));
}

#[test]
fn only_what_is_named_is_a_trigger_and_naming_more_starts_nothing() {
    let mut story = Story::new(&["rollback"]);
    story.turn(None, 0);
    assert_eq!(story.turn(Some(&drifting("True", 1)), 1), Effect::Nothing);
    story.settings = settings(&["drift"]);
    assert_eq!(story.turn(Some(&drifting("True", 1)), 2), Effect::Nothing);
    story.taken_back = Some((3, "errors: 5 %"));
    assert_eq!(story.turn(Some(&drifting("True", 1)), 3), Effect::Nothing);
}

fn rollout(sequence: u64, kind: &str, outcome: &str, reason: &str) -> ModelRollout {
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "digits"},
        "spec": {
            "deployment": "digits", "sequence": sequence, "kind": kind, "to": "b", "toVersion": "2", "stages": [],
            "salt": "s",
        },
        "status": {
            "outcome": outcome, "reason": reason,
            "verdicts": [{"name": "errors", "verdict": "Fail", "samples": 1, "reason": "errors: 6 % > 2 %"}],
        },
    }))
    .unwrap()
}

#[test]
fn a_person_or_a_deadline_that_takes_a_candidate_back_asks_for_no_training() {
    let found =
        |rollouts: &[ModelRollout]| taken_back(rollouts.iter()).map(|t| (t.sequence, t.reason.to_owned()));
    // The numbers are those of the decision, the verdict may have been read once more since.
    let by_metric = rollout(2, "Rollout", "RolledBack", "errors: 5 % > 2 %");
    let others = [
        rollout(3, "Rollout", "RolledBack", "abort was asked for"),
        rollout(4, "Rollout", "RolledBack", "progressDeadline: 0 of 2 ready pods"),
        rollout(5, "Rollout", "Superseded", "errors: 5 % > 2 %"),
        rollout(6, "Rollback", "RolledBack", "errors: 5 % > 2 %"),
        rollout(7, "Rollout", "RolledBack", "errors-of-mine: 5 %"),
    ];
    assert_eq!(found(&others), None);
    let all: Vec<_> = [by_metric].into_iter().chain(others).collect();
    assert_eq!(found(&all), Some((2, "errors: 5 % > 2 %".into())));
}

fn owner() -> Owner {
    let deployment: ModelDeployment = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "team", "uid": "u"},
        "spec": {"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "strategy": {}},
    }))
    .unwrap();
    Owner::of(&deployment).unwrap()
}

fn cause(id: &str) -> Cause {
    Cause { id: id.into(), reason: "errors: 5 %".into(), sequence: 3 }
}

fn made(number: u32, id: &str, hour: i64) -> Job {
    let mut made = job(&owner(), number, &settings(&["drift"]).job_template, &cause(id)).unwrap();
    made.metadata.creation_timestamp = Some(Time(at(hour)));
    made
}

#[test]
fn a_job_that_a_crash_left_unremembered_is_found_and_not_made_again() {
    let settings = settings(&["drift"]);
    let next = |jobs: &[Job], newest, id, hour| next(jobs, newest, &cause(id), &settings, at(hour));
    assert_eq!(next(&[], 0, "drift 1", 1), Next::Make(1));
    let jobs = [made(4, "drift 1", 1), made(2, "drift 0", 0)];
    assert_eq!(next(&jobs, 3, "drift 1", 1), Next::Known(4, at(1)));
    assert!(matches!(next(&jobs, 3, "drift 2", 2), Next::TooSoon(_)), "the status was lost");
    assert_eq!(next(&jobs, 3, "drift 2", 26), Next::Make(5));
    assert_eq!(next(&[], 7, "drift 2", 26), Next::Make(8), "the Jobs are gone by now");
}

#[test]
fn each_container_is_told_why_it_runs_and_the_rest_is_the_users() {
    let made = made(1, "rollback 3", 0);
    assert!(owner().owns(&made));
    assert_eq!(made.metadata.name.as_deref(), Some("digits-retrain-1"));
    let labels = json!(made.metadata.labels);
    assert_eq!((&labels["queue"], &labels["sluice.dev/role"]), (&json!("gpu"), &json!("retraining")));
    let ours = json!([
        {"name": "SLUICE_REASON", "value": "errors: 5 %"},
        {"name": "SLUICE_DEPLOYMENT", "value": "digits"},
        {"name": "SLUICE_ROLLOUT", "value": "digits-3"},
    ]);
    let pod = &made.spec["template"]["spec"];
    assert_eq!(pod["initContainers"][0]["env"], ours);
    let env = pod["containers"][0]["env"].as_array().unwrap();
    assert_eq!(env[0], json!({"name": "DATA", "value": "s3"}));
    assert_eq!(env[1..], ours.as_array().unwrap()[..]);
    assert_eq!(made.spec["backoffLimit"], 1);
}

#[test]
fn a_template_that_cannot_be_a_job_is_refused_by_name() {
    let refused = |spec: Value| {
        let mut template = settings(&["drift"]).job_template;
        template.spec = spec;
        job(&owner(), 1, &template, &cause("drift 1")).unwrap_err()
    };
    assert!(refused(json!({})).contains("jobTemplate.spec: found no template.spec"));
    assert!(refused(json!({"template": {"spec": 5}})).contains("found no template.spec"));
    let large = refused(json!({"x": "a".repeat(70_000)}));
    assert!(large.contains("found 70008 bytes, at most 65536"), "{large}");
}

#[test]
fn the_status_tells_and_forgets_with_the_field() {
    let mut status = api::ModelDeploymentStatus::default();
    let ready = |status: &api::ModelDeploymentStatus| {
        status.conditions.iter().map(|c| (c.status.clone(), c.reason.clone())).collect::<Vec<_>>()
    };
    let mut told = Retrained { memory: Some(RetrainingStatus::default()), ..Retrained::default() };
    told.tell(&mut status, None, at(0));
    assert_eq!(ready(&status), [("True".into(), "Waiting".into())]);
    told.said = Some(("RetrainingRefused", "why".into()));
    told.tell(&mut status, None, at(1));
    told.said = None;
    told.tell(&mut status, None, at(2));
    assert_eq!(
        ready(&status),
        [("False".into(), "RetrainingRefused".into())],
        "until something else is known"
    );
    Retrained::default().tell(&mut status, None, at(3));
    assert!(status.conditions.is_empty() && status.retraining.is_none());
}

/// An API server with Jobs.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Jobs>>);

#[derive(Default)]
struct Jobs {
    stored: Vec<Value>,
    /// Status of what is refused, if anything: lists, and Jobs.
    lists: Option<u16>,
    applies: Option<u16>,
    applied: usize,
}

impl Server {
    async fn start(&self) -> Client {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, this) = (listener.local_addr().unwrap(), self.clone());
        let app = Router::new()
            .fallback(async move |method: Method, uri: Uri, body: Bytes| this.answer(&method, &uri, &body));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap()
    }

    fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> Response {
        let mut jobs = self.0.lock().unwrap();
        let code = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "" };
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
            (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
        };
        let all = uri.path() == "/apis/batch/v1/namespaces/team/jobs";
        match (method, all) {
            (&Method::GET, true) if jobs.lists.is_some() => code(jobs.lists.unwrap()),
            (&Method::GET, true) => {
                let list = json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": jobs.stored});
                Json(list).into_response()
            }
            (&Method::PATCH, false) => {
                jobs.applied += 1;
                if let Some(refused) = jobs.applies {
                    return code(refused);
                }
                let mut job: Value = serde_json::from_slice(body).unwrap();
                job["metadata"]["creationTimestamp"] = json!(at(1).to_string());
                jobs.stored.push(job.clone());
                Json(job).into_response()
            }
            _ => code(404),
        }
    }
}

#[tokio::test]
async fn a_job_is_made_once_and_one_that_is_refused_is_not_tried_in_circles() {
    // rule: K8
    let server = Server::default();
    let client = server.start().await;
    let (owner, acting, settings) = (owner(), Acting::always(), settings(&["drift"]));
    let pen = Pen::new(&client, &acting, &owner);
    let maker =
        |hour| Maker { client: &client, pen: &pen, owner: &owner, settings: &settings, now: at(hour) };
    let jobs = server.0.clone();
    let server = |change: fn(&mut Jobs)| change(&mut jobs.lock().unwrap());

    assert_eq!(maker(1).start(&cause("drift 1"), 0).await.unwrap(), Started::Job(1, at(1)));
    // The status was not written: the same trigger is there again.
    assert_eq!(maker(2).start(&cause("drift 1"), 0).await.unwrap(), Started::Job(1, at(1)));
    server(|s| {
        let name = &s.stored[0]["metadata"]["name"];
        assert_eq!((s.applied, name.as_str()), (1, Some("digits-retrain-1")));
    });
    assert!(matches!(maker(3).start(&cause("drift 3"), 1).await.unwrap(), Started::TooSoon(_)));

    for refused in [500, 422, 403] {
        jobs.lock().unwrap().applies = Some(refused);
        let started = maker(50).start(&cause("drift 3"), 1).await.unwrap();
        assert!(
            matches!(&started, Started::Refused(why) if why.starts_with("Job digits-retrain-2 is refused")),
            "{started:?}"
        );
    }
    server(|s| assert_eq!(s.applied, 4, "each was tried once"));
    server(|s| s.applies = Some(503));
    assert!(
        maker(50).start(&cause("drift 3"), 1).await.is_err(),
        "an API server in trouble is nobody's refusal"
    );
    server(|s| s.lists = Some(403));
    let started = maker(50).start(&cause("drift 3"), 1).await.unwrap();
    assert!(matches!(started, Started::Refused(why) if why.contains("retraining.jobs")));
}
