//! Do two histograms come from the same distribution, and if not, where do they differ?

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::peak::Peak;
use super::{SequentialError, Stratum, bits, fisher, log_sum_exp};

/// Leaves of the tree.
const LEAVES: usize = 16;
/// Its inner nodes, numbered from 1 as in a heap: the children of i are 2i and 2i + 1.
const NODES: usize = LEAVES - 1;
/// Levels of inner nodes.
const LEVELS: usize = LEAVES.ilog2() as usize;
/// Odds ratios that each node bets on: a third more or less, and two and a half times.
const LOGS: [f64; RATIOS] = [-0.9, -0.3, 0.3, 0.9];
const RATIOS: usize = 4;
/// Prior of "this node differs" in the product over nodes.
const DIFFERS: f64 = 0.25;

static ODDS: LazyLock<[f64; RATIOS]> = LazyLock::new(|| LOGS.map(f64::exp));

/// Which cells of a histogram make up each leaf, fixed before the test begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaves {
    /// First cell after each leaf but the last, ascending; a leaf may be empty.
    ends: [u16; LEAVES - 1],
}

impl Leaves {
    /// Cuts the cells where the reference's cumulative count first reaches each sixteenth; without a
    /// reference (all zero) into even runs of cells. Every leaf is a run of neighbouring cells; up to 65,535.
    ///
    /// What the test compares must not have been part of the reference.
    #[must_use]
    pub fn cut(reference: &[u64]) -> Self {
        let total: u64 = reference.iter().sum();
        let mut ends = [0; LEAVES - 1];
        let (mut cell, mut below) = (0, 0u128);
        for (i, end) in ends.iter_mut().enumerate() {
            let sixteenths = i + 1;
            if total == 0 {
                cell = reference.len() * sixteenths / LEAVES;
            } else {
                while cell < reference.len()
                    && below * (LEAVES as u128) < u128::from(total) * sixteenths as u128
                {
                    below += u128::from(reference[cell]);
                    cell += 1;
                }
            }
            *end = u16::try_from(cell).unwrap_or(u16::MAX);
        }
        Self { ends }
    }

    /// The counts of each node of the heap: its inner nodes at 1..16, its leaves at 16..32.
    fn fill(&self, cells: &[u64]) -> [u64; 2 * LEAVES] {
        let mut nodes = [0; 2 * LEAVES];
        let mut leaf = 0;
        for (i, &count) in cells.iter().enumerate() {
            while leaf < LEAVES - 1 && i >= usize::from(self.ends[leaf]) {
                leaf += 1;
            }
            nodes[LEAVES + leaf] += count;
        }
        for i in (1..LEAVES).rev() {
            nodes[i] = nodes[2 * i] + nodes[2 * i + 1];
        }
        nodes
    }

    /// The cells of each of the inner node's halves, as first cell and first after the last.
    fn halves(&self, node: usize) -> [(usize, usize); 2] {
        [2 * node, 2 * node + 1].map(|child| {
            let depth = child.ilog2() as usize;
            let width = LEAVES >> depth;
            let first = (child - (1 << depth)) * width;
            let from = if first == 0 { 0 } else { usize::from(self.ends[first - 1]) };
            let to = self.ends.get(first + width - 1).map_or(usize::from(u16::MAX), |end| usize::from(*end));
            (from, to)
        })
    }
}

/// An e-process for the null "both arms' items are exchangeable": same confidence, classes or features. It
/// holds or alerts (S1).
///
/// At each inner node of a balanced dyadic tree over 16 leaves, the items of an interval that reach it go left or
/// right. Given what each arm sent there and how many went left, those of the candidate that did are
/// hypergeometric under the null; the node bets on odds ratios on either side of 1, evenly. As the nodes below
/// are conditioned on the counts above, the likelihoods of all nodes multiply (the sequential form of
/// Ma & Wong, *Coupling optional Polya trees*, 2011). So both of these are e-processes, and so is E, their mean:
///
/// - the mean over nodes of each node's mixture, all levels with equal weight: finds one place that differs;
/// - the product over nodes of 3/4 + 1/4 of it, that is each node differs or not, independently: finds many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    leaves: Leaves,
    /// ln L(odds)/L(1) of the nodes 1..16, four odds each.
    #[serde(with = "bits")]
    evidence: [f64; NODES * RATIOS],
    peak: Peak,
}

impl Tree {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(leaves: Leaves) -> Self {
        Self { leaves, evidence: [0.0; NODES * RATIOS], peak: Peak::default() }
    }

    /// Takes the histograms of an interval, on the same cells.
    ///
    /// # Errors
    /// Counts above [`super::MAX_COUNT`]; then nothing changes.
    pub fn observe(&mut self, candidate: &[u64], stable: &[u64]) -> Result<(), SequentialError> {
        let (ours, theirs) = (self.leaves.fill(candidate), self.leaves.fill(stable));
        let at = |i: usize| {
            let left = 2 * i;
            Stratum { x: ours[left], n: ours[i], x_stable: theirs[left], n_stable: theirs[i], split: None }
        };
        // The root holds all: if its counts are in range, those of all nodes are.
        at(1).check()?;
        for (node, evidence) in self.evidence.chunks_exact_mut(RATIOS).enumerate() {
            let stratum = at(node + 1);
            if stratum.informs() {
                let gained = fisher::log_likelihoods(&stratum, (1.0, &ODDS), (0.0, &LOGS));
                evidence.iter_mut().zip(gained).for_each(|(evidence, gained)| *evidence += gained);
            }
        }
        self.peak.raise(self.log_e());
        Ok(())
    }

    /// ln of each node's mixture.
    fn nodes(&self) -> [f64; NODES] {
        std::array::from_fn(|node| {
            let evidence = &self.evidence[node * RATIOS..(node + 1) * RATIOS];
            log_sum_exp(evidence.iter().copied()) - (RATIOS as f64).ln()
        })
    }

    /// ln E by now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let nodes = self.nodes();
        let weighted = nodes.iter().enumerate().map(|(i, log)| {
            let on_level = 1 << (i + 1).ilog2();
            log - ((LEVELS * on_level) as f64).ln()
        });
        let (same, differs) = ((1.0 - DIFFERS).ln(), DIFFERS.ln());
        let product = nodes.iter().map(|log| log_sum_exp([same, differs + log].into_iter())).sum();
        log_sum_exp([log_sum_exp(weighted), product].into_iter()) - 2f64.ln()
    }

    /// The always-valid p-value: 1 / the largest E so far.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        self.peak.p_value()
    }

    /// Whether E ever reached 1/level.
    #[must_use]
    pub fn crossed(&self, level: f64) -> bool {
        self.peak.crossed(level)
    }

    /// Where the arms differ most: the two runs of cells, as first cell and first after the last, between which
    /// their items are shared differently, and ln of that node's evidence.
    #[must_use]
    pub fn strongest(&self) -> ([(usize, usize); 2], f64) {
        let nodes = self.nodes();
        let best = (0..NODES).fold(0, |best, i| if nodes[i] > nodes[best] { i } else { best });
        (self.leaves.halves(best + 1), nodes[best])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_mass_is_cut_into_even_leaves() {
        let leaves = Leaves::cut(&[7; 64]);
        assert_eq!(leaves, Leaves::cut(&[0; 64]), "as without a reference");
        let nodes = leaves.fill(&[1; 64]);
        assert_eq!((nodes[1], nodes[2], nodes[7], nodes[16], nodes[31]), (64, 32, 16, 4, 4));
    }

    #[test]
    fn leaves_hold_every_cell_once_also_few_or_lopsided_ones() {
        for reference in [vec![5, 3], vec![0; 3], [vec![0; 20], vec![1000], vec![1; 100]].concat(), vec![]] {
            let leaves = Leaves::cut(&reference);
            assert!(leaves.ends.is_sorted());
            let counts: Vec<u64> = (1..=reference.len() as u64).collect();
            assert_eq!(leaves.fill(&counts)[1], counts.iter().sum::<u64>(), "{leaves:?}");
        }
    }

    #[test]
    fn the_strongest_node_says_where_items_went() {
        let mut tree = Tree::new(Leaves::cut(&[10; 64]));
        let mut ours = vec![10; 64];
        // Within the cells 32..48, a quarter of those of the lower half moved to the upper.
        ours[32..40].fill(5);
        ours[40..48].fill(15);
        for _ in 0..5 {
            tree.observe(&ours, &[10; 64]).unwrap();
        }
        let (halves, evidence) = tree.strongest();
        assert_eq!(halves, [(32, 40), (40, 48)]);
        assert!(evidence > 10.0 && tree.crossed(1e-3), "{evidence} {}", tree.log_e());
        let json = serde_json::to_string(&tree).unwrap();
        assert_eq!(serde_json::from_str::<Tree>(&json).unwrap(), tree);
    }

    #[test]
    fn counts_out_of_range_change_nothing() {
        let mut tree = Tree::new(Leaves::cut(&[10; 4]));
        assert!(tree.observe(&[1 << 52; 4], &[1; 4]).is_err());
        assert_eq!(tree, Tree::new(Leaves::cut(&[10; 4])));
    }
}
