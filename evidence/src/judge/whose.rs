//! Whose drift it is: the candidate's, or the world's (J5).

use wire::Profile;

use super::compare::{Comparison, Finding, reference_of, sample};
use super::drift::Side;
use super::{Judging, Ruling};
use crate::text::number;
use crate::{Against, Interval, Kind, Metric, OnBreach, Verdict};

impl Judging<'_> {
    /// Drift from the reference that stable shows as well means that the world moved: an alert. So does drift
    /// without any control group (J5, S3). While stable's side is unclear the verdict waits.
    pub(super) fn whose_drift(
        &self,
        metric: &Metric,
        window: &Interval,
        level: f64,
        ruling: Ruling,
    ) -> Ruling {
        let Kind::Drift { series, against: Against::Reference, .. } = metric.kind else { return ruling };
        // rule: J5
        // Models differ in calibration: stable's answers have a reference of their own.
        let profile = if series.is_input() { self.references.candidate } else { self.references.stable };
        let holds = |p: &&Profile| p.check().is_ok() && p.images > 0 && Side::of_profile(series, p).is_some();
        let control = profile.filter(holds).map(|p| {
            let swapped = Interval { candidate: window.stable.clone(), ..window.clone() };
            let n = sample(metric, &swapped).n;
            ((n > 0).then(|| reference_of(metric, &swapped, p, level)).flatten(), n)
        });
        let alert = |note: &str| Ruling {
            on_breach: Some(OnBreach::Alert),
            note: Some(note.to_owned()),
            verdict: ruling.verdict,
        };
        let wait = |note: String| Ruling { note: Some(note), ..Ruling::new(Verdict::Inconclusive) };
        match control {
            None if profile.is_some_and(|p| p.check().is_ok() && p.images > 0) => alert(&format!(
                "stable's profile holds no {} to tell drift of the world from drift of the candidate",
                series.as_str()
            )),
            None => alert("stable has no profile to tell drift of the world from drift of the candidate"),
            Some((None, _)) => {
                alert("stable has no samples to tell drift of the world from drift of the candidate")
            }
            Some((_, n)) if n < metric.min_samples => wait(format!(
                "waiting for stable to tell whose drift it is: {n} of {} samples",
                metric.min_samples
            )),
            Some((Some(Comparison { finding: Finding::Breach, value, .. }), _)) => {
                alert(&format!("stable drifts as well, {}: the world moved", number(value)))
            }
            Some((Some(Comparison { finding: Finding::Unclear, value, .. }), _)) => {
                wait(format!("stable may drift as well, {}, but that may be noise", number(value)))
            }
            Some((Some(Comparison { finding: Finding::Within, .. }), _)) => ruling,
        }
    }
}
