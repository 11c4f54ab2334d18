//! ResNet-18 (He and others, 2015), with torchvision's names.

use super::layer::{Conv, Layer};

/// Channels of the four pairs of blocks.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// How it begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stem {
    /// A 7x7 convolution and a pool, each of stride 2: torchvision's `resnet18`.
    Imagenet,
    /// A 3x3 convolution of stride 1 and no pool, for small images such as those of CIFAR-10.
    Cifar,
}

pub(super) fn layers(stem: Stem, classes: usize) -> Vec<Layer> {
    let mut channels = CHANNELS[0];
    let (side, stride) = match stem {
        Stem::Imagenet => (7, 2),
        Stem::Cifar => (3, 1),
    };
    let mut layers = vec![
        Layer::Conv(Conv::new("conv1", 3, channels, side, stride)),
        Layer::Norm { name: "bn1".to_owned(), channels },
        Layer::Relu,
    ];
    if matches!(stem, Stem::Imagenet) {
        layers.push(Layer::MaxPool { side: 3, stride: 2, padding: 1 });
    }
    for (i, outputs) in CHANNELS.into_iter().enumerate() {
        let stride = if i == 0 { 1 } else { 2 };
        layers.extend(block(&format!("layer{}.0", i + 1), channels, outputs, stride));
        layers.extend(block(&format!("layer{}.1", i + 1), outputs, outputs, 1));
        channels = outputs;
    }
    layers.extend([Layer::Mean, Layer::Linear { name: "fc".to_owned(), inputs: channels, outputs: classes }]);
    layers
}

/// Two convolutions whose result is added to the input, or to a projection of it where the size changes.
fn block(name: &str, inputs: usize, outputs: usize, stride: usize) -> [Layer; 2] {
    let conv = |part: &str, inputs, side, stride| {
        Layer::Conv(Conv::new(&format!("{name}.{part}"), inputs, outputs, side, stride))
    };
    let norm = |part: &str| Layer::Norm { name: format!("{name}.{part}"), channels: outputs };
    let body = vec![
        conv("conv1", inputs, 3, stride),
        norm("bn1"),
        Layer::Relu,
        conv("conv2", outputs, 3, 1),
        norm("bn2"),
    ];
    let shortcut = if inputs == outputs && stride == 1 {
        Vec::new()
    } else {
        vec![conv("downsample.0", inputs, 1, stride), norm("downsample.1")]
    };
    [Layer::Sum { body, shortcut }, Layer::Relu]
}
