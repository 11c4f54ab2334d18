//! The fixed grids on which everything is counted, live and at training.
//!
//! Fixed cells make counts of pods, windows and of the reference profile addable and comparable.
//! Changing a grid changes [`GRID_VERSION`]; pages and profiles of another version are refused. A new grid changes
//! nothing that was counted before, and so not the version.

use std::sync::LazyLock;

/// Version of all grids below; written into every page and profile.
pub const GRID_VERSION: u32 = 2;
/// Cells of a feature or confidence grid.
pub const CELLS: usize = 64;
/// Cells of the latency grid; the last one is everything slower than about 60 s.
pub const LATENCY_CELLS: usize = 142;
/// Each cell of the latency grid ends at so many times the end of the one before.
pub const LATENCY_GROWTH: f64 = 1.1;

/// A fixed partition of the real line into cells `(edge(i-1), edge(i)]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// 64 equal cells of 0..=1.
    Unit,
    /// 64 equal cells of 0..=0.5.
    Half,
    /// 64 cells of u = 1 - confidence, logarithmic from 1e-6 to 1: confidence near 1 is where models differ.
    Doubt,
    /// 64 cells of the sharpness, logarithmic from 0.005 to 0.5, of 7 % each: what blurs an image takes a part of it,
    /// whatever it is.
    Sharp,
    /// 142 cells of seconds: from 100 us, each 10 % wider than the one before, the last one open.
    Seconds,
    /// What a copy's confidence is above that of the answer that the user got, -1..=1: 63 equal cells, so that no gap
    /// at all is the middle of one. The 64th stays empty.
    Gap,
    /// A copy's seconds over those of the answer that the user got: 64 cells from 1/18 to 20, each 10 % wider than the
    /// one before, so that 1 is the middle of one; the last one open.
    Ratio,
    /// Pixels of an image: 64 cells, two to an octave, so that powers of two are the middle of one, from one pixel to 2^31;
    /// the last one open. No image has more pixels than a u32 counts, and few cells for sizes that differ much are enough.
    Pixels,
    /// 64 equal cells of -40..=8 nats. Networks of 10 to 1,000 classes have -30 to -5 where they are sure and about -ln(classes)
    /// where they know nothing; a network that gives log-probabilities has 0, and one whose logits are all negative more.
    Energy,
}

impl Grid {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 9] = [
        Self::Unit,
        Self::Half,
        Self::Doubt,
        Self::Sharp,
        Self::Seconds,
        Self::Gap,
        Self::Ratio,
        Self::Pixels,
        Self::Energy,
    ];

    /// The largest value there is of what is counted on it; infinite for seconds and ratios.
    #[must_use]
    pub const fn top(self) -> f64 {
        match self {
            Self::Unit | Self::Doubt | Self::Gap => 1.0,
            Self::Half | Self::Sharp => 0.5,
            Self::Seconds | Self::Ratio => f64::INFINITY,
            Self::Pixels => 4_294_967_296.0,
            Self::Energy => 8.0,
        }
    }

    /// Where the first cell begins, as far as that is of use: smaller values are counted there too.
    #[must_use]
    pub const fn bottom(self) -> f64 {
        match self {
            Self::Gap => -1.0,
            Self::Energy => -40.0,
            _ => 0.0,
        }
    }

    /// Number of cells.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Seconds => LATENCY_CELLS,
            _ => CELLS,
        }
    }

    /// Never true; here because `len` is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Upper edge of cell `i` (inclusive); infinite for the last cell, which takes all that is larger.
    #[must_use]
    pub fn edge(self, i: usize) -> f64 {
        self.edges().get(i).copied().unwrap_or(f64::INFINITY)
    }

    /// Edges, made once.
    fn edges(self) -> &'static [f64] {
        static ALL: LazyLock<[Vec<f64>; Grid::ALL.len()]> =
            LazyLock::new(|| Grid::ALL.map(|grid| (0..grid.len()).map(|i| grid.formula(i)).collect()));
        &ALL[self as usize]
    }

    fn formula(self, i: usize) -> f64 {
        if i + 1 >= self.len() {
            return f64::INFINITY;
        }
        let next = (i + 1) as f64;
        match self {
            Self::Unit => next / 64.0,
            Self::Half => next / 128.0,
            Self::Doubt => 10f64.powf(-6.0 + 6.0 * next / 64.0),
            Self::Sharp => 0.005 * 100f64.powf(next / 64.0),
            Self::Seconds => 1e-4 * LATENCY_GROWTH.powi(i as i32),
            Self::Gap => (2.0 * next - 63.0) / 63.0,
            Self::Ratio => LATENCY_GROWTH.powf(next - 31.5),
            Self::Pixels => 2f64.powf(0.5 * next - 0.25),
            Self::Energy => 0.75 * next - 40.0,
        }
    }

    /// The cell that `x` falls into; `None` for NaN. Values outside of the grid go to the end cells.
    #[must_use]
    pub fn cell(self, x: f64) -> Option<usize> {
        // Seven comparisons are quicker than a logarithm, and the edges themselves decide.
        (!x.is_nan()).then(|| self.edges().partition_point(|edge| *edge < x))
    }

    /// The edge as it is written in a page's `le` label; that of the last cell for all beyond.
    #[must_use]
    pub fn label(self, i: usize) -> &'static str {
        // Made once: every line of a page holds one.
        static ALL: LazyLock<[Vec<String>; Grid::ALL.len()]> = LazyLock::new(|| {
            let label =
                |edge: &f64| if edge.is_infinite() { "+Inf".to_owned() } else { format!("{edge:.6e}") };
            Grid::ALL.map(|grid| grid.edges().iter().map(label).collect())
        });
        &ALL[self as usize][i.min(self.len() - 1)]
    }

    /// The cell whose [`Grid::label`] is `le`.
    #[must_use]
    pub fn find(self, le: &str) -> Option<usize> {
        if le == "+Inf" {
            return Some(self.len() - 1);
        }
        // Labels are rounded, so the neighbour may be the one that was meant.
        let near = self.cell(le.parse().ok()?)?;
        (near.saturating_sub(1)..=near).find(|&i| self.label(i) == le)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_within_its_cell(x in 0.0..200.0f64, small in -9.0..0.0f64) {
            for grid in Grid::ALL {
                for x in [x, -x, 10f64.powf(small), -10f64.powf(small)] {
                    let i = grid.cell(x).unwrap();
                    prop_assert!(x <= grid.edge(i), "{grid:?} {x} {i}");
                    prop_assert!(i == 0 || x > grid.edge(i - 1), "{grid:?} {x} {i}");
                }
            }
        }
    }

    #[test]
    fn labels_name_cells() {
        for grid in Grid::ALL {
            for i in 0..grid.len() {
                assert_eq!(grid.find(grid.label(i)), Some(i), "{grid:?} {i} {}", grid.label(i));
            }
            assert_eq!(grid.find("0.12345"), None);
        }
    }

    #[test]
    fn latency_cells_grow_by_ten_percent_up_to_a_minute() {
        assert!(Grid::Seconds.edge(LATENCY_CELLS - 2) > 60.0);
        assert_eq!(Grid::Seconds.cell(f64::NAN), None);
        assert_eq!(Grid::Seconds.cell(-1.0), Some(0));
    }

    #[test]
    fn what_differs_in_nothing_is_the_middle_of_a_cell() {
        let around = |grid: Grid, x: f64| {
            let cell = grid.cell(x).unwrap();
            (grid.edge(cell - 1), grid.edge(cell))
        };
        let (below, above) = around(Grid::Gap, 0.0);
        assert!((below + above).abs() < 1e-12 && (above - 1.0 / 63.0).abs() < 1e-12, "{below} {above}");
        let (below, above) = around(Grid::Ratio, 1.0);
        assert!(
            (below * above - 1.0).abs() < 1e-12 && (above / below - 1.1).abs() < 1e-12,
            "{below} {above}"
        );
        assert_eq!((Grid::Gap.cell(-1.0), Grid::Gap.cell(1.0)), (Some(0), Some(62)));
        assert_eq!((Grid::Gap.edge(62), Grid::Ratio.cell(0.0)), (1.0, Some(0)));
        let (least, most) = (Grid::Ratio.edge(0), Grid::Ratio.edge(62));
        assert!((1.0 / 19.0..1.0 / 18.0).contains(&least) && (20.0..21.0).contains(&most), "{least} {most}");
        assert_eq!((Grid::Ratio.cell(f64::INFINITY), Grid::Ratio.cell(f64::NAN)), (Some(63), None));
    }

    #[test]
    fn every_size_and_energy_has_a_cell_and_usual_sizes_are_no_edges() {
        for (side, cell) in [(1u64, 0), (28, 19), (32, 20), (224, 31), (256, 32), (4_096, 48)] {
            let pixels = (side * side) as f64;
            assert_eq!(Grid::Pixels.cell(pixels), Some(cell), "{side}");
            assert!(Grid::Pixels.edge(cell) > 1.01 * pixels, "{side}");
        }
        // All that a u32 counts.
        assert_eq!((Grid::Pixels.cell(f64::from(u32::MAX)), Grid::Pixels.top()), (Some(63), 2f64.powi(32)));
        let energy = |x| Grid::Energy.cell(x);
        assert_eq!(
            (energy(-40.0), energy(-1e9), energy(-39.0), energy(0.0)),
            (Some(0), Some(0), Some(1), Some(53))
        );
        assert_eq!((energy(8.0), energy(1e9), energy(f64::NAN)), (Some(63), Some(63), None));
        assert_eq!((Grid::Energy.edge(62), Grid::Energy.bottom()), (7.25, -40.0));
    }
}
