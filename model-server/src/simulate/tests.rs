use super::*;
use crate::Reference;
use crate::metadata::tests::example;

fn world() -> (Reference, Metadata, Dataset) {
    let metadata = Metadata::parse(example().to_string().as_bytes()).unwrap();
    let engine = Reference { classes: metadata.classes.len(), sharp: 4.0 };
    let sample = |i: u32| Sample {
        label: (i % 2) as u8,
        image: image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([(x * 5 + i) as u8, y as u8, 9 * i as u8])),
    };
    let data = Dataset { classes: metadata.classes.clone(), samples: (0..20).map(sample).collect() };
    (engine, metadata, data)
}

fn lines(condition: Condition, seed: u64) -> (Summary, Vec<String>) {
    let (mut engine, metadata, data) = world();
    let mut lines = Vec::new();
    let summary = simulate(&mut engine, &metadata, &data, condition, seed, |row| {
        lines.push(row.csv());
        Ok(())
    });
    (summary.unwrap(), lines)
}

#[test]
fn without_corruption_the_answers_are_those_of_evaluate() {
    let (mut engine, metadata, data) = world();
    let answers = evaluate::answers(&mut engine, &metadata, &data).unwrap();
    let expected = evaluate::report(&metadata, "", &data, &answers);
    let (summary, lines) = lines((Corruption::None, 0), 1);
    assert_eq!((summary.images, summary.accuracy), (expected.images, expected.accuracy));
    assert_eq!(summary.mean_confidence, expected.mean_confidence);
    assert_eq!(summary.predicted_classes, expected.predicted.iter().filter(|class| class.count > 0).count());
    for (line, answer) in lines.iter().zip(evaluate::predictions(&metadata, &data, &answers)) {
        let start = format!(
            "none,0,{},{},{},{},",
            answer.index,
            answer.label,
            answer.prediction.unwrap(),
            answer.confidence.unwrap()
        );
        assert!(line.starts_with(&start), "{line} {start}");
    }
}

#[test]
fn a_corruption_shows_in_the_features_and_a_seed_repeats_it() {
    let mean = |lines: &[String], column: usize| {
        let read = |line: &String| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
        lines.iter().map(read).sum::<f64>() / lines.len() as f64
    };
    let clean = lines((Corruption::None, 0), 1).1;
    let light = lines((Corruption::Brightness, 5), 1).1;
    assert!(mean(&light, 6) > mean(&clean, 6) + 0.1);
    let flat = lines((Corruption::Contrast, 5), 1).1;
    assert!(mean(&flat, 7) < mean(&clean, 7));
    let noisy = |seed| lines((Corruption::GaussianNoise, 3), seed);
    assert_eq!(noisy(1), noisy(1));
    assert_ne!(noisy(1).1, noisy(2).1);
    assert_eq!(CSV_HEADER.split(',').count(), clean[0].split(',').count());
}

/// A row without its condition.
fn answer(line: &str) -> &str {
    line.splitn(3, ',').nth(2).unwrap()
}

#[test]
fn a_mix_keeps_order_labels_and_the_answers_to_images_that_it_leaves_alone() {
    let clean = lines((Corruption::None, 0), 1).1;
    let (_, _, data) = world();
    for mix in [Corruption::Rotation, Corruption::ChannelSwap, Corruption::Texture] {
        for severity in 1..=5 {
            let rows = lines((mix, severity), 1).1;
            let index_and_label = |line: &String| answer(line).splitn(3, ',').take(2).collect::<String>();
            assert!(rows.iter().map(index_and_label).eq(clean.iter().map(index_and_label)), "{mix}");
            let differs = |i: &usize| answer(&rows[*i]) != answer(&clean[*i]);
            let touched = |i: &usize| {
                let before = &data.samples[*i].image;
                mix.apply(before, severity, 1, *i).unwrap() != *before
            };
            assert!((0..rows.len()).filter(differs).all(|i| touched(&i)), "{mix} {severity}");
        }
    }
    // The reference engine sees the mean only, which a turn keeps and a texture does not.
    let texture = lines((Corruption::Texture, 5), 1).1;
    assert!(texture.iter().zip(&clean).all(|(after, before)| answer(after) != answer(before)));
}

#[test]
fn none_comes_once_and_the_others_at_each_severity() {
    let found = conditions(&[Corruption::None, Corruption::Jpeg], &[1, 3]);
    assert_eq!(found, [(Corruption::None, 0), (Corruption::Jpeg, 1), (Corruption::Jpeg, 3)]);
}

#[test]
fn a_null_output_and_a_strange_class_are_written_so_that_they_read_back() {
    let row = Row {
        corruption: "jpeg",
        severity: 2,
        index: 7,
        label: "bright, or \"white\"",
        prediction: None,
        confidence: None,
        brightness: 0.5,
        contrast: 0.25,
        sharpness: 0.0,
        saturation: 0.75,
        entropy: None,
        energy: None,
    };
    assert_eq!(row.csv(), "jpeg,2,7,\"bright, or \"\"white\"\"\",,,0.5,0.25,0,0.75,,");
}
