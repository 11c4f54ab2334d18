//! The sequential tests of a spec, with their defaults.

use api::{ChangeTest, HarmTest, OnChange, OnHarm};
use evidence::{Harm, OnBreach, Tests};

use super::labels::Labels;
use super::{Invalid, invalid};

/// The tests that a rollout gets which begins now: that of accuracy where labels are taken.
pub(super) fn tests(written: Option<&api::Sequential>, labels: Labels) -> Result<Tests, Invalid> {
    let mut tests = default(labels);
    let Some(written) = written else { return Ok(tests) };
    tests.errors = harm("errors", written.errors.as_ref(), tests.errors)?;
    tests.latency = harm("latency", written.latency.as_ref(), tests.latency)?;
    tests.low_confidence = harm("lowConfidence", written.low_confidence.as_ref(), tests.low_confidence)?;
    if let Some(accuracy) = written.accuracy.as_ref().filter(|test| test.on_breach != Some(OnHarm::Ignore)) {
        labels.taken("spec.analysis.sequential.accuracy")?;
        tests.accuracy = harm("accuracy", Some(accuracy), tests.accuracy)?;
    } else if written.accuracy.is_some() {
        tests.accuracy = None;
    }
    if let Some(ChangeTest { on_breach: Some(on_breach) }) = written.change {
        tests.change = match on_breach {
            OnChange::Pause => Some(OnBreach::Pause),
            OnChange::Alert => Some(OnBreach::Alert),
            OnChange::Ignore => None,
        };
    }
    Ok(tests)
}

/// Those of a spec that says nothing of them.
pub(super) fn default(labels: Labels) -> Tests {
    // rule: S1
    if labels.are_taken() { Tests::default().with_labels() } else { Tests::default() }
}

fn harm(name: &str, written: Option<&HarmTest>, default: Option<Harm>) -> Result<Option<Harm>, Invalid> {
    let (Some(written), Some(mut test)) = (written, default) else { return Ok(default) };
    if let Some(tolerance) = written.tolerance {
        if !(1.0..=10.0).contains(&tolerance) {
            let field = format!("spec.analysis.sequential.{name}.tolerance");
            return Err(invalid(field, tolerance.to_string(), "must be within 1 and 10"));
        }
        test.tolerance = tolerance;
    }
    match written.on_breach {
        Some(OnHarm::Ignore) => return Ok(None),
        Some(OnHarm::Rollback) => test.on_breach = OnBreach::Rollback,
        Some(OnHarm::Pause) => test.on_breach = OnBreach::Pause,
        Some(OnHarm::Alert) => test.on_breach = OnBreach::Alert,
        None => {}
    }
    Ok(Some(test))
}
