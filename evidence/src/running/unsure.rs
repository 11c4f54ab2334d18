//! Answers that are less sure than on the reference profile: each arm is compared with its own.

use serde::{Deserialize, Serialize};
use wire::{Counts, Grid, Profile};

use super::reading::Look;
use super::test::Test;
use crate::text::number;
use crate::{Interval, Reading, References, Stratum, clopper_pearson};

/// Share of a profile's images that counts as unsure.
const UNSURE: f64 = 0.05;

/// The test of low confidence. Models differ in calibration, so that one confidence is no measure for both: an
/// answer is unsure if its confidence is below what about 95 % of the images of *its own* model's profile
/// reached, and harm is that the candidate's rate of such answers rises against its profile by more than
/// stable's does against its own, by more than the tolerance. What profiles of finite size leave open about
/// their rates is added to the tolerance, at half of the test's level (Clopper-Pearson); the other half is the
/// process's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Unsure {
    /// First unsure cells of [`Grid::Doubt`]: the candidate's and stable's.
    cells: (usize, usize),
    test: Test,
}

/// The first unsure cell of a profile, and how many of its images lie there or beyond.
fn unsure(profile: &Profile) -> Option<(usize, u64)> {
    profile.check().ok()?;
    let wanted = UNSURE * profile.images as f64;
    let mut beyond = 0;
    for (cell, count) in profile.confidence.iter().enumerate().rev() {
        beyond += count;
        if beyond > 0 && beyond as f64 >= wanted {
            return Some((cell, beyond));
        }
    }
    None
}

fn odds(share: f64) -> f64 {
    share / (1.0 - share)
}

/// Part of a test's level that is spent on the profiles; the rest is the process's.
const PROFILES_PART: f64 = 0.5;

impl Unsure {
    /// Once both profiles are known. `None` until then, and for profiles without images.
    pub(super) fn new(references: References<'_>, tolerance: f64, level: f64) -> Option<Self> {
        let (ours, theirs) = (references.candidate?, references.stable?);
        let ((cell, x), (cell_stable, y)) = (unsure(ours)?, unsure(theirs)?);
        // Two one-sided limits, each at half of the part.
        let (_, most) = clopper_pearson(x, ours.images, PROFILES_PART * level);
        let (least, _) = clopper_pearson(y, theirs.images, PROFILES_PART * level);
        let widened = tolerance * (odds(most) / odds(least)).max(1.0);
        // Profiles of a few images say nothing of a rate.
        (widened <= 100.0).then(|| Self { cells: (cell, cell_stable), test: Test::new(widened) })
    }

    pub(super) fn observe(&mut self, interval: &Interval) {
        let beyond = |counts: &Counts, cell: usize| {
            (counts.doubt[cell..].iter().sum::<u64>(), counts.doubt.iter().sum::<u64>())
        };
        let (x, n) = beyond(&interval.candidate, self.cells.0);
        let (x_stable, n_stable) = beyond(&interval.stable, self.cells.1);
        self.test.observe(Stratum { x, n, x_stable, n_stable, split: None }.by_units());
    }

    pub(super) fn observe_slots(&mut self, stratum: Stratum) {
        self.test.observe_slots(stratum);
    }

    /// First unsure cells: the candidate's and stable's.
    pub(super) fn cells(&self) -> (usize, usize) {
        self.cells
    }

    pub(super) fn reading(&self, look: &Look) -> Reading {
        let below = |cell: usize| number(1.0 - Grid::Doubt.edge(cell.saturating_sub(1)).min(1.0));
        let (ours, theirs) = (below(self.cells.0), below(self.cells.1));
        Look { level: (1.0 - PROFILES_PART) * look.level, ..*look }.harm(&self.test, &|totals| {
            format!(
                "{} are less sure than {ours}, of stable's {} less than {theirs}",
                totals.ours("items"),
                totals.theirs()
            )
        })
    }
}

/// Why the test does not run.
pub(super) fn lack(references: References<'_>) -> &'static str {
    match (references.candidate, references.stable) {
        (None, _) => "the candidate's server has shown no reference profile",
        (_, None) => "stable's server has shown no reference profile",
        _ => "a reference profile holds too few images to compare with, or no usable counts",
    }
}
