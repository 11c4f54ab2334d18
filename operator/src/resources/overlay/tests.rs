use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn base() -> Value {
    json!({
        "metadata": {"labels": {"ours": "a"}},
        "spec": {
            "containers": [{
                "name": "server", "image": "i",
                "env": [{"name": "LOG", "value": "json"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            }],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
            "topologySpreadConstraints": [
                {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"},
            ],
            "terminationGracePeriodSeconds": 60,
        },
    })
}

fn over(overlay: &Value) -> Value {
    lay(base(), overlay.as_object().unwrap())
}

#[rstest]
#[case::scalar("/spec/terminationGracePeriodSeconds", json!(90), json!(90))]
#[case::new_scalar("/spec/priorityClassName", json!("high"), json!("high"))]
#[case::new_map("/spec/nodeSelector", json!({"gpu": "a", "no": null}), json!({"gpu": "a"}))]
#[case::map("/metadata/labels", json!({"team": "b"}), json!({"ours": "a", "team": "b"}))]
#[case::volume_by_name(
    "/spec/volumes",
    json!([{"name": "cache", "emptyDir": {}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]),
    json!([{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "cache", "emptyDir": {}}])
)]
#[case::tolerations_are_added("/spec/tolerations", json!([{"key": "a"}, {"key": "a"}]), json!([{"key": "a"}]))]
#[case::spread_by_topology(
    "/spec/topologySpreadConstraints",
    json!([{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}, {"topologyKey": "rack", "maxSkew": 2}]),
    json!([
        {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
        {"topologyKey": "rack", "maxSkew": 2},
    ])
)]
#[case::secrets_by_name(
    "/spec/imagePullSecrets", json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "a"}, {"name": "b"}])
)]
#[case::atomic_list("/spec/dnsConfig/searches", json!(["a", "b"]), json!(["a", "b"]))]
fn each_kind_of_field_is_merged_in_its_way(#[case] at: &str, #[case] value: Value, #[case] expected: Value) {
    let overlay = at.rsplit('/').filter(|name| !name.is_empty()).fold(value, |v, name| json!({name: v}));
    assert_eq!(over(&overlay).pointer(at), Some(&expected));
}

#[test]
fn the_container_is_merged_by_the_items_of_its_lists_and_others_stand_beside_it() {
    let server = json!({
        "name": "server",
        "env": [{"name": "LOG", "value": "text"}, {"name": "MORE", "value": "1"}],
        "ports": [{"containerPort": 8080, "protocol": "UDP"}, {"containerPort": 9000}],
        "volumeMounts": [{"mountPath": "/cache", "name": "cache"}, {"mountPath": "/tmp", "readOnly": true}],
        "securityContext": {"readOnlyRootFilesystem": null, "capabilities": {"drop": ["NET_RAW"]}},
    });
    let containers = json!([{"name": "proxy", "image": "p", "args": null}, server]);
    let merged = over(&json!({"spec": {"containers": containers}}));
    let expected = json!([
        {
            "name": "server", "image": "i",
            "env": [{"name": "LOG", "value": "text"}, {"name": "MORE", "value": "1"}],
            "ports": [
                {"name": "http", "containerPort": 8080}, {"containerPort": 8080, "protocol": "UDP"},
                {"containerPort": 9000},
            ],
            "volumeMounts": [
                {"name": "tmp", "mountPath": "/tmp", "readOnly": true},
                {"mountPath": "/cache", "name": "cache"},
            ],
            "securityContext": {"capabilities": {"drop": ["NET_RAW"]}},
        },
        {"name": "proxy", "image": "p"},
    ]);
    assert_eq!(merged["spec"]["containers"], expected);
}

#[test]
fn null_removes_a_field_and_of_nothing_nothing() {
    let gone = json!({"spec": {"topologySpreadConstraints": null, "hostname": null, "volumes": null}});
    let merged = over(&gone);
    let spec = merged["spec"].as_object().unwrap();
    assert_eq!(
        spec.keys().collect::<Vec<_>>(),
        ["containers", "terminationGracePeriodSeconds"].iter().collect::<Vec<_>>()
    );
}

/// Where both can say it, it is what the generated types do, which follow the API's own description.
#[test]
fn it_agrees_with_the_types_of_kubernetes() {
    let overlay = json!({
        "metadata": {"annotations": {"scrape": "true"}, "labels": {"team": "b"}},
        "spec": {
            "nodeSelector": {"gpu": "a"},
            "serviceAccountName": "s",
            "securityContext": {"runAsUser": 7},
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "initContainers": [{"name": "proxy", "image": "p", "restartPolicy": "Always"}],
            "containers": [{
                "name": "server",
                "env": [{"name": "LOG", "value": "text"}, {"name": "MORE", "value": "1"}],
                "ports": [{"name": "more", "containerPort": 9000, "protocol": "TCP"}],
                "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            }],
        },
    });
    let typed = |value: Value| serde_json::from_value::<PodTemplateSpec>(value).unwrap();
    let mut theirs = typed(base());
    theirs.merge_from(typed(overlay.clone()));
    assert_eq!(typed(over(&overlay)), theirs);
}

fn overlays() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![Just(Value::Null), Just(json!("x")), Just(json!(3)), Just(json!(true))];
    let named = |field: &'static str, names: &'static [&'static str], scalar: BoxedStrategy<Value>| {
        prop::collection::vec((prop::sample::select(names), scalar), 0..4).prop_map(move |items| {
            let items = items.into_iter().map(|(name, value)| json!({"name": name, "value": value}));
            json!({field: items.collect::<Vec<_>>()})
        })
    };
    let env = named("env", &["LOG", "A", "B"], scalar.clone().boxed());
    let volumes = named("volumes", &["tmp", "a"], scalar.clone().boxed());
    let free = prop::collection::btree_map("[ab]", scalar, 0..3);
    (env, volumes, free, prop::collection::vec("[ab]", 0..3)).prop_map(|(env, volumes, free, keys)| {
        let tolerations: Vec<Value> = keys.iter().map(|key| json!({"key": key})).collect();
        let mut spec = json!({"nodeSelector": free, "tolerations": tolerations});
        spec["volumes"] = volumes["volumes"].clone();
        let mut server = env;
        server["name"] = json!("server");
        spec["containers"] = json!([server]);
        json!({"metadata": {"labels": free}, "spec": spec})
    })
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

proptest! {
    #[test]
    fn twice_is_once_and_nothing_is_lost(overlay in overlays()) {
        let once = over(&overlay);
        let fields = overlay.as_object().unwrap();
        prop_assert_eq!(&lay(once.clone(), fields), &once, "laid on twice");
        prop_assert!(!has_null(&once), "a null stays: {}", once);
        // What the overlay does not speak of is as it was.
        let server = &once["spec"]["containers"][0];
        prop_assert_eq!(&server["ports"], &base()["spec"]["containers"][0]["ports"]);
        prop_assert_eq!(&server["image"], "i");
        prop_assert_eq!(lay(base(), &Map::new()), base());
        // The last word about each variable is its value.
        for item in overlay["spec"]["containers"][0]["env"].as_array().unwrap() {
            let env = server["env"].as_array().unwrap();
            prop_assert_eq!(env.iter().filter(|e| e["name"] == item["name"]).count(), 1);
        }
    }
}
