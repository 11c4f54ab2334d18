//! Training: one net on all training images, and one per fold for what is said about unseen images.
//!
//! Each training (a *fit*) is one thread with one torch thread and a random generator of its own, so the
//! same data, settings and seed give the same weights on the same kind of processor, however many fits run
//! side by side. (Other processors round differently: libtorch chooses its kernels by instruction set.)

mod fit;
mod write;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

pub use fit::Epoch;
use fit::{Fit, Fitted};

use crate::dataset::{Dataset, DatasetError, SIDE, Sample};
use crate::{Answer, ArtefactError, EngineError, Metadata, Output, Preprocessing, Resize};

/// What to train, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Directory with training and test images.
    pub data: PathBuf,
    /// Artefact directory to write; must not exist.
    pub out: PathBuf,
    /// Semantic version of the model.
    pub version: String,
    /// Passes over the images, at least 1.
    pub epochs: u32,
    /// Images per step, at least 1.
    pub batch_size: u32,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Largest random shift of an image, in pixels; 0 for none.
    pub shift: u32,
    /// Folds of the reference profile, at least 2.
    pub folds: u32,
    /// Seed of weights, order, shifts and folds.
    pub seed: u64,
    /// Fits that run side by side, at least 1; changes nothing but the time.
    pub jobs: usize,
}

/// Which fit an epoch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The model that is shipped, trained on all training images.
    Model,
    /// One of the folds, from 0.
    Fold(u32),
}

/// Told after every epoch of every fit, from the calling thread.
pub trait Progress {
    /// An epoch is over.
    fn epoch(&mut self, part: Part, epoch: &Epoch);
}

/// How the training went, epoch by epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Mean loss per image of the shipped model while it was trained.
    pub training_loss: Vec<f64>,
    /// Mean loss of the folds' models on images that they did not see.
    pub held_out_loss: Vec<f64>,
    /// Their share of right answers on these images.
    pub held_out_accuracy: Vec<f64>,
    /// Share of right answers of the shipped model on the test images.
    pub test_accuracy: f64,
}

/// A finished training.
#[derive(Debug)]
pub struct Trained {
    /// Digest of the artefact (I5).
    pub digest: String,
    /// Its description.
    pub metadata: Metadata,
    /// How it went.
    pub history: History,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data set is wrong.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Training and test images have other classes.
    #[error("the training images have {train} classes, the test images {test}")]
    Classes {
        /// Number of classes in training.
        train: usize,
        /// Number of classes in the test.
        test: usize,
    },
    /// Fewer images than folds.
    #[error("{images} training images are too few for {folds} folds")]
    TooFew {
        /// Number of images.
        images: usize,
        /// Number of folds.
        folds: u32,
    },
    /// Artefacts are never changed in place.
    #[error("{} exists; an artefact is never overwritten: choose another directory or remove it", .0.display())]
    Exists(PathBuf),
    /// libtorch failed.
    #[error("training failed: {0}")]
    Torch(String),
    /// The loss is no number any more.
    #[error("the loss of epoch {epoch} is {loss}: try a smaller --learning-rate")]
    Diverged {
        /// Number of the epoch, from 1.
        epoch: u32,
        /// The loss.
        loss: f64,
    },
    /// The trained model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file cannot be written.
    #[error("{}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        reason: String,
    },
    /// What was written does not read back.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(crate::torch::one_line(&error))
    }
}

/// Trains a model and writes its artefact.
///
/// # Errors
/// If the data is wrong, the training fails, or the artefact cannot be written.
pub fn train(settings: &Settings, progress: &mut dyn Progress) -> Result<Trained, TrainError> {
    if settings.out.exists() {
        return Err(TrainError::Exists(settings.out.clone()));
    }
    let data = Dataset::train(&settings.data)?;
    let test = Dataset::test(&settings.data)?;
    if data.classes != test.classes {
        return Err(TrainError::Classes { train: data.classes.len(), test: test.classes.len() });
    }
    if data.samples.len() < settings.folds as usize {
        return Err(TrainError::TooFew { images: data.samples.len(), folds: settings.folds });
    }
    let contract = contract(&data);
    let fold_of = data.deal(settings.folds as usize, settings.seed);
    let plan = Fit::plan(settings, &data, &fold_of, &contract);
    let fitted = run(&plan, settings.jobs, progress)?;
    write::artefact(settings, &data, &test, contract, fitted)
}

/// The preprocessing: pixels to 0..=1, then each channel to mean 0 and deviation 1 over the training
/// images. Rounded, so that `metadata.json` holds exactly what was used.
fn contract(data: &Dataset) -> Preprocessing {
    let mut mean = Vec::new();
    let mut std = Vec::new();
    for channel in 0..3 {
        let of = |sample| channel_of(sample, channel);
        let values = || data.samples.iter().flat_map(of);
        let n = values().count() as f64;
        let average = values().sum::<f64>() / n;
        let variance = values().map(|v| (v - average).powi(2)).sum::<f64>() / n;
        let round = |v: f64| (v * 1e4).round() / 1e4;
        mean.push(round(average));
        // All pixels equal: nothing to divide by.
        std.push(if variance < 1e-8 { 1.0 } else { round(variance.sqrt()) });
    }
    let scale = 1.0 / 255.0;
    Preprocessing { width: SIDE, height: SIDE, channels: 3, scale, mean, std, resize: Resize::Bilinear }
}

/// The values of one channel, in 0..=1.
fn channel_of(sample: &Sample, channel: usize) -> impl Iterator<Item = f64> + '_ {
    sample.image.as_raw().iter().skip(channel).step_by(3).map(|v| f64::from(*v) / 255.0)
}

/// Runs all fits, at most `jobs` at a time, and reports epochs as they end.
fn run(plan: &[Fit<'_>], jobs: usize, progress: &mut dyn Progress) -> Result<Vec<Fitted>, TrainError> {
    let next = AtomicUsize::new(0);
    let (report, epochs) = mpsc::channel();
    let mut fitted = std::thread::scope(|scope| {
        let worker = |report: mpsc::Sender<(Part, Epoch)>| {
            crate::limit_threads(1);
            let mut done = Vec::new();
            while let Some(fit) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                // The receiver outlives the workers; a lost line of progress would be no failure anyway.
                done.push(fit.run(&mut |epoch| {
                    let _ = report.send((fit.part, epoch));
                }));
            }
            done
        };
        let workers: Vec<_> = (0..jobs.clamp(1, plan.len()))
            .map(|_| {
                let report = report.clone();
                scope.spawn(move || worker(report))
            })
            .collect();
        drop(report);
        for (part, epoch) in epochs {
            progress.epoch(part, &epoch);
        }
        let results = workers.into_iter().flat_map(|w| w.join().expect("a fit does not panic"));
        results.collect::<Result<Vec<Fitted>, TrainError>>()
    })?;
    fitted.sort_by_key(|f| f.part.order());
    Ok(fitted)
}

impl Part {
    fn order(self) -> u32 {
        match self {
            Self::Model => 0,
            Self::Fold(fold) => fold + 1,
        }
    }
}

/// Reads answers off a tensor of logits.
fn answers(logits: &tch::Tensor) -> Result<Vec<Answer>, TrainError> {
    let classes = logits.size()[1] as usize;
    let mut numbers = vec![0f32; logits.numel()];
    logits.f_contiguous()?.f_flatten(0, -1)?.f_copy_data(&mut numbers, logits.numel())?;
    Ok(numbers.chunks_exact(classes).map(|outputs| Answer::from_outputs(outputs, Output::Logits)).collect())
}
