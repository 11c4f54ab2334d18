//! The pictures of `docs/concepts/judging.md`.

use std::error::Error;
use std::path::Path;
use std::sync::Once;

use evidence::{Process, Tests};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::images::{Found, TARGETED, WITHIN};
use crate::runs::draw;

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const OURS: RGBColor = RGBColor(31, 119, 180);
const THEIRS: RGBColor = RGBColor(160, 160, 160);
const HARM: RGBColor = RGBColor(200, 60, 40);
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 96, 30),
    RGBColor(44, 140, 60),
    RGBColor(200, 60, 40),
    RGBColor(120, 80, 170),
    RGBColor(140, 90, 70),
    RGBColor(210, 90, 170),
    RGBColor(90, 90, 90),
];
const BAR: u32 = 54;

/// A picture of this size, drawn by `fill`. The font is in the binary, since an image has none.
fn picture(
    folder: &Path,
    name: &str,
    size: (u32, u32),
    fill: impl FnOnce(&Area<'_>) -> Drawn,
) -> anyhow::Result<()> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        // Fails only for bytes that are no font; then drawing says so.
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let drawn = || -> Drawn {
        let area = BitMapBackend::new(&path, size).into_drawing_area();
        area.fill(&WHITE)?;
        fill(&area)?;
        area.present()?;
        Ok(())
    };
    drawn().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// How often rules rolled a harmless candidate back, in percent; the first one is ours.
///
/// # Errors
/// Says what could not be written.
pub fn false_rollbacks(folder: &Path, rules: &[(&str, f64)]) -> anyhow::Result<()> {
    let height = 130 + BAR * rules.len() as u32;
    picture(folder, "false-rollbacks.png", (1200, height), |area| {
        let rows = rules.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption("Harmless rollouts that were rolled back", ("sans-serif", 28))
            .margin(16)
            .margin_right(90)
            .x_label_area_size(50)
            .y_label_area_size(610)
            .build_cartesian_2d(0.0..100.0, 0.0..rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .y_labels(0)
            .x_desc("% of the rollouts")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style(("sans-serif", 18))
            .axis_desc_style(("sans-serif", 20))
            .draw()?;
        let right = ("sans-serif", 20).into_font().color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
        let left = ("sans-serif", 22).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for (i, (name, percent)) in rules.iter().enumerate() {
            let middle = rows - i as f64 - 0.5;
            let colour = if i == 0 { OURS } else { THEIRS };
            let corners = [(0.0, middle - 0.3), (*percent, middle + 0.3)];
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
            let (x, y) = chart.backend_coord(&(*percent, middle));
            area.draw(&Text::new(format!("{percent:.1} %"), (x + 8, y), left.clone()))?;
            let (x, y) = chart.backend_coord(&(0.0, middle));
            area.draw(&Text::new(*name, (x - 10, y), right.clone()))?;
        }
        Ok(())
    })
}

/// Requests of both arms that are drawn, and per look.
const REQUESTS: u64 = 10_000;
const LOOK: u64 = 50;
/// Rollouts of each kind.
const ROLLOUTS: u64 = 12;
/// Error rate of stable.
const BASE: f64 = 0.02;

/// ln E of the test of errors, look by look: of candidates as good as stable, and of those that fail twice as often.
///
/// # Errors
/// Says what could not be written.
pub fn evidence(folder: &Path) -> anyhow::Result<()> {
    let tests = Tests::default();
    let tolerance = tests.errors.expect("it is on by default").tolerance;
    let bar = -tests.levels(0.01)[0].ln();
    let paths = |errors| (0..ROLLOUTS).map(|seed| path(seed, tolerance, errors, bar)).collect::<Vec<_>>();
    let (harmless, harmful) = (paths(BASE), paths(2.0 * BASE));
    picture(folder, "evidence.png", (1200, 600), |area| {
        let low = harmless.iter().flatten().map(|(_, log)| *log).fold(-1.0, f64::min) - 0.5;
        let mut chart = ChartBuilder::on(area)
            .caption("Evidence that a candidate fails more often than 1.1 times stable", ("sans-serif", 28))
            .margin(16)
            .margin_right(40)
            .x_label_area_size(54)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..REQUESTS as f64, low..bar + 6.0)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("requests of both arms, half each; stable fails in 2 %")
            .y_desc("ln E")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style(("sans-serif", 18))
            .axis_desc_style(("sans-serif", 20))
            .draw()?;
        let level = vec![vec![(0.0, bar), (REQUESTS as f64, bar)]];
        for (name, lines, colour) in [
            (format!("level: rolled back from here on, ln(1/{:.4}) = {bar:.2}", (-bar).exp()), level, BLACK),
            (format!("{ROLLOUTS} harmful ones: fail twice as often"), harmful, HARM),
            (format!("{ROLLOUTS} harmless ones: fail as often as stable"), harmless, OURS),
        ] {
            for (i, points) in lines.into_iter().enumerate() {
                let drawn = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
                if i == 0 {
                    drawn.label(name.clone()).legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 26, y)], colour.stroke_width(3))
                    });
                }
            }
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

/// One rollout until it is rolled back.
fn path(seed: u64, tolerance: f64, errors: f64, bar: f64) -> Vec<(f64, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut process = Process::new(tolerance).expect("the default is in range");
    let mut points = vec![(0.0, 0.0)];
    for requests in (LOOK..=REQUESTS).step_by(LOOK as usize) {
        process.observe(&draw(&mut random, LOOK, 0.5, [errors, BASE])).expect("counts of requests");
        points.push((requests as f64, process.log_e()));
        if process.log_e() >= bar {
            break;
        }
    }
    points
}

/// Median images to the drift alarm by severity, a line per corruption; what was not found ends at the top.
///
/// # Errors
/// Says what could not be written.
pub fn images(folder: &Path, found: &[Found]) -> anyhow::Result<()> {
    picture(folder, "images-to-alarm.png", (1200, 600), |area| {
        let top = WITHIN as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(
                "Corrupted images until the drift alarm (median, run length 1,000,000)",
                ("sans-serif", 28),
            )
            .margin(16)
            .margin_right(260)
            .x_label_area_size(54)
            .y_label_area_size(70)
            .build_cartesian_2d(0.75..5.25, (4.0..top * 1.25).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_labels(5)
            .x_desc("severity of CIFAR-10-C")
            .y_desc("images")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style(("sans-serif", 18))
            .axis_desc_style(("sans-serif", 20))
            .draw()?;
        let dashes = [(0.75, 50.0), (5.25, 50.0)];
        chart.draw_series(DashedLineSeries::new(dashes, 8, 6, BLACK.stroke_width(1)))?;
        let font = ("sans-serif", 18).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        let (x, y) = chart.backend_coord(&(4.0, 50.0));
        area.draw(&Text::new("target from severity 3 on: 50", (x + 12, y - 14), font.clone()))?;
        let (x, y) = chart.backend_coord(&(5.25, top));
        area.draw(&Text::new("not found within 500", (x + 8, y), font.clone()))?;
        for (i, corruption) in TARGETED.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let of = found.iter().filter(|f| f.corruption == *corruption);
            // Beside each other, where lines share their points.
            let aside = (i as f64 - 3.5) * 0.035;
            let points: Vec<(f64, f64)> =
                of.map(|f| (f64::from(f.severity) + aside, f.median.map_or(top, |n| n as f64))).collect();
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 5, colour.filled())))?;
            let (x, y) = (x + 8, y + 80 + 24 * i as i32);
            let style = ("sans-serif", 20).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Circle::new((x + 4, y), 5, colour.filled()))?;
            area.draw(&Text::new(corruption.replace('_', " "), (x + 18, y), style))?;
        }
        Ok(())
    })
}

fn legend<'a, 'b: 'a, C>(chart: &mut ChartContext<'a, BitMapBackend<'b>, C>, at: SeriesLabelPosition) -> Drawn
where
    C: CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(at)
        .margin(14)
        .legend_area_size(36)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .label_font(("sans-serif", 19))
        .draw()?;
    Ok(())
}
