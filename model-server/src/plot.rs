//! `training_progress.png`: loss and accuracy, epoch by epoch.

use std::error::Error;
use std::path::Path;
use std::sync::Once;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::train::History;

const SIZE: (u32, u32) = (1200, 520);
const TRAINING: RGBColor = RGBColor(31, 119, 180);
const HELD_OUT: RGBColor = RGBColor(214, 96, 30);
const TEST: RGBColor = RGBColor(44, 140, 60);

type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws a training. The font is in the binary, since an image has none.
///
/// # Errors
/// Says what failed.
pub(crate) fn training(path: &Path, title: &str, history: &History) -> Result<(), String> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        // Fails only for bytes that are no font; then drawing says so.
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    draw(path, title, history).map_err(|error| error.to_string())
}

fn draw(path: &Path, title: &str, history: &History) -> Result<(), Box<dyn Error>> {
    let root = BitMapBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title =
        format!("Training of {title}: {:.1} % of the test images right", 100.0 * history.test_accuracy);
    let root = root.titled(&title, ("sans-serif", 26))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    loss(&left, history)?;
    accuracy(&right, history)?;
    root.present()?;
    Ok(())
}

fn loss(
    area: &DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>,
    history: &History,
) -> Result<(), Box<dyn Error>> {
    let all = history.training_loss.iter().chain(&history.held_out_loss);
    let top = all.copied().fold(0.1, f64::max) * 1.05;
    let mut chart =
        chart(area, "Loss", "mean cross-entropy per image", history, (0.0, top), |v| format!("{v:.2}"))?;
    line(&mut chart, "training images", TRAINING, &history.training_loss)?;
    line(&mut chart, "held-out images", HELD_OUT, &history.held_out_loss)?;
    legend(&mut chart, SeriesLabelPosition::UpperRight)
}

fn accuracy(
    area: &DrawingArea<BitMapBackend<'_>, plotters::coord::Shift>,
    history: &History,
) -> Result<(), Box<dyn Error>> {
    let all = history.held_out_accuracy.iter().chain(std::iter::once(&history.test_accuracy));
    let bottom = (all.copied().fold(1.0, f64::min) * 100.0 - 2.0).max(0.0);
    let percent: Vec<f64> = history.held_out_accuracy.iter().map(|v| v * 100.0).collect();
    let test = vec![history.test_accuracy * 100.0; percent.len()];
    let mut chart =
        chart(area, "Accuracy", "right answers, %", history, (bottom, 100.0), |v| format!("{v:.0}"))?;
    line(&mut chart, "held-out images", HELD_OUT, &percent)?;
    line(&mut chart, "test images (at the end)", TEST, &test)?;
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}

fn chart<'a, 'b>(
    area: &'a DrawingArea<BitMapBackend<'b>, plotters::coord::Shift>,
    caption: &str,
    unit: &str,
    history: &History,
    (bottom, top): (f64, f64),
    label: fn(&f64) -> String,
) -> Result<Chart<'a, 'b>, Box<dyn Error>> {
    let epochs = history.training_loss.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 22))
        .margin(14)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.5..epochs + 0.5, bottom..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("epoch")
        .y_desc(unit)
        .x_labels(10)
        // Between two epochs there is nothing to name.
        .x_label_formatter(&|x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() })
        .y_label_formatter(&label)
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18))
        .draw()?;
    Ok(chart)
}

fn line(
    chart: &mut Chart<'_, '_>,
    name: &str,
    colour: RGBColor,
    values: &[f64],
) -> Result<(), Box<dyn Error>> {
    let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(i, v)| ((i + 1) as f64, *v)).collect();
    chart
        .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
        .label(name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(2)));
    chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
    Ok(())
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, at: SeriesLabelPosition) -> Result<(), Box<dyn Error>> {
    chart
        .configure_series_labels()
        .position(at)
        .margin(12)
        .legend_area_size(34)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .label_font(("sans-serif", 17))
        .draw()?;
    Ok(())
}
