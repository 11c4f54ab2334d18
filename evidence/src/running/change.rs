//! Whether anything about the answers or the inputs is distributed otherwise than stable's.

use serde::{Deserialize, Serialize};
use wire::{CELLS, Counts, FEATURES};

use super::reading::Look;
use crate::judge::range_name;
use crate::sequential::log_sum_exp;
use crate::sequential::peak::Peak;
use crate::text::{count, number};
use crate::{Interval, Leaves, Reading, Series, Tree, Verdict};

/// Classes that are told apart, as far as their names fit; all others are one.
const CLASSES: usize = 256;
/// Bytes of names that are kept.
const NAMES: usize = 6 * 1024;

/// A tree each for confidence, classes and [`FEATURES`]; the test is the mean of their e-processes. The later features have none: each
/// tree takes power from the others, and two versions that are drawn at random get images of the same colours and sizes. Entropy
/// says what confidence says, and energies of two models may differ by any constant without any change of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    /// Classes in the order of their cells.
    classes: Vec<String>,
    trees: Vec<Tree>,
    n: u64,
    n_stable: u64,
    peak: Peak,
}

impl Change {
    /// Leaves are cut where stable's first answers lie.
    pub(super) fn new(stable: &Counts) -> Self {
        let mut bytes = 0;
        let fits = |name: &&String| {
            bytes += name.len();
            bytes <= NAMES
        };
        let classes: Vec<String> = stable.classes.keys().take(CLASSES).take_while(fits).cloned().collect();
        let trees = series(stable, &classes).iter().map(|cells| Tree::new(Leaves::cut(cells))).collect();
        Self { classes, trees, n: 0, n_stable: 0, peak: Peak::default() }
    }

    pub(super) fn observe(&mut self, interval: &Interval) {
        let (ours, theirs) =
            (series(&interval.candidate, &self.classes), series(&interval.stable, &self.classes));
        for (tree, (ours, theirs)) in self.trees.iter_mut().zip(ours.iter().zip(&theirs)) {
            // Counts beyond 2^53 say nothing.
            let _ = tree.observe(ours, theirs);
        }
        self.n += ours[0].iter().sum::<u64>();
        self.n_stable += theirs[0].iter().sum::<u64>();
        self.peak.raise(self.log_e());
    }

    fn log_e(&self) -> f64 {
        log_sum_exp(self.trees.iter().map(Tree::log_e)) - (self.trees.len() as f64).ln()
    }

    pub(super) fn reading(&self, look: &Look) -> Reading {
        if self.n == 0 || self.n_stable == 0 {
            let why = format!("{} items of the candidate and {} of stable so far", self.n, self.n_stable);
            return look.silent(look.level, &why);
        }
        let (p, proven) = (self.peak.p_value(), self.peak.crossed(look.level));
        let samples = format!("{}/{} items", count(self.n), count(self.n_stable));
        let finding = if proven {
            format!("differs from stable, most in {}, over {samples}", self.strongest())
        } else {
            format!("no difference from stable is proven over {samples}")
        };
        Reading {
            verdict: if proven { Verdict::Fail } else { Verdict::Pass },
            // A proof of any difference has no size to be compared with a bound.
            threshold: None,
            n: self.n,
            n_stable: Some(self.n_stable),
            p_value: Some(p),
            reason: format!("{}: {finding} (p {}, level {})", look.name, number(p), number(look.level)),
            ..look.silent(look.level, "")
        }
    }

    /// The part of a series where the arms differ most.
    fn strongest(&self) -> String {
        let best = (0..self.trees.len())
            .max_by(|a, b| self.trees[*a].log_e().total_cmp(&self.trees[*b].log_e()))
            .expect("there are five trees");
        let ([(from, _), (_, to)], _) = self.trees[best].strongest();
        let range = |name: &str, series| format!("{name} of {}", range_name(series, &(from..to.min(CELLS))));
        match best {
            0 => range("confidence", Series::Confidence),
            1 => {
                let names: Vec<&str> = (from..to.min(self.classes.len() + 1))
                    .map(|i| self.classes.get(i).map_or("other", String::as_str))
                    .collect();
                format!("class {}", names.join(", "))
            }
            i => range(FEATURES[i - 2].as_str(), Series::Feature(FEATURES[i - 2])),
        }
    }
}

/// Histograms of confidence, classes and features.
fn series(counts: &Counts, classes: &[String]) -> Vec<Vec<u64>> {
    let known: Vec<u64> = classes.iter().map(|name| counts.classes.get(name).copied().unwrap_or(0)).collect();
    let other = counts.classes.values().sum::<u64>() - known.iter().sum::<u64>();
    let mut all = vec![counts.doubt.clone(), known];
    all[1].push(other);
    all.extend(FEATURES.into_iter().map(|feature| counts.features[feature.index()].clone()));
    all
}
