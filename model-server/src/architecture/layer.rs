//! What networks are made of.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};
use weights::Weights;

/// What PyTorch adds to a variance before it divides by its root.
const EPSILON: f64 = 1e-5;

/// One step from an input to an output.
#[derive(Debug)]
pub(super) enum Layer {
    /// A convolution.
    Conv(Conv),
    /// Batch normalisation with the statistics of the training.
    Norm {
        /// The prefix of its tensors.
        name: String,
        /// Channels of its input.
        channels: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// The largest value of each window.
    MaxPool {
        /// Side of a window, in pixels.
        side: usize,
        /// Pixels from one window to the next.
        stride: usize,
        /// Pixels around the input, which are never the largest.
        padding: usize,
    },
    /// The mean of each channel.
    Mean,
    /// All channels one after the other.
    Flatten,
    /// A fully connected layer.
    Linear {
        /// The prefix of its tensors.
        name: String,
        /// Numbers that go in.
        inputs: usize,
        /// Numbers that come out.
        outputs: usize,
    },
    /// The sum of what two ways make of the input; a way without layers is the input itself.
    Sum {
        /// The longer way.
        body: Vec<Layer>,
        /// The shorter one.
        shortcut: Vec<Layer>,
    },
}

/// A convolution, padded so that stride 1 keeps the size.
#[derive(Debug)]
pub(super) struct Conv {
    /// The prefix of its tensors.
    pub(super) name: String,
    /// Channels of its input.
    pub(super) inputs: usize,
    /// Channels of its output.
    pub(super) outputs: usize,
    /// Side of the kernel, odd.
    pub(super) side: usize,
    /// Pixels of the input per pixel of the output.
    pub(super) stride: usize,
    /// Channels are split into so many groups that do not mix.
    pub(super) groups: usize,
    /// Whether something is added to each channel.
    pub(super) bias: bool,
}

impl Conv {
    /// One of a single group, and without bias, as before a batch normalisation.
    pub(super) fn new(name: &str, inputs: usize, outputs: usize, side: usize, stride: usize) -> Self {
        Self { name: name.to_owned(), inputs, outputs, side, stride, groups: 1, bias: false }
    }
}

/// Names and shapes of all tensors, in the order of the state dict.
pub(super) fn tensors(layers: &[Layer]) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    for layer in layers {
        match layer {
            Layer::Conv(conv) => {
                let shape = [conv.outputs, conv.inputs / conv.groups, conv.side, conv.side];
                all.push((format!("{}.weight", conv.name), shape.to_vec()));
                if conv.bias {
                    all.push((format!("{}.bias", conv.name), vec![conv.outputs]));
                }
            }
            Layer::Norm { name, channels } => {
                let of = |part: &str| (format!("{name}.{part}"), vec![*channels]);
                all.extend(["weight", "bias", "running_mean", "running_var"].map(of));
                all.push((format!("{name}.num_batches_tracked"), Vec::new()));
            }
            Layer::Linear { name, inputs, outputs } => {
                all.push((format!("{name}.weight"), vec![*outputs, *inputs]));
                all.push((format!("{name}.bias"), vec![*outputs]));
            }
            Layer::Sum { body, shortcut } => {
                all.extend(tensors(body));
                all.extend(tensors(shortcut));
            }
            Layer::Relu | Layer::Relu6 | Layer::MaxPool { .. } | Layer::Mean | Layer::Flatten => {}
        }
    }
    all
}

/// Tensors by name. None wants a gradient: tracing would refuse it.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, Tensor>);

impl Parameters {
    /// Those that the layers need; the weights were compared with [`tensors`].
    pub(super) fn new(layers: &[Layer], weights: &Weights) -> Result<Self, TchError> {
        let mut all = BTreeMap::new();
        for (name, shape) in tensors(layers) {
            // Absent is only what nothing needs: the number of batches that a norm has seen.
            let Some(array) = weights.get(&name) else { continue };
            let shape: Vec<i64> = shape.iter().map(|length| int(*length)).collect();
            all.insert(name, Tensor::f_from_slice(&array.to_f32())?.f_view(shape.as_slice())?);
        }
        Ok(Self(all))
    }

    fn of(&self, layer: &str, part: &str) -> &Tensor {
        self.0.get(&format!("{layer}.{part}")).expect("the weights were compared with the architecture")
    }
}

/// Runs the layers one after the other.
pub(super) fn forward(layers: &[Layer], of: &Parameters, input: &Tensor) -> Result<Tensor, TchError> {
    layers.iter().try_fold(input.shallow_clone(), |x, layer| layer.forward(of, &x))
}

impl Layer {
    fn forward(&self, of: &Parameters, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Conv(conv) => {
                let weight = of.of(&conv.name, "weight");
                let bias = conv.bias.then(|| of.of(&conv.name, "bias"));
                let [stride, padding] = [conv.stride, conv.side / 2].map(|n| [int(n); 2]);
                x.f_conv2d(weight, bias, stride, padding, [1, 1], int(conv.groups))
            }
            Self::Norm { name, .. } => {
                let [weight, bias, mean, variance] =
                    ["weight", "bias", "running_mean", "running_var"].map(|part| Some(of.of(name, part)));
                // The momentum is for training alone.
                x.f_batch_norm(weight, bias, mean, variance, false, 0.0, EPSILON, false)
            }
            Self::Relu => x.f_relu(),
            Self::Relu6 => x.f_relu6(),
            Self::MaxPool { side, stride, padding } => {
                let [side, stride, padding] = [*side, *stride, *padding].map(|n| [int(n); 2]);
                x.f_max_pool2d(side, stride, padding, [1, 1], false)
            }
            Self::Mean => x.f_adaptive_avg_pool2d([1, 1])?.f_flatten(1, -1),
            // Not a view of a shape: that would write the traced batch size into the graph.
            Self::Flatten => x.f_flatten(1, -1),
            Self::Linear { name, .. } => x.f_linear(of.of(name, "weight"), Some(of.of(name, "bias"))),
            Self::Sum { body, shortcut } => forward(body, of, x)?.f_add(&forward(shortcut, of, x)?),
        }
    }
}

/// A length as libtorch counts.
pub(super) fn int(n: usize) -> i64 {
    i64::try_from(n).expect("sizes of layers are small")
}
