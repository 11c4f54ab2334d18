//! Whether a model may compute in fewer bits: decided when it is loaded, by what it says then.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use torchscript::Precision;

use crate::{Answer, Engine, EngineError, Metadata, Program, Torch};

/// Images of noise that both precisions are asked about.
const IMAGES: usize = 64;
/// Furthest that a probability may be from that at full precision.
const MOST: f64 = 0.05;

/// The precision that was asked for, or full precision where the processor would not be faster in fewer bits, or the
/// model is another one in them.
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
    let furthest = furthest(archive, metadata)?;
    if furthest > MOST {
        tracing::warn!(
            furthest,
            allowed = MOST,
            "bf16 is not used: probabilities are too far from those in fp32"
        );
        return Ok(Precision::Fp32);
    }
    tracing::info!(
        furthest,
        "bf16 is used; so far is a probability from that in fp32, at most, of images of noise"
    );
    Ok(asked)
}

fn has_amx(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags"));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "amx_bf16"))
}

/// The largest difference of a probability, over images of noise.
fn furthest(archive: &[u8], metadata: &Metadata) -> Result<f64, EngineError> {
    let contract = &metadata.preprocessing;
    let mut random = StdRng::seed_from_u64(1);
    let mut noise =
        || image::RgbImage::from_fn(contract.width, contract.height, |_, _| image::Rgb(random.random()));
    let inputs: Vec<f32> = (0..IMAGES).flat_map(|_| contract.normalise(&noise())).collect();
    let probabilities = |precision| {
        let outputs = Torch::load(archive, metadata, precision)?.run(&inputs, IMAGES)?;
        let answers = outputs.chunks(metadata.classes.len());
        let answers =
            answers.flat_map(|outputs| Answer::from_outputs(outputs, metadata.output).probabilities);
        Ok::<Vec<f64>, EngineError>(answers.collect())
    };
    let (full, half) = (probabilities(Precision::Fp32)?, probabilities(Precision::Bf16)?);
    // A number that is none is further than any.
    let difference = |(full, half): (&f64, &f64)| Some((full - half).abs()).filter(|d| d.is_finite());
    Ok(full.iter().zip(&half).map(|both| difference(both).unwrap_or(f64::INFINITY)).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_what_it_has() {
        assert!(has_amx("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n"));
        assert!(!has_amx("flags\t\t: fpu avx2\n") && !has_amx(""));
    }
}
