use rstest::rstest;
use serde_json::json;

use super::*;

fn asked(value: Value) -> Asked {
    serde_json::from_value(value).unwrap()
}

fn revision(name: &str, asked: &Asked) -> Revision {
    let resolved = Resolved { image: "i".into(), template: PodTemplateSpec::default() };
    let meta = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    read(&store(meta, 1, asked, &resolved)).unwrap()
}

fn known<const N: usize>(revisions: [Revision; N]) -> BTreeMap<String, Revision> {
    revisions.map(|r| (r.name.clone(), r)).into()
}

// rule: I1
#[rstest]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}}), true)]
#[case(json!({"model": {"uri": "pvc://m/a", "version": "1.0.0"}}), true)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a", "sha256": null}, "server": null}), true)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {}}), true)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {"resources": {}}}), true)]
#[case(json!({"model": {"version": "1.0.1", "uri": "pvc://m/a"}}), false)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/b"}}), false)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {"image": "x"}}), false)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {"review": null, "capture": null}}), true)]
#[case(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {"review": {"uri": "s3://b/r"}}}), false)]
fn what_is_written_differently_but_asks_for_the_same_is_the_same(#[case] other: Value, #[case] same: bool) {
    let first = asked(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}}));
    let known = known([revision("d-11111111", &first)]);
    let found = name("d", &asked(other), &known);
    assert_eq!(found == "d-11111111", same, "{found}");
}

// rule: I1. A default that a later release adds must not look like a changed intent: this name is for ever.
#[test]
fn the_name_of_an_intent_never_changes() {
    let plain = asked(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}}));
    assert_eq!(plain.canonical(), r#"{"model":{"uri":"pvc://m/a","version":"1.0.0"}}"#);
    let expected = format!("digits-{}", hash8(r#"{"model":{"uri":"pvc://m/a","version":"1.0.0"}}"#));
    assert_eq!(name("digits", &plain, &BTreeMap::new()), expected);
    // First bytes of SHA-256("abc"), FIPS 180-4.
    assert_eq!(hash8("abc"), "ba7816bf");
}

// rule: I1
#[test]
fn two_intents_never_share_a_name() {
    let one = asked(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}}));
    let two = asked(json!({"model": {"version": "2.0.0", "uri": "pvc://m/a"}}));
    let taken = name("d", &two, &BTreeMap::new());
    let known = known([revision(&taken, &one)]);
    let other = name("d", &two, &known);
    assert_ne!(other, taken);
    assert_eq!(name("d", &two, &known), other, "the same again");
}

#[test]
fn data_of_others_are_refused_by_name() {
    let stored = ControllerRevision {
        metadata: ObjectMeta { name: Some("x".into()), ..ObjectMeta::default() },
        revision: 1,
        data: Some(RawExtension(json!({"spec": 1}))),
    };
    let message = read(&stored).unwrap_err().to_string();
    assert!(message.starts_with("ControllerRevision x: data cannot be read: missing field"), "{message}");
}

fn with_overlay(template: &Value) -> Asked {
    asked(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}, "server": {"template": template}}))
}

// rule: I1
#[test]
fn a_pod_overlay_is_part_of_the_revision_as_it_is_written() {
    let name = |template| name("d", &with_overlay(&template), &BTreeMap::new());
    let plain = asked(json!({"model": {"version": "1.0.0", "uri": "pvc://m/a"}}));
    assert_eq!(with_overlay(&json!({})).canonical(), plain.canonical(), "it changes nothing");
    let removes = json!({"spec": {"nodeSelector": null, "affinity": {"a": {"namespaceSelector": {}}}}});
    assert_eq!(
        with_overlay(&removes).canonical(),
        r#"{"model":{"uri":"pvc://m/a","version":"1.0.0"},"server":{"template":"{\"spec\":{\"affinity\":{\"a\":{\"namespaceSelector\":{}}},\"nodeSelector\":null}}"}}"#
    );
    assert_ne!(name(json!({"spec": {"nodeSelector": null}})), name(json!({"spec": {}})));
    assert_eq!(name(json!({"spec": {"a": 1, "b": 2}})), name(json!({"spec": {"b": 2, "a": 1}})));
    let stored = revision("d-1", &with_overlay(&removes));
    assert!(stored.asks_for(&with_overlay(&removes)), "stored and read it is the same");
    assert!(stored.asked.overlay().is_some());
}
