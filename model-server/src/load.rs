//! From an artefact to a model that is warm.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use crate::model::FILES;
use crate::queue::{Queue, Room, sizes, together};
use crate::served::{Identity, Served};
use crate::{
    Artefact, ArtefactError, Engine, EngineError, Metadata, Model, ModelError, Output, Plan, Precision, plan,
};

/// How long sizes of batches are tried, beside the smallest and the largest.
const WARM_UP: Duration = Duration::from_secs(5);

/// How models are run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Threads that run a model, at least 1.
    pub workers: usize,
    /// Threads of one operation within a model, at least 1.
    pub threads: usize,
    /// How many images may wait or be worked on, and how many run together.
    pub queue: Room,
    /// Numbers in which models compute.
    pub precision: Precision,
    /// What `/v2` answers with.
    pub infer_output: Output,
}

/// What is to be loaded.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Artefact directory.
    pub folder: PathBuf,
    /// Name of the model under `/v2`.
    pub name: String,
    /// Version that its description must name.
    pub version: String,
    /// Name of the revision, told in answers. Without, the name and the start of the digest.
    pub revision: Option<String>,
    /// Digest that it must have (I5), if known.
    pub sha256: Option<String>,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artefact is not the one that was asked for.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// The file of the model is not what can be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model does not load or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A model that gives probabilities has no logits to answer with.
    #[error(
        "--infer-output is logits, allowed: probabilities: that is what the model gives (metadata.json, output)"
    )]
    NoLogits,
}

/// Verifies, loads and warms up; blocks.
///
/// # Errors
/// If the artefact is not what was asked for, or does not run.
pub fn load(wanted: &Wanted, settings: &Settings, metrics: &Metrics) -> Result<Served, LoadError> {
    let artefact = Artefact::read(&wanted.folder)?;
    artefact.expect(Some(&wanted.version), wanted.sha256.as_deref())?;
    let Artefact { digest, metadata, profile, model } = artefact;
    let Settings { workers, threads, queue: room, infer_output, .. } = *settings;
    if (infer_output, metadata.output) == (Output::Logits, Output::Probabilities) {
        return Err(LoadError::NoLogits);
    }
    // Neither is kept after this: the graphs have copies of their own.
    let program = model.program(&metadata)?;
    drop(model);
    let platform = program.platform();
    let loaded = plan::load(settings.precision, &program, &metadata, threads)?;
    drop(program);
    let maker = || {
        let (loaded, metadata) = (loaded.clone(), metadata.clone());
        move || {
            let mut engine = loaded.engine(&metadata, threads)?;
            warm_up(engine.as_mut(), &metadata, room.batch)?;
            Ok(engine)
        }
    };
    let makers = (0..workers).map(|_| maker()).collect();
    let queue = Queue::start(makers, room, metrics)?;
    let revision = wanted.revision.clone().unwrap_or_else(|| format!("{}-{}", wanted.name, &digest[..8]));
    let identity = Identity { metadata, digest, revision, name: wanted.name.clone(), platform, infer_output };
    Ok(Served::new(identity, queue, Some(profile)))
}

/// The right engine for a model, on the calling thread and for it alone: the graph as it is, at full precision.
///
/// # Errors
/// If the model does not load.
pub fn engine(model: &Model, metadata: &Metadata, threads: usize) -> Result<Box<dyn Engine>, LoadError> {
    Ok(model.program(metadata)?.engine(metadata, threads, Plan::default())?)
}

/// Runs every size of a batch until libtorch has profiled and compiled the graph for it (it does so in the first two
/// runs), so that no client waits for it; the smallest and the largest first, which also proves that the graph fits its
/// description. The others are left out once it has taken [`WARM_UP`]: to a model that slow, a new size makes no difference.
fn warm_up(engine: &mut dyn Engine, metadata: &Metadata, largest: usize) -> Result<(), EngineError> {
    let (start, length) = (Instant::now(), metadata.preprocessing.input_len());
    let largest = together(largest);
    let inputs = vec![0.0; largest * length];
    let between = sizes(largest).filter(|images| ![1, largest].contains(images));
    for images in [1, largest].into_iter().chain(between) {
        if images != largest && start.elapsed() > WARM_UP {
            tracing::info!(images, largest, "warm-up is over: sizes between are not tried");
            break;
        }
        for _ in 0..2 {
            engine.run(&inputs[..images * length], images)?;
        }
    }
    Ok(())
}

/// Bytes of memory that a model is taken to need. A graph holds its weights as they were and as the processor likes them: by ONNX
/// Runtime, which may run TorchScript too, for each worker anew, by libtorch for each size of batches, which takes as much as the file once more. Of an
/// artefact without a model, 0.
#[must_use]
pub fn memory(folder: &Path, workers: usize) -> u64 {
    let length = |file: &&str| std::fs::metadata(folder.join(file)).map_or(0, |m| m.len());
    let file: u64 = FILES.iter().map(length).sum();
    file.saturating_mul((2 * workers as u64).max(3))
}
