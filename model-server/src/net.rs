//! The small CNN of the classic CIFAR-10 lesson: three convolutions, two fully connected layers.
//!
//! ```text
//! 3x32x32 ─ conv 3x3 (16) ─ relu ─ pool ─ conv 3x3 (32) ─ relu ─ pool ─ conv 3x3 (64) ─ relu ─ pool ─ 1024 ─ fc (128) ─ relu ─ fc (classes)
//! ```
//! It ends in logits. Weights come from an own random generator, not from libtorch's global one, so that
//! several nets can be trained side by side and each still depends on its seed alone.

use rand::{Rng, rngs::StdRng};
use tch::nn::{Path, VarStore};
use tch::{CModule, Device, TchError, Tensor};

use crate::trace::trace;

/// What `metadata.json` calls it.
pub(crate) const NAME: &str = "cnn-3conv-2fc";
/// Channels of the convolutions.
pub(crate) const FILTERS: [i64; 3] = [16, 32, 64];
/// Numbers between the two last layers.
pub(crate) const HIDDEN: i64 = 128;

/// The net and its weights.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) weights: VarStore,
    convolutions: Vec<Layer>,
    hidden: Layer,
    output: Layer,
    side: i64,
}

#[derive(Debug)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
}

impl Net {
    /// A fresh net for inputs of `side` x `side` RGB pixels; `side` is a multiple of 8.
    pub(crate) fn new(side: i64, classes: i64, rng: &mut StdRng) -> Result<Self, TchError> {
        let weights = VarStore::new(Device::Cpu);
        let root = weights.root();
        let mut convolutions = Vec::new();
        let mut channels = 3;
        for (i, filters) in FILTERS.into_iter().enumerate() {
            let path = root.sub(format!("conv{}", i + 1));
            convolutions.push(layer(&path, &[filters, channels, 3, 3], rng)?);
            channels = filters;
        }
        let flat = channels * (side / 8) * (side / 8);
        let hidden = layer(&root.sub("fc1"), &[HIDDEN, flat], rng)?;
        let output = layer(&root.sub("fc2"), &[classes, HIDDEN], rng)?;
        Ok(Self { weights, convolutions, hidden, output, side })
    }

    /// Logits for a batch.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for Layer { weight, bias } in &self.convolutions {
            x = x.f_conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1)?.f_relu()?;
            x = x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
        }
        // Not `flat_view`: that would write the traced batch size into the graph.
        let x = x.f_flatten(1, -1)?.f_linear(&self.hidden.weight, Some(&self.hidden.bias))?.f_relu()?;
        x.f_linear(&self.output.weight, Some(&self.output.bias))
    }

    /// The net as TorchScript. The weights are frozen by this.
    pub(crate) fn trace(mut self) -> Result<CModule, TchError> {
        self.weights.freeze();
        trace(self.side, self.side, |input| self.forward(input))
    }
}

/// Weights and biases uniform in ±1/sqrt(inputs), which is PyTorch's default.
fn layer(path: &Path<'_>, shape: &[i64], rng: &mut StdRng) -> Result<Layer, TchError> {
    let inputs: i64 = shape[1..].iter().product();
    let bound = 1.0 / (inputs as f32).sqrt();
    let mut draw = |shape: &[i64]| {
        let n = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..n).map(|_| rng.random_range(-bound..bound)).collect();
        Tensor::f_from_slice(&values)?.f_view(shape)
    };
    let (weight, bias) = (draw(shape)?, draw(&shape[..1])?);
    Ok(Layer { weight: path.add("weight", weight, true), bias: path.add("bias", bias, true) })
}
