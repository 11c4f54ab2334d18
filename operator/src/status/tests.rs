use std::collections::BTreeMap;
use std::sync::Arc;

use api::ModelDeployment;
use jiff::SignedDuration;
use kube::runtime::reflector::ObjectRef;
use rollout::{Pods, RouteSeen, Shares, State, decide};
use serde_json::{Value, json};

use super::*;
use crate::resources::{self, Images, Owner};
use crate::revision::{self, Asked};
use crate::validate::{Defaults, validate};
use crate::write::WriteError;

/// A deployment and the world around it, as far as the decision sees it.
struct Case {
    deployment: ModelDeployment,
    seen: Seen,
    observed: Observed,
    trouble: Option<(&'static str, &'static str)>,
    now: Timestamp,
}

fn deployment(version: &str, more: &Value) -> ModelDeployment {
    let mut spec = json!({
        "replicas": 2,
        "model": {"version": version, "uri": format!("pvc://models/digits/{version}")},
        "strategy": {"canary": {"steps": [{"weight": 10, "hold": "1m"}, {"weight": 50}]}},
        "analysis": {"metrics": [
            {"name": "confidence", "drift": {"feature": "confidence", "statistic": "ks", "against": "stable"}, "max": 0.15},
        ]},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {
            "name": "digits", "namespace": "team", "generation": 3,
            "uid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        },
        "spec": spec,
    }))
    .unwrap()
}

impl Case {
    /// `1.0.0` is stable, the spec asks for `1.1.0`.
    fn new(more: &Value) -> Self {
        let old = deployment("1.0.0", &json!({}));
        let new = deployment("1.1.0", more);
        let owner = Owner::of(&new).unwrap();
        let images = Images {
            router: "router:1".into(),
            server: "server:1".into(),
            pull_policy: None,
            pull_secrets: Vec::new(),
        };
        let mut revisions = BTreeMap::new();
        for (number, spec) in [(1, &old.spec), (2, &new.spec)] {
            let asked = Asked::of(spec);
            let name = revision::name("digits", &asked, &revisions);
            let resolved = resources::template(&owner, &name, &asked, &images);
            let stored = revision::store(owner.meta(&name, &[]), number, &asked, &resolved);
            revisions.insert(name, revision::read(&stored).unwrap());
        }
        let stable = revision::name("digits", &Asked::of(&old.spec), &revisions);
        let state =
            State { stable: Some(stable.clone()), acted: Some(stable), sequence: 1, ..State::default() };
        let seen = Seen {
            key: ObjectRef::new("digits").within("team"),
            owner,
            deployment: Arc::new(new.clone()),
            state,
            route: None,
            rollouts: BTreeMap::new(),
            revisions,
            workloads: BTreeMap::new(),
            services: BTreeMap::new(),
            accounts: BTreeMap::new(),
            bindings: BTreeMap::new(),
            budgets: BTreeMap::new(),
            pods: Vec::new(),
            unreadable: Vec::new(),
        };
        let mut case = Self {
            deployment: new,
            seen,
            observed: Observed::default(),
            trouble: None,
            now: Timestamp::UNIX_EPOCH,
        };
        case.observed.known = case.seen.revisions.keys().cloned().collect();
        case
    }

    fn name(&self, version: &str) -> String {
        let with = |r: &&revision::Revision| r.asked.model.version == version;
        self.seen.revisions.values().find(with).unwrap().name.clone()
    }

    /// Pods as planned, all ready, and a table that everybody serves.
    fn settle(&mut self, plan: &Plan) {
        let pods = |n: u32| Pods { replicas: n, ready: n, unheard: 0, existing: n, conflict: false };
        self.observed.workloads =
            plan.workloads.iter().map(|(name, w)| (name.clone(), pods(w.replicas))).collect();
        let shares: Shares =
            plan.route.shares.iter().filter(|(_, w)| **w > 0).map(|(r, w)| (r.clone(), *w)).collect();
        self.observed.route = Some(RouteSeen {
            shares,
            mirror: plan.route.mirror.clone(),
            candidate: plan.route.candidate.clone(),
            salt: plan.route.salt.clone(),
            undo: plan.route.undo.clone(),
            served: true,
            acknowledged: true,
            ..RouteSeen::default()
        });
        self.seen.state = plan.state.clone();
    }

    fn valid(&self) -> Valid {
        let name = |asked: &Asked| revision::name("digits", asked, &self.seen.revisions);
        let defaults = Defaults { interval: std::time::Duration::from_secs(15), pod_overlays: true };
        validate(&self.deployment.spec, name, &self.seen.state, defaults)
    }

    /// Decides, tells, and lets the world follow.
    fn turn(&mut self, seconds: i64) -> ModelDeploymentStatus {
        self.now += SignedDuration::from_secs(seconds);
        let valid = self.valid();
        let plan = decide(&valid.wanted, &self.seen.state, &self.observed, self.now);
        let picture = Picture {
            seen: &self.seen,
            valid: &valid,
            observed: &self.observed,
            snapshot: &Snapshot::default(),
            plan: &plan,
            trouble: self.trouble,
            now: self.now,
        };
        let status = status(picture);
        self.settle(&plan);
        Arc::make_mut(&mut self.seen.deployment).status = Some(status.clone());
        status
    }

    fn turns(&mut self, n: usize) -> ModelDeploymentStatus {
        (0..n).map(|_| self.turn(1)).last().unwrap()
    }

    fn breach(&mut self) {
        self.read(&json!({
            "metric": "confidence", "verdict": "Fail", "onBreach": "rollback", "threshold": 0.15, "n": 300,
            "level": 0.001, "check": 1, "windowFrom": "1970-01-01T00:00:00Z",
            "windowTo": "1970-01-01T00:00:10Z", "reason": "confidence 0.41 > 0.15 (n = 300)",
        }));
    }

    /// The only reading of the revision that is judged.
    fn read(&mut self, reading: &Value) {
        let (key, _) = self.seen.state.judged_stage().unwrap();
        let readings = vec![serde_json::from_value(reading.clone()).unwrap()];
        let evidence = StageEvidence { key, at: self.now, requests: 300, readings, trial: None };
        let judged = match &self.seen.state.phase {
            rollout::Phase::Rolling(rolling) => rolling.to.clone(),
            _ => self.seen.state.stable.clone().unwrap(),
        };
        self.observed.evidence.insert(judged, evidence);
    }
}

fn golden(name: &str, status: &ModelDeploymentStatus) {
    // The memory is the business of crate rollout.
    insta::assert_yaml_snapshot!(name, ModelDeploymentStatus { state: None, ..status.clone() });
}

fn condition<'a>(status: &'a ModelDeploymentStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|c| c.type_ == kind).unwrap();
    (&found.status, &found.reason, &found.message)
}

#[test]
fn in_mid_canary_people_see_stage_shares_and_what_it_waits_for() {
    let mut case = Case::new(&json!({}));
    case.turns(4);
    golden("canary", &case.turn(1));
}

#[test]
fn after_a_breach_people_see_why_and_that_the_spec_is_not_served() {
    let mut case = Case::new(&json!({}));
    case.turns(4);
    case.breach();
    golden("rolling_back", &case.turn(1));
    case.observed.evidence.clear();
    let status = case.turns(2);
    golden("rolled_back", &status);
    assert_eq!(status.verdict.as_deref(), Some("Fail"), "why it was taken back stays to be seen");
}

#[test]
fn nothing_is_told_twice() {
    let mut case = Case::new(&json!({}));
    let before = case.turns(6);
    assert_eq!(case.turn(0), before);
    case.breach();
    case.turn(1);
    case.observed.evidence.clear();
    let before = case.turns(3);
    assert_eq!(case.turn(3600), before, "time alone changes nothing");
}

#[test]
fn a_promoted_revision_can_be_undone_at_once() {
    let mut case = Case::new(&json!({
        "analysis": {"falseRollback": 0}, "strategy": {"canary": {"steps": [{"weight": 50}]}},
    }));
    let status = case.turns(8);
    assert_eq!(status.phase, Some(Phase::Healthy));
    assert_eq!(status.stable.as_ref().unwrap().model.version, "1.1.0");
    let old = case.name("1.0.0");
    let message = format!("{old} has ready pods and takes over at once");
    assert_eq!(condition(&status, "RollbackReady"), ("True", "Instant", message.as_str()));
    assert_eq!(condition(&status, "SpecServed").0, "True");
    // The old pods are gone, its record is not.
    let status = {
        case.turn(3600);
        case.turn(1);
        case.turn(1)
    };
    assert_eq!(condition(&status, "RollbackReady").1, "NeedsPods");
    case.observed.known.clear();
    assert_eq!(condition(&case.turn(1), "RollbackReady").1, "Impossible");
}

#[test]
fn while_the_old_revision_is_warm_people_see_what_can_still_be_noticed() {
    // rule: S3
    let mut case = Case::new(&json!({
        "analysis": {"falseRollback": 0}, "strategy": {"canary": {"steps": [{"weight": 50}]}},
    }));
    let status = case.turns(8);
    let old = case.name("1.0.0");
    let warm = format!("{old} is kept warm until 1970-01-01T00:30:05Z");
    assert_eq!(condition(&status, "Progressing"), ("False", "Watching", warm.as_str()));
    let errors = |verdict: &str, detects: &Value| {
        json!({
            "metric": "sequential/errors", "layer": "Sequential", "verdict": verdict, "onBreach": "alert", "n": 300,
            "level": 0.0035, "check": 1, "windowFrom": "1970-01-01T00:00:00Z",
            "windowTo": "1970-01-01T00:00:10Z", "detects": detects, "reason": "",
        })
    };
    let cases = [
        ("Pass", json!(3.0), "; an error rate 3 times as high would be noticed by then"),
        ("Pass", json!(null), "; no rise of the error rate is foretold to be noticed by then"),
        ("NoData", json!(null), ""),
    ];
    for (verdict, detects, said) in cases {
        case.read(&errors(verdict, &detects));
        assert_eq!(condition(&case.turn(0), "Progressing").2, format!("{warm}{said}"));
    }
}

#[test]
fn a_spec_that_cannot_be_carried_out_is_told_and_what_serves_goes_on() {
    let metrics = json!({"metrics": [{"name": "e", "errorRate": {}, "max": 3.0}]});
    let mut case = Case::new(&json!({"analysis": metrics}));
    let status = case.turns(3);
    let why = "the spec is refused: spec.analysis.metrics[0].max: found 3, must lie within 0 and 1: \
        the value is never more than 1";
    assert_eq!(condition(&status, "Progressing"), ("False", "InvalidSpec", why));
    assert_eq!(condition(&status, "SpecServed"), ("False", "InvalidSpec", why));
    // rule: T4
    assert_eq!(condition(&status, "Paused"), ("True", "InvalidSpec", why));
    case.observed.request = Some(rollout::Request { text: "resume".into(), done: None });
    case.turn(1);
    assert_eq!(case.seen.state.verb.as_ref().unwrap().answer, format!("refused: {why}"));
    assert_eq!(status.stable.unwrap().model.version, "1.0.0");
}

#[test]
fn a_spec_that_is_refused_in_mid_canary_still_judges_by_what_is_right_in_it() {
    // rule: T4
    let mut case = Case::new(&json!({}));
    case.turns(4);
    let edited = json!({"analysis": {"metrics": [
        {"name": "confidence", "drift": {"feature": "confidence", "statistic": "ks", "against": "stable"}, "max": 0.15},
        {"name": "errors", "errorRate": {}, "max": 3.0},
    ]}, "strategy": {"canary": {"steps": [{"weight": 50}, {"weight": 10}]}}});
    case.deployment = deployment("1.2.0", &edited);
    let status = case.turns(3);
    assert_eq!((status.phase, status.candidate.as_ref().unwrap().weight), (Some(Phase::Paused), 10));
    assert_eq!(condition(&status, "Paused").1, "InvalidSpec");
    let valid = case.valid();
    let plan = decide(&valid.wanted, &case.seen.state, &case.observed, case.now);
    let ordered = crate::judge::order(&case.seen, &valid, &plan, &Snapshot::default());
    assert!(ordered.sampling.is_some());
    assert_eq!(ordered.metrics.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["confidence"]);
    case.breach();
    assert_eq!(case.turn(1).phase, Some(Phase::RollingBack));
    // The refused spec asks for another model: it starts nothing.
    case.observed.evidence.clear();
    assert_eq!(case.turns(3).phase, Some(Phase::RolledBack));
}

#[test]
fn pods_of_a_served_revision_that_loaded_another_artefact_are_told_of() {
    // rule: I5
    let mut case = Case::new(&json!({}));
    assert_eq!(condition(&case.turns(4), "Ready"), ("False", "NoRouter", "no router is ready"));
    let router = json!({
        "metadata": {"name": "r", "labels": {names::ROLE: names::ROLE_ROUTER}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    case.seen.pods.push(Arc::new(serde_json::from_value(router).unwrap()));
    assert_eq!(condition(&case.turn(1), "Ready").1, "Serving");
    let candidate = case.name("1.1.0");
    case.observed.workloads.get_mut(&candidate).unwrap().conflict = true;
    let status = case.turn(1);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), ("False", "DigestMismatch"));
    assert!(message.contains(&candidate), "{message}");
    assert!(TROUBLES.contains(&reason), "an event tells of it");
}

#[test]
fn a_model_that_waits_is_not_said_to_be_on_its_way() {
    let mut case = Case::new(&json!({"paused": true}));
    let status = case.turns(3);
    let message = format!("no rollout of {} has started", case.name("1.1.0"));
    assert_eq!(condition(&status, "SpecServed"), ("False", "Waiting", message.as_str()));
    // A rollout of one model stands still, and the spec asks for yet another.
    let mut case = Case::new(&json!({}));
    case.turns(4);
    case.deployment = deployment("1.2.0", &json!({"paused": true}));
    assert_eq!(condition(&case.turn(1), "SpecServed").1, "Waiting");
}

#[test]
fn a_write_that_is_refused_is_told() {
    let mut case = Case::new(&json!({}));
    case.turns(2);
    let taken = WriteError::NameTaken { object: "Service digits".into() };
    assert_eq!(trouble(&taken).unwrap().0, "NameTaken");
    assert_eq!(trouble(&WriteError::NotLeading), None);
    // What passes by itself is told by the condition alone.
    let (leaving, _) = trouble(&WriteError::Leaving { object: "Service digits".into() }).unwrap();
    assert!(TROUBLES.contains(&"NameTaken") && !TROUBLES.contains(&leaving));
    case.trouble = Some(("NameTaken", "Service digits exists"));
    let status = case.turn(1);
    assert_eq!(condition(&status, "Progressing"), ("False", "NameTaken", "Service digits exists"));
    case.trouble = None;
    assert_eq!(condition(&case.turn(1), "Progressing").0, "True");
}

#[test]
fn why_the_cluster_makes_no_pods_is_told() {
    let mut case = Case::new(&json!({}));
    case.turns(2);
    let candidate = case.name("1.1.0");
    let why = "pods \"digits-\" is forbidden: violates PodSecurity \"restricted:latest\"";
    let refused = json!({
        "metadata": {"name": candidate},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": why}]},
    });
    case.seen.workloads.insert(candidate.clone(), Arc::new(serde_json::from_value(refused).unwrap()));
    case.observed.workloads.get_mut(&candidate).unwrap().ready = 0;
    let status = case.turn(1);
    let (_, _, message) = condition(&status, "Progressing");
    assert!(message.ends_with(&format!("; pods of {candidate} are not made: {why}")), "{message}");
}

#[test]
fn a_condition_keeps_its_time_while_its_answer_stays() {
    let mut conditions = Vec::new();
    let at = |second| Timestamp::from_second(second).unwrap();
    set(&mut conditions, ("Ready", "True", "A"), "a".into(), Some(1), at(1));
    set(&mut conditions, ("Ready", "True", "B"), "b".into(), Some(2), at(2));
    assert_eq!((conditions[0].last_transition_time.0, conditions[0].message.as_str()), (at(1), "b"));
    set(&mut conditions, ("Ready", "False", "C"), "c".into(), Some(2), at(3));
    assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, at(3)));
}

#[test]
fn a_first_shadow_answers_nobody_and_says_so() {
    let mut case = Case::new(&json!({
        "strategy": {"shadow": {"percent": 50, "hold": "1m"}},
        "analysis": {"metrics": [{"name": "errors", "errorRate": {}, "max": 0.05}]},
    }));
    case.seen.state = State::default();
    let status = case.turns(4);
    let name = case.name("1.1.0");
    assert_eq!((status.phase, status.stable.is_none(), status.replicas), (Some(Phase::Progressing), true, 0));
    assert_eq!(status.stage.as_ref().unwrap().text, "1/2");
    let candidate = status.candidate.clone().unwrap();
    assert_eq!((candidate.weight, candidate.copies, status.traffic.len()), (0, Some(50), 0));
    let only =
        format!("nothing is stable: {name} only gets copies, and the routers answer each request with 202");
    assert_eq!(condition(&status, "Ready"), ("False", "OnlyCopies", only.as_str()));
    let abort = format!("there is nothing to go back to: abort ends the copies to {name}");
    assert_eq!(condition(&status, "RollbackReady"), ("False", "FirstRevision", abort.as_str()));
    assert_eq!(condition(&status, "SpecServed").1, "RollingOut");
    case.breach();
    case.turn(1);
    case.observed.evidence.clear();
    let status = case.turns(3);
    assert_eq!((status.phase, condition(&status, "SpecServed").1), (Some(Phase::RolledBack), "RolledBack"));
    let over = format!("no revision is stable yet: {name} got copies only, which is over");
    assert_eq!(condition(&status, "Ready"), ("False", "NothingServes", over.as_str()));
    assert_eq!(condition(&status, "RollbackReady").1, "AlreadyUndone");
}

#[test]
fn a_fetch_that_fails_names_its_reason() {
    let mut case = Case::new(&json!({
        "model": {"version": "1.1.0", "uri": "s3://team-models/digits/1.1.0", "secretName": "models"},
    }));
    case.turns(2);
    let candidate = case.name("1.1.0");
    let log = "{\"level\":\"WARN\"}\nerror: s3://team-models/digits/1.1.0 is not given: AccessDenied\n";
    let pod = serde_json::from_value(json!({
        "metadata": {
            "name": format!("{candidate}-x"),
            "labels": {"sluice.dev/role": "server", "sluice.dev/revision": candidate},
        },
        "status": {"phase": "Pending", "initContainerStatuses": [{
            "name": "fetch", "image": "i", "imageID": "i", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": log}},
        }]},
    }));
    case.seen.pods.push(Arc::new(pod.unwrap()));
    let said = format!(
        "pod {candidate}-x cannot fetch its model: s3://team-models/digits/1.1.0 is not given: AccessDenied"
    );
    let status = case.turn(1);
    let (_, _, message) = condition(&status, "Progressing");
    assert!(message.ends_with(&said), "{message}");
    // Of a stable revision whose new pods get no model, too.
    let mut alone = Case::new(&json!({}));
    alone.seen.pods = case.seen.pods;
    let (stable, mut pod) = (alone.name("1.0.0"), alone.seen.pods[0].as_ref().clone());
    pod.metadata.labels.as_mut().unwrap().insert("sluice.dev/revision".into(), stable);
    alone.seen.pods = vec![Arc::new(pod)];
    let status = alone.turn(0);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), ("False", "NoServer"));
    assert!(message.ends_with(&said), "{message}");
}
