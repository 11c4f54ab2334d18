//! The sentence that explains a conclusion.

use super::{Comparison, Conclusion, Direction, Hypothesis, MISMATCH, Mode, Observed};
use crate::Measured;
use crate::text::{count, number};

/// The whole sentence.
pub(super) fn sentence(
    hypothesis: &Hypothesis,
    observed: &Observed,
    found: Option<Comparison>,
    conclusion: Conclusion,
    look: bool,
    required: [u64; 2],
    mismatch: f64,
) -> String {
    let Hypothesis { metric, significance, .. } = hypothesis;
    let [ours, theirs] = observed.n().map(count);
    let planned = format!("{}/{}", count(required[0]), count(required[1]));
    let values = values(observed).map(|values| format!("{values} ")).unwrap_or_default();
    let numbers = found.map(|found| format!(", difference {}", interval(observed, found.difference)));
    let said = match (conclusion, found) {
        (Conclusion::Frozen, _) => format!(
            "frozen: the arms did not get their shares of the traffic (e-value {}, limit {MISMATCH})",
            number(mismatch)
        ),
        (_, None) if look => "too few for a comparison".to_owned(),
        (Conclusion::Undecided, _) if !look => format!("the one look comes at {planned} samples"),
        (Conclusion::Win, Some(found)) => {
            format!("{} is shown (p {})", kind(hypothesis), number(found.p))
        }
        (Conclusion::Lose, _) => format!("{} is ruled out", worthwhile(hypothesis, observed)),
        (Conclusion::Undecided | Conclusion::Win, _) => {
            format!(
                "neither is {} shown nor one of {} ruled out",
                kind(hypothesis),
                effect(hypothesis, observed)
            )
        }
    };
    let mode = match hypothesis.mode {
        Mode::Fixed => "one look",
        Mode::Sequential => "any number of looks",
    };
    format!(
        "{metric}: {values}over {ours}/{theirs} samples{}: {said} ({planned} planned, significance {}, {mode})",
        numbers.unwrap_or_default(),
        number(*significance)
    )
}

fn kind(hypothesis: &Hypothesis) -> &'static str {
    match hypothesis.direction {
        Direction::Increase => "an increase",
        Direction::Decrease => "a decrease",
    }
}

fn worthwhile(hypothesis: &Hypothesis, observed: &Observed) -> String {
    format!("{} of {} or more", kind(hypothesis), effect(hypothesis, observed))
}

fn effect(hypothesis: &Hypothesis, observed: &Observed) -> String {
    match observed {
        Observed::Shares { .. } => format!("{} points", number(100.0 * hypothesis.minimum_effect)),
        Observed::Means { .. } => number(hypothesis.minimum_effect),
    }
}

/// `None` when an arm is empty.
fn values(observed: &Observed) -> Option<String> {
    match observed {
        Observed::Shares { candidate, stable } => {
            let percent = |share: f64| number(100.0 * share);
            Some(format!("{} % against {} %", percent(candidate.value()?), percent(stable.value()?)))
        }
        Observed::Means { candidate, stable } => (candidate.n() > 0 && stable.n() > 0)
            .then(|| format!("{} against {}", number(candidate.mean()), number(stable.mean()))),
    }
}

fn interval(observed: &Observed, difference: Measured) -> String {
    let (scale, unit) = match observed {
        Observed::Shares { .. } => (100.0, " points"),
        Observed::Means { .. } => (1.0, ""),
    };
    let show = |value: f64| number(scale * value);
    format!("{}{unit} ({} to {})", show(difference.value), show(difference.low), show(difference.high))
}
