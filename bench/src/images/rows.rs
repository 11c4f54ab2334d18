//! The CSV of `model-server simulate-drift`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use wire::{Counts, Feature, Grid};

/// Corruption and severity.
pub(super) type Condition = (String, u8);
/// What a router counts of each image.
pub(super) type Rows = BTreeMap<Condition, Vec<Counts>>;

/// The images as they are.
pub(super) const CLEAN: Condition = (String::new(), 0);
/// What the CSV calls it.
const NONE: &str = "none";
const HEADER: &str = "corruption,severity,index,label,prediction,confidence,brightness,contrast,sharpness,saturation,entropy,energy";
/// Of the last columns.
const READ: [Feature; 6] = [
    Feature::Brightness,
    Feature::Contrast,
    Feature::Sharpness,
    Feature::Saturation,
    Feature::Entropy,
    Feature::Energy,
];

/// Reads it all.
pub(super) fn read(path: &Path) -> anyhow::Result<Rows> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| name.to_string())?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        bail!("{name}: expected a CSV of model-server simulate-drift, whose first line is {HEADER}");
    }
    let mut rows = Rows::new();
    for (i, line) in lines.enumerate() {
        let (condition, counts) = row(line).with_context(|| format!("{name}, line {}", i + 2))?;
        rows.entry(condition).or_default().push(counts);
    }
    if !rows.contains_key(&CLEAN) {
        bail!("{name}: no rows of the corruption {NONE}, expected clean images");
    }
    Ok(rows)
}

fn row(line: &str) -> anyhow::Result<(Condition, Counts)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [corruption, severity, _, _, class, confidence, features @ ..] = fields.as_slice() else {
        bail!("found {} fields, expected 12", fields.len());
    };
    if features.len() != READ.len() || line.contains('"') {
        bail!("found {} fields, expected 12, of classes without commas or quotes", fields.len());
    }
    let cell = |grid: Grid, text: &str, f: fn(f64) -> f64| {
        let number: f64 = text.parse().with_context(|| format!("found {text:?}, expected a number"))?;
        grid.cell(f(number)).ok_or_else(|| anyhow!("found NaN, expected a number"))
    };
    let mut counts = Counts::default();
    // Some models have no energy, and null outputs nothing of an answer.
    let told = READ.iter().zip(features).filter(|(feature, text)| feature.is_input() || !text.is_empty());
    for (feature, text) in told {
        counts.features[feature.index()][cell(feature.grid(), text, |x| x)?] += 1;
    }
    if class.is_empty() {
        counts.null_outputs = 1;
    } else {
        counts.doubt[cell(Grid::Doubt, confidence, |c| 1.0 - c)?] += 1;
        counts.classes.insert((*class).to_owned(), 1);
    }
    let severity = severity.parse().with_context(|| format!("severity is {severity:?}, expected 0 to 5"))?;
    let corruption = if *corruption == NONE { "" } else { *corruption };
    Ok(((corruption.to_owned(), severity), counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_becomes_what_a_router_counts() {
        let (condition, counts) = row("jpeg,3,7,4,9,0.9,0.26592,0.30263,0.04574,0.5,0.1,-7.5").unwrap();
        assert_eq!(condition, ("jpeg".into(), 3));
        assert_eq!(counts.features[0][17], 1);
        assert_eq!(counts.features[1][38], 1);
        assert_eq!(counts.features[2][30], 1);
        let said = [Feature::Saturation, Feature::Size, Feature::Entropy, Feature::Energy];
        let sums = said.map(|feature| counts.features[feature.index()].iter().sum::<u64>());
        assert_eq!((sums, counts.features[3][31]), ([1, 0, 1, 1], 1));
        assert_eq!(counts.doubt.iter().sum::<u64>(), 1);
        assert_eq!(counts.classes["9"], 1);
        let (condition, counts) = row("none,0,7,4,,,0.26592,0.30263,0.04574,0.5,,").unwrap();
        assert_eq!((condition, counts.null_outputs), (CLEAN, 1));
        assert_eq!(counts.doubt.iter().sum::<u64>(), 0);
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, what) in [
            ("jpeg,3,7", "found 3 fields"),
            ("jpeg,x,7,4,9,0.9,0.2,0.3,0.04,0.5,0.1,-7", "severity is \"x\""),
            ("jpeg,3,7,4,9,0.9,0.2,NaN,0.04,0.5,0.1,-7", "found NaN"),
            ("jpeg,3,7,\"a,b\",9,0.9,0.2,0.3,0.04,0.5,0.1,-7", "without commas"),
        ] {
            assert!(row(line).unwrap_err().to_string().contains(what), "{line}");
        }
    }
}
