//! Whether a model computes in fewer bits: decided when it is loaded, by what it says then, and how fast.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use torchscript::Precision;

use crate::{Answer, Engine, EngineError, Metadata, Program, Torch};

/// Images of noise that both precisions are asked about.
const IMAGES: usize = 64;
/// Images of one run of a comparison of speed.
const BATCH: usize = 8;
/// Runs of which the fastest counts.
const RUNS: usize = 20;
/// Furthest that a probability may be from that at full precision.
const MOST: f64 = 0.05;

/// The precision that was asked for, or full precision where the processor is not faster in fewer bits, or the model is
/// another one in them.
///
/// # Errors
/// If the model does not run.
pub(crate) fn choose(
    asked: Precision,
    program: &Program,
    metadata: &Metadata,
) -> Result<Precision, EngineError> {
    if asked == Precision::Fp32 {
        return Ok(asked);
    }
    let Program::TorchScript(archive) = program else {
        tracing::warn!("bf16 is not used: an ONNX file is run in the numbers that it is written in");
        return Ok(Precision::Fp32);
    };
    if !has_amx(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        tracing::warn!("bf16 is not used: this processor has no AMX, and would be slower");
        return Ok(Precision::Fp32);
    }
    let inputs = noise(metadata);
    let [full, half] =
        [Precision::Fp32, Precision::Bf16].map(|precision| Tried::of(precision, archive, metadata, &inputs));
    let (full, half) = (full?, half?);
    let furthest = full.furthest(&half);
    let faster = full.time.as_secs_f64() / half.time.as_secs_f64();
    let verdict = judge(furthest, faster);
    match verdict {
        Ok(()) => tracing::info!(
            furthest,
            faster,
            "bf16 is used; so far is a probability from that in fp32, at most, of images of noise"
        ),
        Err(reason) => tracing::warn!(furthest, allowed = MOST, faster, "bf16 is not used: {reason}"),
    }
    Ok(if verdict.is_ok() { asked } else { Precision::Fp32 })
}

/// Whether fewer bits are worth it; why not.
fn judge(furthest: f64, faster: f64) -> Result<(), &'static str> {
    if furthest > MOST {
        return Err("probabilities are too far from those in fp32");
    }
    if faster <= 1.0 {
        return Err("this model is not faster in it");
    }
    Ok(())
}

/// [`IMAGES`] of noise, as the model is given them.
fn noise(metadata: &Metadata) -> Vec<f32> {
    let contract = &metadata.preprocessing;
    let mut random = StdRng::seed_from_u64(1);
    let mut image =
        || image::RgbImage::from_fn(contract.width, contract.height, |_, _| image::Rgb(random.random()));
    (0..IMAGES).flat_map(|_| contract.normalise(&image())).collect()
}

/// What a model says of images of noise, and how fast.
struct Tried {
    probabilities: Vec<f64>,
    /// Of [`BATCH`] images.
    time: Duration,
}

impl Tried {
    fn of(
        precision: Precision,
        archive: &[u8],
        metadata: &Metadata,
        inputs: &[f32],
    ) -> Result<Self, EngineError> {
        let mut model = Torch::load(archive, metadata, precision)?;
        let outputs = model.run(inputs, IMAGES)?;
        let answers = outputs.chunks(metadata.classes.len());
        let probabilities = answers
            .flat_map(|outputs| Answer::from_outputs(outputs, metadata.output).probabilities)
            .collect();
        let mut time = Duration::MAX;
        for _ in 0..RUNS {
            let start = Instant::now();
            model.run(&inputs[..inputs.len() / IMAGES * BATCH], BATCH)?;
            time = time.min(start.elapsed());
        }
        Ok(Self { probabilities, time })
    }

    /// The largest difference of a probability.
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
    fn it_is_used_where_it_says_the_same_and_is_faster() {
        assert_eq!(judge(0.01, 1.5), Ok(()));
        assert!(judge(0.06, 2.0).unwrap_err().contains("too far"));
        assert!(judge(f64::INFINITY, 2.0).unwrap_err().contains("too far"));
        assert!(judge(0.0, 1.0).unwrap_err().contains("not faster"));
    }
}
