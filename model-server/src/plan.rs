//! How a model is run: decided when it is loaded, by what it says then, and how fast.
//!
//! Another engine, layers that are fused, and fewer bits are used only where they give nearly the answers of the graph as it is, and
//! sooner.

use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use torchscript::Plan;

use crate::{Answer, Engine, EngineError, Loaded, Metadata, Program};

/// Numbers in which a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 16 bits.
    Bf16,
}

/// Images of one run.
const BATCH: usize = 8;
/// Runs before the first that counts: what is fused is compiled in the second.
const WARM: usize = 2;
/// Runs of which the fastest counts, at most.
const RUNS: usize = 20;
/// No further run begins after so long.
const TIME: Duration = Duration::from_millis(100);

/// A way to run a model that may be better.
struct Way {
    name: &'static str,
    load: fn(&Program, &Metadata) -> Result<Loaded, EngineError>,
    /// Batches of noise that it is asked about beside the graph as it is.
    batches: usize,
    /// Furthest that a probability may be from that of the graph as it is.
    most: f64,
    /// Whether somebody asked for it, who should know that it is not used.
    is_asked: bool,
}

const TRANSLATED: Way =
    Way { name: "ONNX Runtime", load: Program::translate, batches: 2, most: 1e-3, is_asked: false };
const FUSED: Way = Way {
    name: "oneDNN's fusion",
    load: |program, metadata| program.load(metadata, Plan::Fused),
    batches: 2,
    most: 1e-3,
    is_asked: false,
};
const BF16: Way = Way {
    name: "bf16",
    load: |program, metadata| program.load(metadata, Plan::FusedBf16),
    batches: 8,
    most: 0.05,
    is_asked: true,
};

/// At full precision.
const FP32: &[Way] = &[TRANSLATED, FUSED];

/// Loads a model for the quickest way to run it, of those that are allowed. It is looked for by a thread like those that will run
/// it, with so many threads for one operation.
///
/// # Errors
/// If the model does not load or run.
pub fn load(
    asked: Precision,
    program: &Program,
    metadata: &Metadata,
    threads: usize,
) -> Result<Loaded, EngineError> {
    let ways = ways(asked, program);
    thread::scope(|scope| {
        let quickest = thread::Builder::new()
            .name("plan".into())
            .spawn_scoped(scope, || quickest(ways, program, metadata, threads));
        let quickest = quickest.map_err(|error| EngineError::Load(format!("no thread: {error}")))?;
        quickest.join().unwrap_or_else(|_| Err(EngineError::Load("the model panicked".into())))
    })
}

/// What may be better than the graph as it is. Says why, if it is less than was asked for.
fn ways(asked: Precision, program: &Program) -> &'static [Way] {
    let wants_bf16 = asked == Precision::Bf16;
    if matches!(program, Program::Onnx(_)) {
        if wants_bf16 {
            tracing::warn!("bf16 is not used: an ONNX file is run in the numbers that it is written in");
        }
        return &[];
    }
    if wants_bf16 && !has_amx(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        tracing::warn!("bf16 is not used: this processor has no AMX, and would be slower");
        return FP32;
    }
    if wants_bf16 { &[TRANSLATED, FUSED, BF16] } else { FP32 }
}

fn quickest(
    ways: &[Way],
    program: &Program,
    metadata: &Metadata,
    threads: usize,
) -> Result<Loaded, EngineError> {
    let mut best = program.load(metadata, Plan::default())?;
    let Some(batches) = ways.iter().map(|way| way.batches).max() else { return Ok(best) };
    let inputs = noise(metadata, batches);
    let plain = Tried::of(&best, metadata, &inputs, threads)?;
    let mut time = plain.time;
    for Way { name, load, batches, most, is_asked } in ways {
        let tried = load(program, metadata).and_then(|loaded| {
            let tried = Tried::of(&loaded, metadata, &inputs[..*batches], threads)?;
            Ok((loaded, tried))
        });
        let verdict = tried.map_err(|error| error.to_string()).and_then(|(loaded, tried)| {
            let (furthest, faster) = (plain.furthest(&tried), time.as_secs_f64() / tried.time.as_secs_f64());
            judge(furthest, *most, faster)?;
            tracing::info!(
                furthest,
                allowed = most,
                faster,
                "{name}: used; so far are probabilities, at most"
            );
            Ok((loaded, tried.time))
        });
        match verdict {
            Ok(quicker) => (best, time) = quicker,
            Err(reason) if *is_asked => tracing::warn!("{name} is not used: {reason}"),
            Err(reason) => tracing::info!("{name} is not used: {reason}"),
        }
    }
    Ok(best)
}

/// Whether a way is worth it; why not.
fn judge(furthest: f64, most: f64, faster: f64) -> Result<(), String> {
    if furthest > most {
        return Err(format!("a probability is off by {furthest:.4}, allowed: {most}"));
    }
    if faster <= 1.0 {
        return Err(format!("this model is not faster with it ({faster:.2})"));
    }
    Ok(())
}

/// Batches of noise, as the model is given them.
fn noise(metadata: &Metadata, batches: usize) -> Vec<Vec<f32>> {
    let contract = &metadata.preprocessing;
    let mut random = StdRng::seed_from_u64(1);
    let mut image =
        || image::RgbImage::from_fn(contract.width, contract.height, |_, _| image::Rgb(random.random()));
    (0..batches).map(|_| (0..BATCH).flat_map(|_| contract.normalise(&image())).collect()).collect()
}

/// What a model says of images of noise, and how fast.
struct Tried {
    probabilities: Vec<f64>,
    /// Of [`BATCH`] images.
    time: Duration,
}

impl Tried {
    fn of(
        loaded: &Loaded,
        metadata: &Metadata,
        batches: &[Vec<f32>],
        threads: usize,
    ) -> Result<Self, EngineError> {
        let mut model = loaded.engine(metadata, threads)?;
        (0..WARM).try_for_each(|_| model.run(&batches[0], BATCH).map(drop))?;
        let (mut tried, begun) = (Self { probabilities: vec![], time: Duration::MAX }, Instant::now());
        for inputs in batches {
            let outputs = tried.run(model.as_mut(), inputs)?;
            let answers = outputs.chunks(metadata.classes.len());
            let answers =
                answers.flat_map(|outputs| Answer::from_outputs(outputs, metadata.output).probabilities);
            tried.probabilities.extend(answers);
        }
        for _ in batches.len()..RUNS {
            if begun.elapsed() < TIME {
                tried.run(model.as_mut(), &batches[0])?;
            }
        }
        Ok(tried)
    }

    fn run(&mut self, model: &mut dyn Engine, inputs: &[f32]) -> Result<Vec<f32>, EngineError> {
        let start = Instant::now();
        let outputs = model.run(inputs, BATCH);
        self.time = self.time.min(start.elapsed());
        outputs
    }

    /// The largest difference of a probability, of the images that both were asked about.
    fn furthest(&self, other: &Self) -> f64 {
        // A number that is none is further than any.
        let difference = |(a, b): (&f64, &f64)| Some((a - b).abs()).filter(|d| d.is_finite());
        let both = self.probabilities.iter().zip(&other.probabilities);
        both.map(|both| difference(both).unwrap_or(f64::INFINITY)).fold(0.0, f64::max)
    }
}

fn has_amx(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "amx_bf16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_what_it_has() {
        assert!(has_amx("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n"));
        assert!(!has_amx("flags\t\t: fpu avx2\n") && !has_amx(""));
    }

    #[test]
    fn a_way_is_used_where_it_says_the_same_and_is_faster() {
        assert_eq!(judge(0.01, 0.05, 1.5), Ok(()));
        assert_eq!(judge(0.06, 0.05, 2.0).unwrap_err(), "a probability is off by 0.0600, allowed: 0.05");
        assert!(judge(f64::INFINITY, 0.05, 2.0).unwrap_err().contains("off by inf"));
        assert_eq!(judge(0.0, 0.05, 1.0).unwrap_err(), "this model is not faster with it (1.00)");
    }

    #[test]
    fn numbers_that_are_none_are_further_than_any() {
        let tried = |probabilities| Tried { probabilities, time: Duration::MAX };
        assert_eq!(tried(vec![0.25, 0.5]).furthest(&tried(vec![0.5, 0.5])), 0.25);
        assert_eq!(tried(vec![f64::NAN]).furthest(&tried(vec![0.5])), f64::INFINITY);
    }
}
