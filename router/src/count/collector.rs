//! The same families on `/metrics`, without the labels that name a state.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::Desc;
use prometheus::proto::{self, MetricFamily, MetricType};
use wire::{FEATURES, Grid, Key, Outcome, PairOutcome, RESULTS, family};

use super::{Ledger, Tally};

/// Families with their help.
const FAMILIES: [(&str, &str); 8] = [
    (family::REQUESTS, "Requests by revision drawn, assignment and outcome."),
    (family::NULL_OUTPUTS, "Answers that were withheld or NaN, of a batch that of one item drawn at random."),
    (family::PREDICTIONS, "Predicted classes, of a batch that of one item drawn at random."),
    (
        family::SECONDS,
        "Seconds from a request's head to the end of the revision's own good answer, or to its timeout.",
    ),
    (family::DOUBT, "1 - confidence, of a batch that of one item drawn at random."),
    (family::INPUT, "Input features, of a batch those of one item drawn at random."),
    (family::LABELS, "True labels that arrived, by what they say of the answers."),
    (
        family::PAIRS,
        "Copies of requests by the revision that got them and what became of them beside the user's answer.",
    ),
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
                family::PAIRS => {
                    pairs.iter().flat_map(|(revision, counts)| of_pairs(revision, counts)).collect()
                }
                _ => totals.iter().flat_map(|(key, tally)| metrics(name, key, tally)).collect(),
            };
            let histogram = matches!(name, family::SECONDS | family::DOUBT | family::INPUT);
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
        _ => FEATURES
            .map(|f| {
                let labels = labels(key, Some(("feature", f.as_str())));
                histogram(labels, f.grid(), &counts.features[f.index()], tally.sums[2 + f.index()])
            })
            .into(),
    }
}

fn of_pairs(revision: &str, counts: &[u64]) -> Vec<proto::Metric> {
    let each = PairOutcome::ALL.into_iter().zip(counts);
    each.map(|(outcome, n)| counter(vec![label("result", outcome.as_str()), label("revision", revision)], *n))
        .collect()
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
