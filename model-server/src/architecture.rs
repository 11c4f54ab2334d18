//! The architectures whose weights are served without a graph from their author.
//!
//! An architecture is a list of [`Layer`]s, from which both come: the names and shapes that a file must have, and
//! the graph. Names, shapes and order are those of the state dict in PyTorch. A new one is a file beside
//! `resnet18.rs`, a line in [`ALL`], a network in `tests/fixtures/make.py` and a case in `tests/architectures`.

mod cnn;
mod layer;
mod mobilenet_v2;
mod resnet18;

use tch::TchError;
use weights::{Mismatch, Weights};

use self::layer::{Layer, Parameters};
use crate::trace;

/// All that are known.
static ALL: [Architecture; 4] = [
    Architecture { name: crate::net::NAME, layers: cnn::layers },
    Architecture { name: "mobilenet-v2", layers: |size| mobilenet_v2::layers(size.classes) },
    Architecture {
        name: "resnet18",
        layers: |size| resnet18::layers(resnet18::Stem::Imagenet, size.classes),
    },
    Architecture {
        name: "resnet18-cifar",
        layers: |size| resnet18::layers(resnet18::Stem::Cifar, size.classes),
    },
];

/// A kind of network.
pub(crate) struct Architecture {
    /// What `metadata.json` calls it.
    pub(crate) name: &'static str,
    layers: fn(&Size) -> Vec<Layer>,
}

/// What its description leaves open. Inputs have three channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Height of an input, in pixels.
    pub(crate) height: usize,
    /// Width of an input, in pixels.
    pub(crate) width: usize,
    /// Number of outputs.
    pub(crate) classes: usize,
}

impl Architecture {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|known| known.name == name)
    }

    /// All names, for people.
    pub(crate) fn names() -> String {
        ALL.each_ref().map(|known| known.name).join(", ")
    }

    /// Another one that these weights are of.
    pub(crate) fn fitting(weights: &Weights, size: &Size) -> Option<&'static Self> {
        ALL.iter().find(|known| known.check(weights, size).is_ok())
    }

    /// Checks that the weights are of this architecture.
    ///
    /// # Errors
    /// Names the first tensor that differs.
    pub(crate) fn check(&self, weights: &Weights, size: &Size) -> Result<(), Mismatch> {
        weights.expect(&layer::tensors(&(self.layers)(size)))
    }

    /// The TorchScript archive of the network with these weights, which were [checked](Self::check).
    ///
    /// # Errors
    /// If libtorch fails on the input's size, or there is no memory.
    pub(crate) fn archive(&self, weights: Weights, size: &Size) -> Result<Vec<u8>, TchError> {
        let layers = (self.layers)(size);
        let parameters = Parameters::new(&layers, &weights)?;
        drop(weights);
        let (height, width) = (layer::int(size.height), layer::int(size.width));
        let traced = trace::trace(height, width, |input| layer::forward(&layers, &parameters, input))?;
        drop(parameters);
        trace::archive(&traced)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::net::Net;

    #[test]
    fn the_weights_of_a_trained_model_have_the_names_and_shapes_of_its_architecture() {
        let net = Net::new(32, 7, &mut StdRng::seed_from_u64(1)).unwrap();
        let shape = |tensor: &tch::Tensor| tensor.size().into_iter().map(|n| n as usize).collect();
        let trained: BTreeMap<String, Vec<usize>> =
            net.weights.variables().into_iter().map(|(name, tensor)| (name, shape(&tensor))).collect();
        let size = Size { height: 32, width: 32, classes: 7 };
        let layers = (Architecture::named(crate::net::NAME).unwrap().layers)(&size);
        assert_eq!(trained, layer::tensors(&layers).into_iter().collect());
    }
}
