//! The sentence that explains a reading.

use jiff::SignedDuration;

use crate::judge::compare::{Comparison, Finding, unit};
use crate::text::{count, number, seconds};
use crate::{Against, Bound, Interval, Kind, Metric, Statistic};

/// The whole sentence of a comparison.
pub(super) fn sentence(
    metric: &Metric,
    found: &Comparison,
    window: &Interval,
    check: u64,
    level: f64,
    note: Option<&str>,
) -> String {
    let finding = beyond(metric, found);
    let samples = match found.n_stable {
        Some(stable) => format!("{}/{}", count(found.n), count(stable)),
        None => count(found.n),
    };
    let slots = match (found.slots, found.n_stable) {
        (Some((ours, theirs)), Some(_)) => format!(" of {}/{} slots", count(ours), count(theirs)),
        (Some((ours, _)), None) => format!(" of {} slots", count(ours)),
        (None, _) => String::new(),
    };
    let level = if level == 0.0 { "raw".to_owned() } else { format!("level {}", number(level)) };
    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
    format!(
        "{}: {} is {} over {samples} {}{slots} in {}, {finding} (check {check}, {level}){note}",
        metric.name,
        measured(metric),
        show(metric, found.value),
        unit(metric.kind),
        span(window.to.duration_since(window.from)),
    )
}

/// Where the value lies, and what is proven of that.
fn beyond(metric: &Metric, found: &Comparison) -> String {
    let show = |value: f64| show(metric, value);
    let threshold = show(found.threshold);
    if matches!(metric.bound, Bound::Min(_)) {
        return match (found.finding, found.high) {
            (Finding::Within, _) => format!("at least {threshold}"),
            (Finding::Breach, Some(high)) => {
                format!("below {threshold} even at its upper limit {}", show(high))
            }
            (Finding::Unclear, Some(high)) => {
                format!("below {threshold}, but its upper limit is {}", show(high))
            }
            (Finding::Breach | Finding::Unclear, None) => format!("below {threshold}"),
        };
    }
    match (found.finding, found.critical, found.low) {
        (Finding::Within, ..) if metric.bound == Bound::Noise => {
            format!("within noise, which may reach {threshold}")
        }
        (Finding::Breach, ..) if metric.bound == Bound::Noise => {
            format!("above the critical value {threshold}")
        }
        (Finding::Within, ..) => format!("within {threshold}"),
        (Finding::Breach, Some(critical), _) => {
            format!("above {threshold} and above the critical value {}", show(critical))
        }
        (Finding::Breach, None, Some(low)) => {
            format!("above {threshold} even at its lower limit {}", show(low))
        }
        (Finding::Breach, None, None) => format!("above {threshold}"),
        (Finding::Unclear, ..) if found.value <= found.threshold => {
            format!("too slow for the grid to tell whether it is within {threshold}")
        }
        (Finding::Unclear, Some(critical), _) => {
            format!("above {threshold}, but noise alone may reach {}", show(critical))
        }
        (Finding::Unclear, None, Some(low)) => {
            format!("above {threshold}, but its lower limit is {}", show(low))
        }
        (Finding::Unclear, None, None) => {
            format!("above {threshold}, but stable has no upper limit for this n")
        }
    }
}

/// Why a window does not suffice.
pub(super) fn short(n: u64, n_stable: Option<u64>, needed: u64, unit: &str, window: &Interval) -> String {
    let span = span(window.to.duration_since(window.from));
    match n_stable {
        Some(stable) => format!(
            "{} {unit} of the candidate and {} of stable in {span}, {} of each needed",
            count(n),
            count(stable),
            count(needed)
        ),
        None => format!("{} {unit} in {span}, {} needed", count(n), count(needed)),
    }
}

fn measured(metric: &Metric) -> String {
    let ratio = if matches!(metric.bound, Bound::MaxRatio(_)) { " over stable's" } else { "" };
    match metric.kind {
        Kind::ErrorRate => format!("error rate{ratio}"),
        Kind::InvalidInputRate => format!("rate of rejected inputs{ratio}"),
        Kind::NullOutputRate => format!("rate of withheld answers{ratio}"),
        Kind::Disagreement => "disagreement with stable".to_owned(),
        Kind::Accuracy if metric.compares_stable() => "accuracy lost against stable".to_owned(),
        Kind::Accuracy => "accuracy by labels".to_owned(),
        Kind::Latency { quantile } => format!("latency p{}{ratio}", number(100.0 * quantile)),
        Kind::Drift { series, statistic, against } => {
            let statistic = match statistic {
                Statistic::Psi => "PSI",
                Statistic::Ks => "KS",
                Statistic::ChiSquare => "chi-square",
                Statistic::G => "G",
                Statistic::JensenShannon => "Jensen-Shannon distance",
                Statistic::Wasserstein => "Wasserstein distance",
                Statistic::Hellinger => "Hellinger distance",
                Statistic::LInfinity => "largest difference",
            };
            let series = series.as_str();
            let against = match against {
                Against::Reference => "the reference",
                Against::Stable => "stable",
            };
            // A metric is often named after its series: once is enough.
            if metric.name == series {
                format!("{statistic} against {against}")
            } else {
                format!("{statistic} of {series} against {against}")
            }
        }
    }
}

fn show(metric: &Metric, value: f64) -> String {
    match (metric.bound, metric.kind) {
        (Bound::MaxRatio(_), _) => format!("{} times", number(value)),
        (Bound::MaxDrop(_), _) => format!("{} points", number(100.0 * value)),
        (
            _,
            Kind::ErrorRate
            | Kind::InvalidInputRate
            | Kind::NullOutputRate
            | Kind::Disagreement
            | Kind::Accuracy,
        ) => {
            format!("{} %", number(100.0 * value))
        }
        (_, Kind::Latency { .. }) => seconds(value),
        (_, Kind::Drift { .. }) => number(value),
    }
}

/// A duration for people, to the second above one second.
pub(crate) fn span(duration: SignedDuration) -> String {
    let whole = if duration.abs() < SignedDuration::from_secs(1) {
        SignedDuration::from_millis(duration.as_millis() as i64)
    } else {
        SignedDuration::from_secs((duration.as_millis_f64() / 1000.0).round() as i64)
    };
    format!("{whole:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(span(SignedDuration::from_millis(44_600)), "45s");
        assert_eq!(span(SignedDuration::from_secs(300)), "5m");
        assert_eq!(span(SignedDuration::from_millis(250)), "250ms");
    }
}
