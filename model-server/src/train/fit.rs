//! One fit: Adam on cross-entropy, in one thread.

use image::RgbImage;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tch::nn::{Adam, OptimizerConfig};
use tch::{Kind, Reduction, Tensor};

use super::{Part, Settings, TrainError, answers};
use crate::dataset::{Dataset, SIDE};
use crate::net::Net;
use crate::{Answer, Preprocessing};

/// Images per step when only answers are wanted.
const EVALUATION_BATCH: usize = 256;

/// A fit that is to be run.
#[derive(Debug)]
pub(super) struct Fit<'a> {
    pub(super) part: Part,
    settings: &'a Settings,
    data: &'a Dataset,
    contract: &'a Preprocessing,
    /// Indices of the images to learn from.
    seen: Vec<usize>,
    /// Indices of the images to be judged on; empty for the shipped model.
    held_out: Vec<usize>,
}

/// A fit that was run.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) part: Part,
    pub(super) net: Net,
    pub(super) epochs: Vec<Epoch>,
    /// Index and answer of each held-out image.
    pub(super) answers: Vec<(usize, Answer)>,
}

/// What a net makes of the held-out images.
#[derive(Debug, Default)]
struct Judged {
    /// Mean loss and share of right answers.
    figures: Option<(f64, f64)>,
    answers: Vec<Answer>,
}

/// What one pass over the images came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: u32,
    /// Mean loss per image while learning.
    pub training_loss: f64,
    /// Mean loss and share of right answers on held-out images; `None` for the shipped model.
    pub held_out: Option<(f64, f64)>,
}

impl<'a> Fit<'a> {
    /// The shipped model on all images, and one fit per fold.
    pub(super) fn plan(
        settings: &'a Settings,
        data: &'a Dataset,
        fold_of: &[usize],
        contract: &'a Preprocessing,
    ) -> Vec<Self> {
        let fit = |part, wanted: &dyn Fn(usize) -> bool| {
            let (seen, held_out) = (0..data.samples.len()).partition(|i| wanted(fold_of[*i]));
            Self { part, settings, data, contract, seen, held_out }
        };
        let folds = (0..settings.folds).map(|f| fit(Part::Fold(f), &|fold| fold != f as usize));
        std::iter::once(fit(Part::Model, &|_| true)).chain(folds).collect()
    }

    /// Learns; calls `report` after each epoch.
    pub(super) fn run(&self, report: &mut dyn FnMut(Epoch)) -> Result<Fitted, TrainError> {
        // Each fit has a stream of its own, so that none depends on which ran before it.
        let mut rng = StdRng::seed_from_u64(self.settings.seed);
        rng = StdRng::seed_from_u64(rng.random::<u64>().wrapping_add(u64::from(self.part.order())));
        let net = Net::new(i64::from(SIDE), self.data.classes.len() as i64, &mut rng)?;
        let mut optimizer = Adam::default().build(&net.weights, self.settings.learning_rate)?;
        let mut order = self.seen.clone();
        let mut epochs = Vec::new();
        let mut judged = Judged::default();
        for number in 1..=self.settings.epochs {
            order.shuffle(&mut rng);
            let mut loss_sum = 0.0;
            for batch in order.chunks(self.settings.batch_size as usize) {
                let loss = loss(&net.forward(&self.input(batch, Some(&mut rng))?)?, &self.labels(batch)?)?;
                optimizer.zero_grad();
                loss.f_backward()?;
                optimizer.step();
                loss_sum += loss.f_double_value(&[])? * batch.len() as f64;
            }
            let training_loss = loss_sum / order.len() as f64;
            if !training_loss.is_finite() {
                return Err(TrainError::Diverged { epoch: number, loss: training_loss });
            }
            judged = self.judge(&net)?;
            let epoch = Epoch { number, training_loss, held_out: judged.figures };
            report(epoch);
            epochs.push(epoch);
        }
        let answers = self.held_out.iter().copied().zip(judged.answers).collect();
        Ok(Fitted { part: self.part, net, epochs, answers })
    }

    /// Judges the net on the held-out images, if there are any.
    fn judge(&self, net: &Net) -> Result<Judged, TrainError> {
        let mut all = Vec::new();
        let mut loss_sum = 0.0;
        let mut right = 0usize;
        for batch in self.held_out.chunks(EVALUATION_BATCH) {
            let logits = tch::no_grad(|| net.forward(&self.input(batch, None)?))?;
            loss_sum += loss(&logits, &self.labels(batch)?)?.f_double_value(&[])? * batch.len() as f64;
            let answers = answers(&logits)?;
            right += batch.iter().zip(&answers).filter(|(i, answer)| self.is_right(**i, answer)).count();
            all.extend(answers);
        }
        let n = self.held_out.len() as f64;
        let figures = (!self.held_out.is_empty()).then(|| (loss_sum / n, right as f64 / n));
        Ok(Judged { figures, answers: all })
    }

    fn is_right(&self, index: usize, answer: &Answer) -> bool {
        answer.best.is_some_and(|(class, _)| class == usize::from(self.data.samples[index].label))
    }

    /// The inputs of a batch; shifted at random when learning.
    fn input(&self, batch: &[usize], mut rng: Option<&mut StdRng>) -> Result<Tensor, tch::TchError> {
        let shift = self.settings.shift as i64;
        let mut numbers = Vec::with_capacity(batch.len() * self.contract.input_len());
        for index in batch {
            let image = &self.data.samples[*index].image;
            match rng.as_deref_mut().filter(|_| shift > 0) {
                Some(rng) => {
                    let (dx, dy) = (rng.random_range(-shift..=shift), rng.random_range(-shift..=shift));
                    numbers.extend(self.contract.normalise(&shifted(image, dx, dy)));
                }
                None => numbers.extend(self.contract.normalise(image)),
            }
        }
        let side = i64::from(SIDE);
        Tensor::f_from_slice(&numbers)?.f_view([batch.len() as i64, 3, side, side])
    }

    fn labels(&self, batch: &[usize]) -> Result<Tensor, tch::TchError> {
        let labels: Vec<i64> = batch.iter().map(|i| i64::from(self.data.samples[*i].label)).collect();
        Tensor::f_from_slice(&labels)
    }
}

/// Mean cross-entropy of logits.
fn loss(logits: &Tensor, labels: &Tensor) -> Result<Tensor, tch::TchError> {
    let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?;
    // -100 is PyTorch's label for "ignore"; no label of ours is negative.
    log_probabilities.f_nll_loss(labels, None::<&Tensor>, Reduction::Mean, -100)
}

/// Moves an image; what comes in from outside repeats the edge.
fn shifted(image: &RgbImage, dx: i64, dy: i64) -> RgbImage {
    let clamp = |at: u32, by: i64, size: u32| (i64::from(at) - by).clamp(0, i64::from(size) - 1) as u32;
    let (width, height) = image.dimensions();
    RgbImage::from_fn(width, height, |x, y| *image.get_pixel(clamp(x, dx, width), clamp(y, dy, height)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_and_repeats_the_edge() {
        let image = RgbImage::from_fn(3, 1, |x, _| image::Rgb([x as u8; 3]));
        let row = |dx| shifted(&image, dx, 5).pixels().map(|p| p.0[0]).collect::<Vec<_>>();
        assert_eq!((row(0), row(1), row(-2)), (vec![0, 1, 2], vec![0, 0, 1], vec![2, 2, 2]));
    }
}
