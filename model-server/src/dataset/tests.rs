use std::fs;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn sample(label: u8, value: u8) -> Sample {
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| image::Rgb([value, x as u8, y as u8]));
    Sample { label, image }
}

fn dataset(labels: &[u8]) -> Dataset {
    let samples = labels.iter().enumerate().map(|(i, label)| sample(*label, i as u8)).collect();
    Dataset { classes: vec!["cat".into(), "dog".into(), "owl".into()], samples }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).unwrap();
}

#[test]
fn own_files_and_those_of_cifar_10_read_alike() {
    let (first, second) = (dataset(&[0, 1, 2]), dataset(&[2, 0]));
    let own = tempfile::tempdir().unwrap();
    write(own.path(), "classes.txt", b"cat\ndog\nowl\n");
    write(own.path(), "train.bin", &[first.to_bytes(), second.to_bytes()].concat());
    write(own.path(), "test.bin", &second.to_bytes());
    let cifar = tempfile::tempdir().unwrap();
    write(cifar.path(), "batches.meta.txt", b"cat\ndog\nowl\n\n");
    write(cifar.path(), "data_batch_2.bin", &second.to_bytes());
    write(cifar.path(), "data_batch_1.bin", &first.to_bytes());
    write(cifar.path(), "test_batch.bin", &second.to_bytes());
    let train = Dataset::train(own.path()).unwrap();
    assert_eq!(train.samples, [first.samples, second.samples.clone()].concat());
    assert_eq!(train, Dataset::train(cifar.path()).unwrap());
    assert_eq!(train.digest(), Dataset::train(cifar.path()).unwrap().digest());
    assert_eq!(Dataset::test(own.path()).unwrap(), second);
    assert_eq!(Dataset::test(cifar.path()).unwrap(), second);
    // The order of planes and rows is the one of CIFAR-10.
    let bytes = second.to_bytes();
    assert_eq!((bytes[0], bytes[1], bytes[1 + 1024 + 1], bytes[1 + 2048 + 32]), (2, 0, 1, 1));
}

type File = (&'static str, &'static [u8]);
const CLASSES: File = ("classes.txt", b"a\nb\n");
const ONE_CLASS: File = ("classes.txt", b"a\n");
/// Two images, the second with label 2.
const RECORDS: &[u8] = &{
    let mut bytes = [0; 2 * RECORD];
    bytes[RECORD] = 2;
    bytes
};

#[rstest]
#[case(&[CLASSES], "has no train.bin or data_batch_*.bin")]
#[case(&[("train.bin", RECORDS)], "has no classes.txt or batches.meta.txt")]
#[case(&[CLASSES, ("train.bin", RECORDS.split_at(3072).0)], "3072 bytes are not a whole number of records")]
#[case(&[CLASSES, ("train.bin", b"")], "0 bytes are not a whole number of records")]
#[case(&[CLASSES, ("train.bin", RECORDS)], "image 1 has label 2, but there are 2 classes")]
#[case(&[ONE_CLASS, ("train.bin", RECORDS)], "1 class names, allowed: 2..=256")]
#[case(&[("train.bin", RECORDS), ("data_batch_1.bin", RECORDS)], "which one is meant?")]
fn what_is_wrong_is_named(#[case] files: &[File], #[case] message: &str) {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(directory.path(), name, bytes);
    }
    let found = Dataset::train(directory.path()).unwrap_err().to_string();
    assert!(found.contains(message), "{found}");
}

proptest! {
    #[test]
    fn a_split_is_stratified_repeatable_and_loses_nothing(
        labels in proptest::collection::vec(0u8..3, 1..120), share in 0.0..1.0f64, seed: u64,
    ) {
        let all = dataset(&labels);
        let count = (labels.len() as f64 * share) as usize;
        let (rest, off) = all.split(count, seed);
        prop_assert_eq!(off.samples.len(), count);
        let mut union: Vec<Vec<u8>> = rest.samples.iter().chain(&off.samples).map(|s| s.image.as_raw().clone()).collect();
        let mut expected: Vec<Vec<u8>> = all.samples.iter().map(|s| s.image.as_raw().clone()).collect();
        union.sort();
        expected.sort();
        prop_assert_eq!(union, expected);
        for class in 0..3 {
            let of = |d: &Dataset| d.samples.iter().filter(|s| s.label == class).count();
            let exact = of(&all) as f64 * count as f64 / labels.len() as f64;
            prop_assert!((of(&off) as f64 - exact).abs() < 1.0);
        }
        prop_assert_eq!((rest, off), all.split(count, seed));
    }

    #[test]
    fn folds_are_stratified(labels in proptest::collection::vec(0u8..3, 5..120), seed: u64) {
        let all = dataset(&labels);
        let group = all.deal(5, seed);
        for class in 0..3u8 {
            let sizes: Vec<usize> = (0..5)
                .map(|fold| labels.iter().zip(&group).filter(|(l, g)| **l == class && **g == fold).count())
                .collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
    }
}
