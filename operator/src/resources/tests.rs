use serde_json::json;

use super::*;
use crate::revision::Asked;
use rollout::{Outcome, RoutePlan, Shares, Undo};
use wire::SLOTS;

fn deployment(spec: Value) -> ModelDeployment {
    let spec = merge(json!({"strategy": {"canary": {"steps": [{"weight": 10}]}}}), spec);
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "digits", "namespace": "team", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        "spec": spec,
    }))
    .unwrap()
}

fn pvc() -> ModelDeployment {
    deployment(json!({
        "model": {"version": "1.1.0", "uri": "pvc://models/digits/1.1.0", "sha256": "ab".repeat(32)},
        "routing": {"sticky": {"header": "x-user-id"}},
    }))
}

fn images() -> Images {
    Images {
        router: "router:1".into(),
        server: "server:1".into(),
        pull_policy: None,
        pull_secrets: Vec::new(),
    }
}

fn plan(shares: &[(&str, u8)], stable: Option<&str>) -> RoutePlan {
    let shares = shares.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
    let stable = stable.map(str::to_owned);
    RoutePlan {
        shares,
        mirror: None,
        candidate: None,
        wired: [].into(),
        stable,
        salt: "2".into(),
        undo: None,
    }
}

#[test]
fn a_revision_is_a_workload_and_a_headless_service() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let resolved = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images());
    insta::assert_yaml_snapshot!(workload(&owner, "digits-1a2b3c4d", &resolved.template, 2));
    insta::assert_yaml_snapshot!(service(&owner, "digits-1a2b3c4d"));
}

#[test]
fn routers_take_labels_where_a_secret_is_named() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let settings = json!({"feedback": {"secretName": "digits-labels", "window": "1h30m"}});
    let settings: api::RouterSettings = serde_json::from_value(settings).unwrap();
    let router = router(&owner, Some(&settings), 2, &images());
    let ports = router.service.spec.unwrap().ports.unwrap();
    let ports: Vec<_> = ports.into_iter().map(|port| (port.name.unwrap(), port.port)).collect();
    assert_eq!(ports, [("http".to_owned(), 80), ("feedback".to_owned(), 8081)]);
    let pod = router.workload.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let args = container.args.as_ref().unwrap().join(" ");
    assert!(args.ends_with("--feedback-secret /etc/sluice/feedback --feedback-window 5400s"), "{args}");
    let secret = pod.volumes.unwrap().into_iter().find_map(|volume| volume.secret).unwrap();
    assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("digits-labels"), Some(true)));
    let mounts = container.volume_mounts.as_ref().unwrap();
    assert!(mounts.iter().any(|mount| mount.mount_path == "/etc/sluice/feedback"));
    let limits = container.resources.as_ref().unwrap().limits.as_ref().unwrap();
    assert_eq!(limits["memory"].0, "144Mi");
}

#[test]
fn routers_tell_of_requests_and_serve_tls_where_it_is_set() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let settings = json!({
        "accessLog": {}, "tracing": {"endpoint": "http://otel:4318", "sample": 5}, "tls": {"secretName": "digits-tls"},
    });
    let settings: api::RouterSettings = serde_json::from_value(settings).unwrap();
    let router = router(&owner, Some(&settings), 2, &images());
    let pod = router.workload.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let args = container.args.as_ref().unwrap().join(" ");
    assert!(
        args.ends_with(
            "--access-log 100 --otlp-endpoint http://otel:4318 --trace-sample 5 \
             --tls-cert /etc/sluice/tls/tls.crt --tls-key /etc/sluice/tls/tls.key"
        ),
        "{args}"
    );
    // While routers are replaced, each port of the Service leads to those that speak it.
    let ports = router.service.spec.unwrap().ports.unwrap();
    let ports: Vec<_> = ports.into_iter().map(|p| (p.name.unwrap(), p.port, json!(p.target_port))).collect();
    assert_eq!(ports, [("https".to_owned(), 443, json!("https")), ("http".to_owned(), 80, json!("http"))]);
    let ports = container.ports.as_ref().unwrap();
    assert_eq!((ports[0].name.as_deref(), ports[0].container_port), (Some("https"), 8080));
    assert_eq!((ports[1].name.as_deref(), ports[1].container_port), (Some("admin"), 9091));
    // Without it a pod does not start, rather than serve without TLS.
    let secret = pod.volumes.unwrap().into_iter().find_map(|volume| volume.secret).unwrap();
    assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("digits-tls"), None));
    assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0, "160Mi");
}

#[test]
fn what_the_user_sets_of_the_server_is_used() {
    let deployment = deployment(json!({
        "model": {"version": "1.1.0", "uri": "file:///models/digits"},
        "server": {"image": "mine:2", "resources": {"limits": {"cpu": "1"}}},
    }));
    let owner = Owner::of(&deployment).unwrap();
    let resolved = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images());
    assert_eq!(resolved.image, "mine:2");
    let pod = resolved.template.spec.unwrap();
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("mine:2"));
    assert_eq!(json!(container.resources), json!({"limits": {"cpu": "1"}}));
    let args = container.args.clone().unwrap();
    assert_eq!(args[..3], ["serve", "--model", "/models/digits"]);
    assert!(!args.contains(&"--sha256".to_owned()), "{args:?}");
    assert_eq!(pod.volumes.unwrap().len(), 1, "no claim");
}

#[test]
fn the_routers_have_an_account_that_may_read_and_a_service() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let router = router(&owner, None, 2, &images());
    insta::assert_yaml_snapshot!("router_workload", router.workload);
    insta::assert_yaml_snapshot!("router_service", router.service);
    insta::assert_yaml_snapshot!("router_binding", router.binding);
    assert_eq!(router.account.metadata.name.as_deref(), Some("digits-router"));
}

#[test]
fn pods_are_fetched_as_the_installation_says() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let images =
        Images { pull_policy: Some("Always".into()), pull_secrets: vec!["a".into(), "b".into()], ..images() };
    let server = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images).template;
    let router = router(&owner, None, 2, &images).workload.spec.unwrap().template;
    for pod in [server.spec.unwrap(), router.spec.unwrap()] {
        assert_eq!(pod.containers[0].image_pull_policy.as_deref(), Some("Always"));
        assert_eq!(json!(pod.image_pull_secrets), json!([{"name": "a"}, {"name": "b"}]));
    }
}

#[test]
fn a_stopping_pod_may_drain_to_the_end() {
    // rule: R6. `--drain` of routers and servers, when it is not given.
    const DRAIN: i64 = 31;
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let server = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images()).template;
    let router = router(&owner, None, 2, &images()).workload.spec.unwrap().template;
    for pod in [server.spec.unwrap(), router.spec.unwrap()] {
        let stop = pod.containers[0].lifecycle.clone().unwrap().pre_stop.unwrap().sleep.unwrap().seconds;
        assert!(pod.termination_grace_period_seconds.unwrap() > stop + DRAIN);
    }
}

#[test]
fn the_table_carries_the_plan_and_reads_back_as_it() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let mut plan = plan(&[("new", 10), ("old", 90), ("warm", 0)], Some("old"));
    let undo =
        Undo { sequence: 2, to: Some("old".into()), outcome: Outcome::RolledBack, reason: "err".into() };
    plan.undo = Some(undo.clone());
    let table = route(&owner, &deployment.spec, &plan, None);
    insta::assert_yaml_snapshot!(table);
    assert_eq!(shares(&table), Shares::from([("new".into(), 10), ("old".into(), 90)]));
    assert_eq!(super::undo(&table), Some(undo));
    assert_eq!(plan_salt(&owner, &table.spec.salt), "2");
    assert_eq!(plan_salt(&owner, "someone-else's"), "");
}

#[test]
fn only_the_slots_that_must_move_do() {
    // rule: R3
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let ten = route(&owner, &deployment.spec, &plan(&[("new", 10), ("old", 90)], Some("old")), None);
    let fifty = route(&owner, &deployment.spec, &plan(&[("new", 50), ("old", 50)], Some("old")), Some(&ten));
    let slots = |table: &api::ModelRoute, name: &str| {
        let revision = table.spec.revisions.iter().find(|r| r.name == name).unwrap().clone();
        revision.slots.iter().flat_map(|s| s.from..s.to).collect::<std::collections::BTreeSet<u16>>()
    };
    assert!(slots(&fifty, "new").is_superset(&slots(&ten, "new")));
    assert!(slots(&ten, "old").is_superset(&slots(&fifty, "old")));
    assert_eq!(slots(&fifty, "new").len() + slots(&fifty, "old").len(), usize::from(SLOTS));
}

#[test]
fn what_a_route_is_told_of_keys_and_limits() {
    let table = |more: Value| {
        let model = json!({"model": {"version": "1.1.0", "uri": "pvc://models/digits/1.1.0"}});
        let deployment = deployment(merge(model, more));
        let owner = Owner::of(&deployment).unwrap();
        route(&owner, &deployment.spec, &plan(&[("a", 100)], Some("a")), None).spec
    };
    let plain = table(json!({}));
    assert_eq!((plain.sticky, plain.max_in_flight, plain.automation), (None, None, None));
    let told = table(json!({
        "router": {"maxInFlight": 64}, "routing": {"sticky": {"cookie": "sluice_user"}},
        "automation": {"level": "partial", "deferBelow": 0.7},
    }));
    assert_eq!(told.automation.as_deref(), Some("partial 0.7"));
    assert_eq!(told.max_in_flight, Some(64));
    let sticky = serde_json::to_value(told.sticky).unwrap();
    assert_eq!(sticky, json!({"cookie": "sluice_user"}));
}

#[test]
fn the_split_is_that_of_the_slots_of_both_and_unknown_under_sticky_routing() {
    // rule: C5
    let plan = plan(&[("new", 10), ("old", 90)], Some("old"));
    let table = |deployment: &ModelDeployment| {
        let owner = Owner::of(deployment).unwrap();
        route(&owner, &deployment.spec, &plan, None).spec
    };
    let sticky = pvc();
    let mut random = sticky.clone();
    random.spec.routing = None;
    assert_eq!(split(&table(&random), "new", "old"), Some(0.1));
    assert_eq!(split(&table(&random), "new", "gone"), None);
    assert_eq!(split(&table(&sticky), "new", "old"), None);
}

// rule: R2
#[test]
fn a_table_with_copies_reaches_whoever_gets_them() {
    let mut deployment = pvc();
    deployment.spec.routing = serde_json::from_value(json!({
        "match": [{"header": "x-group", "value": "beta", "to": "candidate"}], "allowTargeting": true
    }))
    .unwrap();
    let owner = Owner::of(&deployment).unwrap();
    let mirror = rollout::Mirror { revision: "b".into(), percent: 30 };
    let plan = RoutePlan {
        mirror: Some(mirror.clone()),
        candidate: Some("b".into()),
        ..plan(&[("a", 100), ("b", 0)], Some("a"))
    };
    let table = route(&owner, &deployment.spec, &plan, None);
    assert_eq!(super::mirror(&table), Some(mirror));
    assert_eq!(reached(&table), ["a", "b"].map(str::to_owned).into());
    assert_eq!((table.spec.candidate.as_deref(), table.spec.targeting), (Some("b"), true));
    assert_eq!(table.spec.matches[0].to, api::MatchTo::Candidate);
}

#[test]
fn a_table_has_room_for_all_that_have_a_share() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let mut plan = plan(&[("y-new", 10), ("z-old", 90)], Some("z-old"));
    plan.shares.extend((0..30).map(|n| (format!("warm-{n:02}"), 0)));
    let table = route(&owner, &deployment.spec, &plan, None);
    assert_eq!(table.spec.revisions.len(), 16);
    assert_eq!(shares(&table).len(), 2);
}

#[test]
fn only_objects_of_this_very_deployment_are_its_own() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let mut service = service(&owner, "digits-1a2b3c4d");
    assert!(owner.owns(&service) && !owner.succeeds(&service));
    // One of the same name that was deleted and made again has another uid.
    service.metadata.owner_references.as_mut().unwrap()[0].uid = "another".into();
    assert!(!owner.owns(&service) && owner.succeeds(&service));
    service.metadata.owner_references.as_mut().unwrap()[0].name = "letters".into();
    assert!(!owner.succeeds(&service));
    service.metadata.owner_references = None;
    assert!(!owner.owns(&service) && !owner.succeeds(&service));
}

#[test]
fn what_is_rendered_twice_is_covered() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let rendered = || serde_json::to_value(stamp(service(&owner, "digits-1a2b3c4d"))).unwrap();
    let mut live = rendered();
    live["spec"]["sessionAffinity"] = json!("None");
    live["metadata"]["resourceVersion"] = json!("12");
    assert!(covers(&live, &rendered()));
    live["spec"]["ports"][0]["port"] = json!(1);
    assert!(!covers(&live, &rendered()));
}

#[test]
fn a_drain_takes_one_pod_of_a_revision_at_a_time_and_any_that_is_not_ready() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let resolved = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images());
    let routers = router(&owner, None, 2, &images()).workload;
    for (budget, pods) in [
        (server_budget(&owner, "digits-1a2b3c4d"), resolved.template),
        (router_budget(&owner), routers.spec.unwrap().template),
    ] {
        assert!(owner.owns(&budget));
        let spec = json!(budget.spec.as_ref().unwrap());
        assert_eq!((&spec["maxUnavailable"], &spec["minAvailable"]), (&json!(1), &Value::Null));
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        assert_eq!(
            spec["selector"]["matchLabels"],
            json!(pods.metadata.unwrap().labels),
            "all and only these"
        );
    }
}

#[test]
fn pods_are_spread_over_nodes_and_zones_and_start_anyway() {
    let deployment = pvc();
    let owner = Owner::of(&deployment).unwrap();
    let server = template(&owner, "digits-1a2b3c4d", &Asked::of(&deployment.spec), &images()).template;
    let spread = server.spec.unwrap().topology_spread_constraints.unwrap();
    let over: Vec<_> =
        spread.iter().map(|s| (s.topology_key.as_str(), s.when_unsatisfiable.as_str())).collect();
    let anyway = "ScheduleAnyway";
    assert_eq!(over, [("kubernetes.io/hostname", anyway), ("topology.kubernetes.io/zone", anyway)]);
}
