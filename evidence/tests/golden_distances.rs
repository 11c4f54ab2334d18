//! Our distances against those of scipy and numpy (`golden/distances.py`).

use evidence::{
    Distance, DistanceError, chi_square, g_test, hellinger, jensen_shannon, ks, l_infinity, psi, wasserstein,
};
use serde::Deserialize;

type Function = fn(&[u64], &[u64], f64) -> Result<Distance, DistanceError>;

#[derive(Deserialize)]
struct Golden {
    levels: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    ours: Vec<u64>,
    theirs: Vec<u64>,
    values: Vec<f64>,
    freedom: usize,
    chi_square: f64,
    g: f64,
    psi: f64,
    jensen_shannon: f64,
    hellinger: f64,
    ks: f64,
    ks_p: f64,
    wasserstein: f64,
    l_infinity: Option<f64>,
    l_infinity_p: Option<f64>,
    l_infinity_critical: Option<Vec<f64>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/distances.json")).expect("distances.py wrote it")
}

impl Case {
    #[track_caller]
    fn close(&self, ours: f64, theirs: f64, relative: f64, what: &str) {
        // What cancels in theirs leaves 1e-9 of the largest term.
        let far = (ours - theirs).abs() > relative * theirs.abs() + 1e-9;
        assert!(!far, "{what}: {ours} but scipy says {theirs}, {:?} {:?}", self.ours, self.theirs);
    }
}

#[test]
fn the_tests_of_homogeneity_are_those_of_scipy() {
    // rule: J4
    for case in golden().cases {
        let (pearson, g) = (
            chi_square(&case.ours, &case.theirs, 0.05).unwrap(),
            g_test(&case.ours, &case.theirs, 0.05).unwrap(),
        );
        case.close(pearson.value, case.chi_square, 1e-9, "chi-square");
        // scipy sums terms of up to 1e9 that cancel.
        case.close(g.value, case.g, if pearson.n > 1_000_000 { 1e-4 } else { 1e-9 }, "G");
        assert_eq!((pearson.freedom, g.freedom), (Some(case.freedom), Some(case.freedom)), "{case:?}");
    }
}

#[test]
fn distances_of_shares_are_those_of_scipy() {
    // rule: J4
    for case in golden().cases {
        let value = |of: Function| of(&case.ours, &case.theirs, 0.05).unwrap().value;
        case.close(value(psi), case.psi, 1e-9, "PSI");
        // A root: scipy's cancellation of 1e-16 becomes 1e-8.
        let square = |x: f64| x * x;
        case.close(square(value(jensen_shannon)), square(case.jensen_shannon), 1e-9, "Jensen-Shannon");
        case.close(value(hellinger), case.hellinger, 1e-9, "Hellinger");
    }
}

#[test]
fn ks_is_that_of_scipy() {
    for case in golden().cases {
        let found = ks(&case.ours, &case.theirs, 0.05).unwrap();
        case.close(found.value, case.ks, 1e-12, "KS");
        let relative = (found.p_value.unwrap() / case.ks_p - 1.0).abs();
        assert!(relative < 1e-8, "p: {:?} but scipy says {}, {case:?}", found.p_value, case.ks_p);
    }
}

#[test]
fn wasserstein_is_that_of_scipy() {
    for case in golden().cases {
        let found = wasserstein(&case.ours, &case.theirs, &case.values, 0.05).unwrap();
        case.close(found.value, case.wasserstein, 1e-9, "W1");
    }
}

#[test]
fn the_largest_difference_has_the_tails_of_scipy() {
    // rule: J2
    let Golden { levels, cases } = golden();
    for case in &cases {
        let (Some(value), Some(p), Some(critical)) =
            (case.l_infinity, case.l_infinity_p, &case.l_infinity_critical)
        else {
            continue;
        };
        for (level, critical) in levels.iter().zip(critical) {
            let found = l_infinity(&case.ours, &case.theirs, *level).unwrap();
            case.close(found.value, value, 1e-12, "L-infinity");
            // An upper limit where a tail has more terms than are summed.
            let ours = found.p_value.unwrap();
            assert!(ours > p * (1.0 - 1e-9) && ours < p * 1.001, "p: {ours} but scipy says {p}, {case:?}");
            case.close(found.critical.unwrap(), *critical, 1e-9, &format!("critical at {level}"));
        }
    }
}
