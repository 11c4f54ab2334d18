//! The same families on `/metrics`, without the labels that name a state.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::Desc;
use prometheus::proto::{self, MetricFamily, MetricType};
use wire::{FEATURES, Feature, Grid, Key, Outcome, PAIR_LABELS, PairOutcome, RESULTS, family};

use super::ledger::PairTotals;
use super::{Ledger, Tally};
use crate::class_pairs::ClassPairs;

/// Classes of copies beside those of stable's answers, where they differ. On `/metrics` alone.
const DISAGREEMENTS: &str = "sluice_disagreements_total";
/// Classes of answers beside the true ones. On `/metrics` alone.
const LABELLED_CLASSES: &str = "sluice_labelled_classes_total";

/// Families with their help.
const FAMILIES: [(&str, &str); 12] = [
    (family::REQUESTS, "Requests by revision drawn, assignment and outcome."),
    (family::NULL_OUTPUTS, "Answers that were withheld or NaN, of a batch that of one item drawn at random."),
    (family::PREDICTIONS, "Predicted classes, of a batch that of one item drawn at random."),
    (
        family::SECONDS,
        "Seconds from a request's head to the end of the revision's own good answer, or to its timeout.",
    ),
    (family::DOUBT, "1 - confidence, of a batch that of one item drawn at random."),
    (family::INPUT, "Features of images, of a batch those of one item drawn at random; size is in pixels."),
    (
        family::OUTPUT,
        "Features of answers, of a batch those of one item drawn at random: normalised entropy, and energy in nats.",
    ),
    (family::LABELS, "True labels that arrived, by what they say of the answers."),
    (
        family::PAIRS,
        "Copies of requests by the revision that got them and what became of them beside the user's answer.",
    ),
    (
        family::PAIR_LABELS,
        "True labels of answers beside which a copy was answered, by who was right: both, stable, shadow, neither.",
    ),
    (
        DISAGREEMENTS,
        "Copies that named another class than the user's answer, by both; of rare ones together.",
    ),
    (LABELLED_CLASSES, "Labelled answers by their true class and the one they named; of rare ones together."),
];

/// Shows a [`Ledger`] to a prometheus registry.
pub struct Collector {
    ledger: Arc<Ledger>,
    descs: Vec<Desc>,
}

impl Collector {
    /// A collector of the ledger.
    ///
    /// # Panics
    /// Never: the names are constants.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>) -> Self {
        let desc = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), vec![], HashMap::new()).expect("names are constants")
        };
        Self { ledger, descs: FAMILIES.map(desc).into() }
    }
}

impl prometheus::core::Collector for Collector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (totals, pairs) = (self.ledger.totals(), self.ledger.pair_totals());
        let families = FAMILIES.into_iter().map(|(name, help)| {
            let metrics: Vec<_> = match name {
                family::PAIRS | family::PAIR_LABELS => {
                    pairs.iter().flat_map(|(revision, totals)| of_pairs(name, revision, totals)).collect()
                }
                DISAGREEMENTS => {
                    of_classes(&self.ledger.disagreements().classes(), ["stable", "shadow"]).collect()
                }
                LABELLED_CLASSES => {
                    of_classes(&self.ledger.confusion().read(), ["label", "prediction"]).collect()
                }
                _ => totals.iter().flat_map(|(key, tally)| metrics(name, key, tally)).collect(),
            };
            let histogram = matches!(name, family::SECONDS | family::DOUBT | family::INPUT | family::OUTPUT);
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(if histogram { MetricType::HISTOGRAM } else { MetricType::COUNTER });
            family.set_metric(metrics);
            family
        });
        // The text encoder refuses families without any metric.
        families.filter(|f| !f.get_metric().is_empty()).collect()
    }
}

fn metrics(family: &str, key: &Key, tally: &Tally) -> Vec<proto::Metric> {
    let counts = &tally.counts;
    match family {
        family::REQUESTS => Outcome::ALL
            .map(|o| counter(labels(key, Some(("outcome", o.as_str()))), counts.outcome(o)))
            .into(),
        family::NULL_OUTPUTS => vec![counter(labels(key, None), counts.null_outputs)],
        family::PREDICTIONS => {
            counts.classes.iter().map(|(c, n)| counter(labels(key, Some(("class", c))), *n)).collect()
        }
        family::LABELS => {
            let said = tally.feedback.iter().flat_map(|feedback| {
                let (own, earlier) = (feedback.own(), feedback.earlier());
                let correct = own.0 + earlier.0;
                RESULTS.into_iter().zip([correct, own.1 + earlier.1 - correct])
            });
            said.map(|(result, n)| counter(labels(key, Some(("result", result))), n)).collect()
        }
        family::SECONDS => vec![histogram(labels(key, None), Grid::Seconds, &counts.latency, tally.sums[0])],
        family::DOUBT => vec![histogram(labels(key, None), Grid::Doubt, &counts.doubt, tally.sums[1])],
        _ => {
            let cells = |f: Feature| &counts.features[f.index()];
            // Not every server tells the later ones: no 66 lines of nothing.
            let told = |f: &Feature| FEATURES.contains(f) || cells(*f).iter().any(|n| *n > 0);
            let of = |f: &Feature| f.is_input() == (family == family::INPUT);
            let shown = Feature::ALL.into_iter().filter(|f| of(f) && told(f));
            shown
                .map(|f| {
                    let labels = labels(key, Some(("feature", f.as_str())));
                    histogram(labels, f.grid(), cells(f), tally.sums[2 + f.index()])
                })
                .collect()
        }
    }
}

fn of_pairs(family: &str, revision: &str, totals: &PairTotals) -> Vec<proto::Metric> {
    let PairTotals { outcomes, labels } = totals;
    let one = |result: &str, n| counter(vec![label("result", result), label("revision", revision)], n);
    match family {
        family::PAIRS => {
            PairOutcome::ALL.into_iter().zip(outcomes).map(|(o, n)| one(o.as_str(), *n)).collect()
        }
        // Where no labels are taken there is none of them.
        _ if labels.iter().all(|n| *n == 0) => vec![],
        _ => PAIR_LABELS.into_iter().zip(labels).map(|(result, n)| one(result, *n)).collect(),
    }
}

/// Pairs of classes, which these labels hold.
fn of_classes(all: &[(String, ClassPairs)], names: [&'static str; 2]) -> impl Iterator<Item = proto::Metric> {
    all.iter().flat_map(move |(revision, classes)| {
        classes.read().map(move |(pair, n)| {
            let mut labels = vec![label("revision", revision)];
            labels.extend(names.into_iter().zip(pair).map(|(name, class)| label(name, class)));
            labels.sort_by(|a, b| a.name().cmp(b.name()));
            counter(labels, n)
        })
    })
}

fn labels(key: &Key, more: Option<(&str, &str)>) -> Vec<proto::LabelPair> {
    // By name, as prometheus wants them: the third one is class, feature, outcome or result.
    std::iter::once(("assignment", key.assignment.as_str()))
        .chain(more)
        .chain([("revision", key.revision.as_str())])
        .map(|(name, value)| label(name, value))
        .collect()
}

fn label(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn counter(labels: Vec<proto::LabelPair>, value: u64) -> proto::Metric {
    let mut metric = proto::Metric::from_label(labels);
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    metric.set_counter(counter);
    metric
}

fn histogram(labels: Vec<proto::LabelPair>, grid: Grid, cells: &[u64], sum: f64) -> proto::Metric {
    let mut below = 0;
    let buckets = cells.iter().enumerate().map(|(i, count)| {
        below += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(grid.edge(i));
        bucket.set_cumulative_count(below);
        bucket
    });
    // The encoder adds the infinite one, spelt as prometheus does.
    let buckets = buckets.filter(|b| b.upper_bound().is_finite()).collect();
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(below);
    histogram.set_sample_sum(sum);
    let mut metric = proto::Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}
