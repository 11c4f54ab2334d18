use proptest::prelude::*;

use super::*;

/// What is on the shelf here: the version that was loaded, as a text.
type Model = String;

fn listing(versions: &[(&str, &str, u64)]) -> Listing {
    let mut listing = Listing::new();
    for (name, version, bytes) in versions {
        let found = Found { folder: PathBuf::from(format!("{name}/{version}")), bytes: *bytes, stamp: 1 };
        listing.entry((*name).to_owned()).or_default().insert(version.parse().unwrap(), found);
    }
    listing
}

fn shelf(budget: u64, versions: &[(&str, &str, u64)]) -> Shelf<Model> {
    let mut shelf = Shelf::new(budget);
    assert!(shelf.replace(listing(versions)).0.is_empty(), "nobody asked yet");
    shelf
}

/// What one who asks is answered with, loading if need be; `broken` versions do not load.
fn ask(
    shelf: &mut Shelf<Model>,
    name: &str,
    version: Option<&str>,
    broken: &[&str],
    now: Instant,
) -> Result<Model, NotThere> {
    match shelf.take(name, version, now)? {
        Taken::Ready(model) => Ok(model),
        Taken::Wait(_) => panic!("nothing is left loading"),
        Taken::Load(job, _) => load(shelf, &job, broken, now).map_err(NotThere::Broken),
    }
}

fn load(shelf: &mut Shelf<Model>, job: &Job<Model>, broken: &[&str], now: Instant) -> Result<Model, String> {
    let version = job.version.to_string();
    let loaded = shelf
        .begin(job)
        .and_then(|_| if broken.contains(&&*version) { Err("broken".to_owned()) } else { Ok(version) });
    shelf.finish(job, loaded.clone(), now);
    loaded
}

fn states(shelf: &Shelf<Model>) -> Vec<(String, &'static str)> {
    shelf.index().into_iter().map(|line| (format!("{} {}", line.name, line.version), line.state)).collect()
}

#[test]
fn the_newest_answers_and_others_answer_who_names_them() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.9.0", 1), ("a", "1.10.0", 1)]), Instant::now());
    assert_eq!(ask(&mut shelf, "a", Some("1.9.0"), &[], now).unwrap(), "1.9.0");
    // That one is loaded, and still not the one who answers without being named.
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.10.0");
    assert_eq!(shelf.take("b", None, now).unwrap_err(), NotThere::Model);
    for unknown in ["2.0.0", "newest", "", "../1.9.0"] {
        assert_eq!(shelf.take("a", Some(unknown), now).unwrap_err(), NotThere::Version, "{unknown}");
    }
}

#[test]
fn a_new_version_takes_over_when_it_is_loaded_and_not_before() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.0.0", 1)]), Instant::now());
    ask(&mut shelf, "a", None, &[], now).unwrap();
    let (jobs, dropped) = shelf.replace(listing(&[("a", "1.0.0", 1), ("a", "1.1.0", 1)]));
    assert!(jobs.len() == 1 && dropped.is_empty());
    // Another look does not start it again.
    assert!(shelf.replace(listing(&[("a", "1.0.0", 1), ("a", "1.1.0", 1)])).0.is_empty());
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.0.0");
    shelf.begin(&jobs[0]).unwrap();
    assert_eq!(shelf.finish(&jobs[0], Ok("1.1.0".into()), now), Some("1.0.0".into()));
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.1.0");
    assert_eq!(states(&shelf), [("a 1.0.0".into(), "UNAVAILABLE"), ("a 1.1.0".into(), "READY")]);
}

#[test]
fn a_new_version_that_does_not_load_changes_nothing() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.0.0", 1)]), Instant::now());
    ask(&mut shelf, "a", None, &[], now).unwrap();
    let (jobs, _) = shelf.replace(listing(&[("a", "1.0.0", 1), ("a", "1.1.0", 1)]));
    load(&mut shelf, &jobs[0], &["1.1.0"], now).unwrap_err();
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.0.0");
    assert_eq!(ask(&mut shelf, "a", Some("1.1.0"), &[], now), Err(NotThere::Broken("broken".into())));
    // It is tried again by who names it, a while later.
    assert_eq!(ask(&mut shelf, "a", Some("1.1.0"), &[], now + PAUSE).unwrap(), "1.1.0");
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.1.0");
}

#[test]
fn the_newest_that_loads_answers_at_the_start() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.0.0", 1), ("a", "1.1.0", 1)]), Instant::now());
    assert!(ask(&mut shelf, "a", None, &["1.1.0"], now).is_err());
    assert_eq!(ask(&mut shelf, "a", None, &["1.1.0"], now).unwrap(), "1.0.0");
    // Another artefact in its place is tried.
    let mut repaired = listing(&[("a", "1.0.0", 1), ("a", "1.1.0", 1)]);
    repaired.get_mut("a").unwrap().get_mut(&Version::new(1, 1, 0)).unwrap().stamp = 2;
    let (jobs, _) = shelf.replace(repaired);
    load(&mut shelf, &jobs[0], &[], now).unwrap();
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.1.0");
}

#[test]
fn who_is_taken_away_answers_until_another_one_can() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.0.0", 1), ("a", "1.1.0", 1)]), Instant::now());
    ask(&mut shelf, "a", None, &[], now).unwrap();
    let (jobs, dropped) = shelf.replace(listing(&[("a", "1.0.0", 1)]));
    assert!(dropped.is_empty());
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.1.0");
    load(&mut shelf, &jobs[0], &[], now).unwrap();
    assert_eq!(ask(&mut shelf, "a", None, &[], now).unwrap(), "1.0.0");
    assert_eq!(states(&shelf), [("a 1.0.0".into(), "READY")]);
    // With the last folder the model is gone.
    let (jobs, dropped) = shelf.replace(Listing::new());
    assert!(jobs.is_empty() && dropped == ["1.0.0"]);
    assert_eq!(shelf.take("a", None, now).unwrap_err(), NotThere::Model);
}

#[test]
fn those_that_were_asked_for_longest_ago_make_room() {
    let all = [("a", "1.0.0", 40), ("b", "1.0.0", 40), ("c", "1.0.0", 40), ("d", "1.0.0", 101)];
    let (mut shelf, now) = (shelf(100, &all), Instant::now());
    for name in ["a", "b", "a", "c"] {
        ask(&mut shelf, name, None, &[], now).unwrap();
    }
    let ready = |shelf: &Shelf<Model>| {
        states(shelf)
            .into_iter()
            .filter(|(_, state)| *state == "READY")
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(ready(&shelf), ["a 1.0.0", "c 1.0.0"]);
    // What never fits moves nobody.
    let error = ask(&mut shelf, "d", None, &[], now).unwrap_err();
    assert_eq!(error.to_string(), "it needs 101 bytes of memory, allowed (--memory): 100");
    assert_eq!(ready(&shelf), ["a 1.0.0", "c 1.0.0"]);
    assert_eq!(shelf.unload("a"), Some(vec!["1.0.0".into()]));
    assert_eq!((shelf.loaded(), shelf.bytes()), (1, 40));
}

#[test]
fn who_waits_for_a_load_shares_it() {
    let (mut shelf, now) = (shelf(100, &[("a", "1.0.0", 1)]), Instant::now());
    let Ok(Taken::Load(job, _)) = shelf.take("a", None, now) else { panic!() };
    let Ok(Taken::Wait(waiting)) = shelf.take("a", None, now) else { panic!() };
    job.tell.send(load(&mut shelf, &job, &[], now).into()).unwrap();
    assert_eq!(*waiting.borrow(), Some(Ok("1.0.0".into())));
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u8, Option<u8>),
    Folder(Vec<(u8, u8, u8)>),
    Unload(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..4, proptest::option::of(0u8..4)).prop_map(|(name, version)| Step::Ask(name, version)),
        1 => proptest::collection::vec((0u8..4, 0u8..4, 1u8..6), 0..8).prop_map(Step::Folder),
        1 => (0u8..4).prop_map(Step::Unload),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// What is loaded never needs more than the budget, and who asks for what is there and loads gets it.
    #[test]
    fn the_budget_holds_and_who_asks_is_answered(steps in steps(), broken in 0u8..4) {
        let (mut shelf, now) = (Shelf::new(10), Instant::now());
        let broken = format!("{broken}.0.0");
        let mut there = Listing::new();
        for step in steps {
            match step {
                Step::Folder(versions) => {
                    let text = |number: u8| format!("{number}.0.0");
                    let owned: Vec<_> = versions.iter().map(|(n, v, b)| (n.to_string(), text(*v), u64::from(*b))).collect();
                    let listed: Vec<_> = owned.iter().map(|(n, v, b)| (&**n, &**v, *b)).collect();
                    there = listing(&listed);
                    for job in shelf.replace(there.clone()).0 {
                        let _ = load(&mut shelf, &job, &[&broken], now);
                        prop_assert!(shelf.bytes() <= 10);
                    }
                }
                Step::Ask(name, version) => {
                    let (name, version) = (name.to_string(), version.map(|v| format!("{v}.0.0")));
                    let asked = ask(&mut shelf, &name, version.as_deref(), &[&broken], now);
                    let versions: Vec<String> = there.get(&name).into_iter().flatten().map(|(v, _)| v.to_string()).collect();
                    match (&asked, &version) {
                        (Ok(model), Some(version)) => prop_assert_eq!(model, version),
                        (Ok(model), None) => prop_assert!(*model != broken),
                        (Err(NotThere::Model), _) => prop_assert!(versions.is_empty()),
                        (Err(NotThere::Version), Some(version)) => prop_assert!(!versions.contains(version)),
                        (Err(NotThere::Version), None) => prop_assert!(false, "a name without versions is none"),
                        (Err(NotThere::Broken(_)), _) => prop_assert!(versions.contains(&broken)),
                    }
                }
                Step::Unload(name) => {
                    shelf.unload(&name.to_string());
                }
            }
            prop_assert!(shelf.bytes() <= 10);
        }
    }
}
