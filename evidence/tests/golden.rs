//! Our statistics against those of scipy and numpy (`golden/generate.py`).

use evidence::{chi_square_critical, clopper_pearson, ks_critical};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    clopper_pearson: Vec<Share>,
    chi_square: Vec<ChiSquare>,
    ks_critical: Vec<KsCritical>,
}

#[derive(Deserialize)]
struct Share {
    events: u64,
    trials: u64,
    level: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct ChiSquare {
    freedom: usize,
    level: f64,
    critical: f64,
}

#[derive(Deserialize)]
struct KsCritical {
    n: u64,
    m: u64,
    level: f64,
    critical: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).expect("generate.py wrote it")
}

#[track_caller]
fn close(ours: f64, theirs: f64, relative: f64, what: &str) {
    let error = (ours - theirs).abs() / theirs.abs().max(1e-300);
    assert!(ours == theirs || error <= relative, "{what}: {ours} but scipy says {theirs} ({error:e})");
}

#[test]
fn clopper_pearson_is_that_of_scipy() {
    // rule: J2
    for Share { events, trials, level, low, high } in golden().clopper_pearson {
        let what = format!("{events}/{trials} at {level}");
        let ours = clopper_pearson(events, trials, level);
        close(ours.0, low, 1e-8, &what);
        // Near 1 what matters is the distance from 1.
        close(1.0 - ours.1, 1.0 - high, 1e-6, &what);
    }
}

#[test]
fn chi_square_is_that_of_scipy() {
    // rule: J2
    for ChiSquare { freedom, level, critical } in golden().chi_square {
        close(chi_square_critical(freedom, level), critical, 1e-9, &format!("{freedom} at {level}"));
    }
}

#[test]
fn the_critical_value_of_ks_is_that_of_scipy() {
    // rule: J2
    for KsCritical { n, m, level, critical } in golden().ks_critical {
        // Ours is the first term of scipy's series: never below it, and the same where it matters.
        let ours = ks_critical(n, m, level);
        assert!(ours >= critical * (1.0 - 1e-9), "{n} {m} {level}: {ours} < {critical}");
        close(ours, critical, 1e-6, &format!("{n} {m} at {level}"));
    }
}
