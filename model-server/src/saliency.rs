//! What a model looks at: parts of an image are covered one after the other, and where that costs the class most
//! probability, there it was seen (Zeiler & Fergus, *Visualizing and Understanding Convolutional Networks*, 2014, §4.2).
//! Of a model it asks nothing but answers, so it works with every engine. Pure.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// Most cells along a side.
const CELLS: u32 = 8;
/// How much of a cell's side is covered beyond it, on each side: what is cut in two by the grid is covered whole by some
/// patch.
const MARGIN: f64 = 0.5;
/// Smallest side of a picture, in pixels: smaller images are shown larger.
const SIDE: u32 = 256;

/// A grid over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Grid {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

impl Grid {
    /// That of an image of this size, which has at least one pixel.
    pub(crate) fn of(width: u32, height: u32) -> Self {
        Self { columns: width.min(CELLS), rows: height.min(CELLS) }
    }

    pub(crate) fn cells(self) -> usize {
        (self.columns * self.rows) as usize
    }

    /// The image once for each cell, row by row, with the cell and a margin covered in the image's mean colour.
    pub(crate) fn covered(self, image: &RgbImage) -> impl Iterator<Item = RgbImage> {
        let (width, height) = image.dimensions();
        let mean = mean(image);
        let span = |cell: u32, cells: u32, side: u32| {
            let length = f64::from(side) / f64::from(cells);
            let from = (f64::from(cell) - MARGIN) * length;
            let to = (f64::from(cell + 1) + MARGIN) * length;
            (from.max(0.0).round() as u32, (to.round() as u32).min(side))
        };
        let cells = (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| (row, column)));
        cells.map(move |(row, column)| {
            let ((left, right), (top, bottom)) =
                (span(column, self.columns, width), span(row, self.rows, height));
            let mut covered = image.clone();
            for y in top..bottom {
                for x in left..right {
                    covered.put_pixel(x, y, mean);
                }
            }
            covered
        })
    }
}

fn mean(image: &RgbImage) -> Rgb<u8> {
    let mut sums = [0u64; 3];
    for pixel in image.pixels() {
        for (sum, value) in sums.iter_mut().zip(pixel.0) {
            *sum += u64::from(value);
        }
    }
    let pixels = u64::from(image.width()) * u64::from(image.height());
    Rgb(sums.map(|sum| ((sum + pixels / 2) / pixels.max(1)) as u8))
}

/// The image in grey, and over it in red how much of the class's probability each cell holds (`drops`, row by row; what is
/// below 0 counts as 0). Small images are enlarged by a whole factor.
pub(crate) fn picture(image: &RgbImage, grid: Grid, drops: &[f64]) -> RgbImage {
    let factor = SIDE.div_ceil(image.width().max(image.height())).max(1);
    let (width, height) = (image.width() * factor, image.height() * factor);
    let large = imageops::resize(image, width, height, FilterType::Nearest);
    let most = drops.iter().copied().filter(|drop| drop.is_finite()).fold(0.0, f64::max);
    let heat = |x: u32, y: u32| {
        if most > 0.0 { (level(grid, drops, (x, y), (width, height)) / most).clamp(0.0, 1.0) } else { 0.0 }
    };
    RgbImage::from_fn(width, height, |x, y| {
        let [r, g, b] = large.get_pixel(x, y).0.map(f64::from);
        let grey = 0.3 * r + 0.6 * g + 0.1 * b;
        let heat = 0.75 * heat(x, y);
        let mix = |colour: f64| (grey * (1.0 - heat) + colour * heat).round() as u8;
        Rgb([mix(255.0), mix(40.0), mix(0.0)])
    })
}

/// Between the centres of cells, linearly.
fn level(grid: Grid, drops: &[f64], (x, y): (u32, u32), (width, height): (u32, u32)) -> f64 {
    let along = |at: u32, side: u32, cells: u32| {
        let place = (f64::from(at) + 0.5) / f64::from(side) * f64::from(cells) - 0.5;
        let place = place.clamp(0.0, f64::from(cells - 1));
        let first = place.floor();
        (first as u32, (first as u32 + 1).min(cells - 1), place - first)
    };
    let (left, right, across) = along(x, width, grid.columns);
    let (top, bottom, down) = along(y, height, grid.rows);
    let drop = |column: u32, row: u32| {
        let drop = drops[(row * grid.columns + column) as usize];
        if drop.is_finite() { drop.max(0.0) } else { 0.0 }
    };
    let upper = drop(left, top) * (1.0 - across) + drop(right, top) * across;
    let lower = drop(left, bottom) * (1.0 - across) + drop(right, bottom) * across;
    upper * (1.0 - down) + lower * down
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_covered_and_the_patches_overlap() {
        for (width, height) in [(32, 32), (4, 4), (1, 1), (33, 7), (224, 100)] {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, 200]));
            let grid = Grid::of(width, height);
            let covered: Vec<RgbImage> = grid.covered(&image).collect();
            assert_eq!(covered.len(), grid.cells());
            let mean = mean(&image);
            for (x, y, pixel) in image.enumerate_pixels() {
                let times = covered.iter().filter(|covered| *covered.get_pixel(x, y) == mean).count();
                assert!(times >= 1, "{width}x{height}: {x} {y}");
                // What is not covered stays as it is.
                assert!(covered.iter().all(|c| *c.get_pixel(x, y) == mean || c.get_pixel(x, y) == pixel));
            }
        }
    }

    #[test]
    fn the_picture_is_red_where_the_class_was_seen() {
        let image = RgbImage::from_pixel(32, 32, Rgb([100; 3]));
        let grid = Grid::of(32, 32);
        let mut drops = vec![-0.2; grid.cells()];
        drops[8 * 2 + 5] = 0.4;
        let picture = picture(&image, grid, &drops);
        assert_eq!(picture.dimensions(), (256, 256));
        let red = |x, y| i32::from(picture.get_pixel(x, y).0[0]) - i32::from(picture.get_pixel(x, y).0[2]);
        let (centre, far) = (red(5 * 32 + 16, 2 * 32 + 16), red(16, 240));
        assert!(centre > 180 && far == 0, "{centre} {far}");
        assert!(red(5 * 32 + 16 + 24, 2 * 32 + 16) < centre, "it fades");
        // Nothing was seen anywhere: no red, and no division by nothing.
        for drops in [vec![0.0; 64], vec![-1.0; 64], vec![f64::NAN; 64]] {
            let plain = super::picture(&image, grid, &drops);
            assert!(plain.pixels().all(|pixel| pixel.0 == [100; 3]), "{drops:?}");
        }
    }
}
