//! MobileNetV2 (Sandler and others, 2018) of width 1, with torchvision's names.

use super::layer::{Conv, Layer};

/// Table 2 of the paper: expansion, channels, blocks, stride of the first of them.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];
/// Channels of the first convolution.
const FIRST: usize = 32;
/// Channels of the last one.
const LAST: usize = 1280;

pub(super) fn layers(classes: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    layers.extend(unit("features.0", Conv::new("features.0.0", 3, FIRST, 3, 2)));
    let (mut channels, mut index) = (FIRST, 1);
    for (expansion, outputs, blocks, first) in STAGES {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            layers.extend(inverted(&format!("features.{index}.conv"), channels, outputs, expansion, stride));
            (channels, index) = (outputs, index + 1);
        }
    }
    let name = format!("features.{index}");
    layers.extend(unit(&name, Conv::new(&format!("{name}.0"), channels, LAST, 1, 1)));
    // In between PyTorch drops out, in training alone.
    let output = Layer::Linear { name: "classifier.1".to_owned(), inputs: LAST, outputs: classes };
    layers.extend([Layer::Mean, output]);
    layers
}

/// Expands, looks at each channel for itself, projects; added to the input where the size stays.
fn inverted(name: &str, inputs: usize, outputs: usize, expansion: usize, stride: usize) -> Vec<Layer> {
    let hidden = inputs * expansion;
    let (mut body, mut part) = (Vec::new(), 0);
    if expansion != 1 {
        body.extend(unit(&format!("{name}.0"), Conv::new(&format!("{name}.0.0"), inputs, hidden, 1, 1)));
        part = 1;
    }
    let depthwise = Conv::new(&format!("{name}.{part}.0"), hidden, hidden, 3, stride);
    body.extend(unit(&format!("{name}.{part}"), Conv { groups: hidden, ..depthwise }));
    body.push(Layer::Conv(Conv::new(&format!("{name}.{}", part + 1), hidden, outputs, 1, 1)));
    body.push(Layer::Norm { name: format!("{name}.{}", part + 2), channels: outputs });
    if stride == 1 && inputs == outputs { vec![Layer::Sum { body, shortcut: Vec::new() }] } else { body }
}

/// A convolution with what follows it nearly everywhere.
fn unit(name: &str, conv: Conv) -> [Layer; 3] {
    let norm = Layer::Norm { name: format!("{name}.1"), channels: conv.outputs };
    [Layer::Conv(conv), norm, Layer::Relu6]
}
