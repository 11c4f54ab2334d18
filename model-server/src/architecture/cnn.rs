//! The small CNN that `train` makes ([`crate::net`]), for inputs of any size from 8 pixels on.

use super::Size;
use super::layer::{Conv, Layer};
use crate::net::{FILTERS, HIDDEN};

pub(super) fn layers(size: &Size) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut channels = 3;
    for (i, filters) in FILTERS.into_iter().map(|filters| filters as usize).enumerate() {
        let conv = Conv::new(&format!("conv{}", i + 1), channels, filters, 3, 1);
        layers.push(Layer::Conv(Conv { bias: true, ..conv }));
        layers.extend([Layer::Relu, Layer::MaxPool { side: 2, stride: 2, padding: 0 }]);
        channels = filters;
    }
    // Three times half of each side.
    let flat = channels * (size.height / 8) * (size.width / 8);
    layers.extend([
        Layer::Flatten,
        Layer::Linear { name: "fc1".to_owned(), inputs: flat, outputs: HIDDEN as usize },
        Layer::Relu,
        Layer::Linear { name: "fc2".to_owned(), inputs: HIDDEN as usize, outputs: size.classes },
    ]);
    layers
}
