//! Simulated traffic: what two models answer, request by request, as counts of one interval.

use std::array;
use std::collections::VecDeque;

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use wire::{ClassCount, Counts, FEATURES, Grid, Outcome, Profile};

/// Names of the classes.
pub const CLASSES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// How a model answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Chance of an error, before the world's swing.
    pub errors: f64,
    /// Chance that the input is rejected.
    pub rejected: f64,
    /// Median latency in seconds, lognormal.
    pub seconds: f64,
    /// Standard deviation of the latency's logarithm.
    pub spread: f64,
    /// 1 - confidence is u^sure: larger is surer.
    pub sure: f64,
    /// Share of answers that say class 0 whatever the input.
    pub stuck: f64,
}

impl Model {
    /// A good one.
    pub const GOOD: Self =
        Self { errors: 0.009, rejected: 0.01, seconds: 0.02, spread: 0.4, sure: 4.0, stuck: 0.0 };
}

/// What the inputs look like: mean and standard deviation of each feature in units of its grid's top.
const INPUTS: [(f64, f64); FEATURES.len()] = [(0.42, 0.09), (0.55, 0.12), (0.3, 0.08)];

/// What a router sees of an answer, in cells of its grids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// An error.
    pub failed: bool,
    /// On [`Grid::Seconds`]; noted with a prediction only.
    pub latency: usize,
    /// On [`Grid::Doubt`], if there was a prediction.
    pub doubt: Option<usize>,
}

/// A model ready to answer many requests quickly: cells are drawn, not values.
pub struct Arm {
    model: Model,
    latency: WeightedIndex<f64>,
    doubt: WeightedIndex<f64>,
    features: [WeightedIndex<f64>; FEATURES.len()],
}

/// Chance of each cell of a grid by a distribution function.
fn cells(grid: Grid, cdf: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut below = 0.0;
    (0..grid.len())
        .map(|i| {
            let edge = grid.edge(i);
            let upto = if edge.is_finite() { cdf(edge) } else { 1.0 };
            let mass = (upto - below).max(0.0);
            below = upto.max(below);
            mass
        })
        .collect()
}

fn normal(x: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(-x / std::f64::consts::SQRT_2)
}

fn index(weights: &[f64]) -> WeightedIndex<f64> {
    WeightedIndex::new(weights).expect("a distribution has mass")
}

impl Arm {
    /// Prepares a model.
    pub fn new(model: Model) -> Self {
        let latency = cells(Grid::Seconds, |s| normal((s / model.seconds).ln() / model.spread));
        let doubt = cells(Grid::Doubt, |d| d.min(1.0).powf(1.0 / model.sure));
        let features = array::from_fn(|i| {
            let (mean, deviation) = INPUTS[i];
            let grid = FEATURES[i].grid();
            index(&cells(grid, |x| normal((x / grid.top() - mean) / deviation)))
        });
        Self { model, latency: index(&latency), doubt: index(&doubt), features }
    }

    /// The model.
    pub const fn model(&self) -> Model {
        self.model
    }

    /// Answers one request per swing, which multiplies the error rate, and tells of each what a router sees.
    pub fn answers(
        &self,
        random: &mut StdRng,
        swings: impl IntoIterator<Item = f64>,
        mut tell: impl FnMut(Answer),
    ) -> Counts {
        let mut counts = Counts::default();
        let mut classes = [0; CLASSES.len()];
        for swing in swings {
            let fate = random.random::<f64>();
            let errors = self.model.errors * swing;
            let mut answer =
                Answer { failed: fate < errors, latency: self.latency.sample(random), doubt: None };
            let outcome = if answer.failed {
                Outcome::Error
            } else if fate < errors + self.model.rejected {
                Outcome::Rejected
            } else {
                counts.latency[answer.latency] += 1;
                let (doubt, class) = self.item(random, &mut counts.features);
                counts.doubt[doubt] += 1;
                classes[class] += 1;
                answer.doubt = Some(doubt);
                Outcome::Ok
            };
            counts.outcomes[outcome.index()] += 1;
            tell(answer);
        }
        let named = CLASSES.iter().zip(classes).filter(|(_, count)| *count > 0);
        counts.classes = named.map(|(class, count)| ((*class).to_owned(), count)).collect();
        counts
    }

    /// The doubt cell and the class of an image, whose features are counted.
    fn item(&self, random: &mut StdRng, features: &mut [Vec<u64>]) -> (usize, usize) {
        for (cells, feature) in features.iter_mut().zip(&self.features) {
            cells[feature.sample(random)] += 1;
        }
        let stuck = self.model.stuck > 0.0 && random.random_bool(self.model.stuck);
        (self.doubt.sample(random), if stuck { 0 } else { random.random_range(0..CLASSES.len()) })
    }

    /// The profile that its training would have shipped, of `images` held-out ones.
    pub fn profile(&self, random: &mut StdRng, images: u64) -> Profile {
        let mut classes = [0; CLASSES.len()];
        let mut profile = Profile::new("1.0.0", &[]);
        profile.images = images;
        for _ in 0..images {
            let (doubt, class) = self.item(random, &mut profile.features);
            profile.confidence[doubt] += 1;
            classes[class] += 1;
        }
        profile.classes = CLASSES
            .iter()
            .zip(classes)
            .map(|(class, count)| ClassCount { class: (*class).to_owned(), count })
            .collect();
        profile
    }
}

/// Errors that are counted some intervals after their requests came, as timeouts are.
#[derive(Debug, Default)]
pub struct Late {
    waiting: VecDeque<u64>,
    share: f64,
}

impl Late {
    /// Takes this interval's errors out of the counts, and puts those in that came so many intervals before, unless
    /// the share has changed since: those belong to the stage before.
    pub fn delay(&mut self, counts: &mut Counts, intervals: usize, share: f64) {
        if self.share != share {
            self.waiting.clear();
            self.share = share;
        }
        let errors = &mut counts.outcomes[Outcome::Error.index()];
        self.waiting.push_back(std::mem::take(errors));
        if self.waiting.len() > intervals {
            *errors = self.waiting.pop_front().expect("it has one more");
        }
    }
}

/// What candidate and stable do in an interval, if each request is drawn for the candidate with probability `share`;
/// `swing` multiplies the error rates of both.
pub fn drawn(random: &mut StdRng, requests: u64, share: f64, swing: f64, arms: [&Arm; 2]) -> [Counts; 2] {
    let n = (0..requests).filter(|_| random.random_bool(share)).count();
    let mut of = |arm: &Arm, n| arm.answers(random, std::iter::repeat_n(swing, n), |_| {});
    [of(arms[0], n), of(arms[1], requests as usize - n)]
}
