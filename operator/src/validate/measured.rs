//! Whether what a candidate is to be judged by can be measured in its stages. Pure.

use rollout::Stage;

use super::{Invalid, invalid};

/// Whether each metric that compares with stable is compared with it at any time.
pub(super) fn comparable(
    stages: &[Stage],
    holdback: u8,
    metrics: &[evidence::Metric],
) -> Result<(), Invalid> {
    let copies = stages.iter().any(|stage| stage.mirror > 0);
    let disagreement = metrics.iter().find(|metric| metric.kind == evidence::Kind::Disagreement);
    if let Some(metric) = disagreement.filter(|_| !copies && !stages.is_empty()) {
        let field = format!("spec.analysis.metrics.{}", metric.name);
        return Err(invalid(
            field,
            "disagreement",
            "but no stage copies requests: nothing would ever be compared",
        ));
    }
    let answers = copies || holdback > 0 || stages.iter().any(|stage| stage.weight > 0 || stage.preview);
    let accuracy = metrics.iter().find(|metric| metric.kind == evidence::Kind::Accuracy);
    if let Some(metric) = accuracy.filter(|_| !answers && !stages.is_empty()) {
        return Err(invalid(
            format!("spec.analysis.metrics.{}", metric.name),
            "accuracy",
            "but no stage gives users the candidate's answers or copies their requests: none would ever be labelled",
        ));
    }
    let compares = copies || holdback > 0 || stages.iter().any(|stage| stage.weight > 0);
    match metrics.iter().find(|metric| metric.compares_stable()) {
        Some(metric) if !compares && !stages.is_empty() => Err(invalid(
            format!("spec.analysis.metrics.{}", metric.name),
            "a comparison with stable",
            "but no stage splits or copies requests, and rollback.holdback is 0: nothing would ever be compared",
        )),
        _ => Ok(()),
    }
}

/// Whether each metric can be measured in a shadow of a first deployment, `alone`: there is nobody to compare it with, and
/// nobody gets an answer.
pub(super) fn measurable(alone: bool, metrics: &[evidence::Metric]) -> Result<(), Invalid> {
    let accuracy = metrics.iter().find(|metric| metric.kind == evidence::Kind::Accuracy);
    if let Some(metric) = accuracy.filter(|_| alone) {
        return Err(invalid(
            format!("spec.analysis.metrics.{}", metric.name),
            "accuracy",
            "but nothing is stable yet, and strategy.shadow lets nobody answer: none would ever be labelled",
        ));
    }
    let compares =
        |metric: &&evidence::Metric| metric.compares_stable() || metric.kind == evidence::Kind::Disagreement;
    match metrics.iter().find(compares) {
        Some(metric) if alone => Err(invalid(
            format!("spec.analysis.metrics.{}", metric.name),
            "a comparison with stable",
            "but nothing is stable yet, and strategy.shadow lets nobody answer: set max or min, or drift against reference",
        )),
        _ => Ok(()),
    }
}
