//! The file that holds the model: a graph (TorchScript or ONNX), which runs as it is, or weights of a known architecture,
//! which become a TorchScript graph here.

use tch::TchError;
use weights::{Limits, Mismatch, ReadError, Weights};

use crate::architecture::{Architecture, Size};
use crate::torch::one_line;
use crate::{Metadata, Output, Program};

/// The name that a TorchScript graph has.
pub(crate) const GRAPH: &str = "model.pt";
/// The name that an ONNX file has.
pub(crate) const ONNX: &str = "model.onnx";
/// The names that a model can have. What a file is, its content says, but for graphs, each of which has one name.
pub(crate) const FILES: [&str; 4] = [GRAPH, "model.safetensors", "model.pth", ONNX];

/// A model as it was shipped.
#[derive(Debug)]
pub struct Model {
    file: &'static str,
    bytes: Vec<u8>,
}

/// Why a file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a graph nor weights.
    #[error("the model cannot be loaded: {file}: {source}")]
    Read {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        source: ReadError,
    },
    /// Nobody knows what to do with the weights.
    #[error(
        "metadata.json: architecture is {found:?}, and {file} holds weights; those of {} can be served, \
        anything else as TorchScript ({GRAPH}) or as ONNX ({ONNX})",
        Architecture::names()
    )]
    Architecture {
        /// The file.
        file: &'static str,
        /// What the description says.
        found: String,
    },
    /// Weights whose outputs are not what the description says.
    #[error("metadata.json: output is \"probabilities\", but {0} ends in logits")]
    Output(&'static str),
    /// Weights of something else.
    #[error(
        "{file} does not hold {architecture} for {width}x{height} pixels and {classes} classes, as metadata.json says: \
        {source}{}",
        fits.map_or_else(String::new, |name| format!("; its weights are those of {name}"))
    )]
    Differs {
        /// The file.
        file: &'static str,
        /// What it should hold.
        architecture: &'static str,
        /// Width of an input.
        width: usize,
        /// Height of an input.
        height: usize,
        /// Number of classes.
        classes: usize,
        /// The first tensor that differs.
        source: Box<Mismatch>,
        /// An architecture that they are of.
        fits: Option<&'static str>,
    },
    /// libtorch makes no graph of it.
    #[error("the model cannot be loaded: {architecture} with the weights of {file}: {reason}")]
    Trace {
        /// The file.
        file: &'static str,
        /// What it holds.
        architecture: &'static str,
        /// What libtorch says.
        reason: String,
    },
}

impl Model {
    pub(crate) fn new(file: &'static str, bytes: Vec<u8>) -> Self {
        Self { file, bytes }
    }

    /// Name of the file.
    #[must_use]
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// What is run: the file itself, or a TorchScript archive made of the architecture that the description names and the
    /// weights in the file. Of a file of weights nothing is executed.
    ///
    /// # Errors
    /// If it is neither, or the weights are not of this architecture.
    pub fn program(&self, metadata: &Metadata) -> Result<Program, ModelError> {
        let file = self.file;
        if file == ONNX {
            return Ok(Program::Onnx(self.bytes.as_slice().into()));
        }
        let weights = match Weights::read(&self.bytes, &Limits::default()) {
            Err(ReadError::TorchScript) if file == GRAPH => {
                return Ok(Program::TorchScript(self.bytes.as_slice().into()));
            }
            read => read.map_err(|source| ModelError::Read { file, source })?,
        };
        let found = &metadata.architecture;
        let architecture = Architecture::named(found)
            .ok_or_else(|| ModelError::Architecture { file, found: found.clone() })?;
        if metadata.output != Output::Logits {
            return Err(ModelError::Output(architecture.name));
        }
        let contract = &metadata.preprocessing;
        let (width, height) = (contract.width as usize, contract.height as usize);
        let size = Size { height, width, classes: metadata.classes.len() };
        if let Err(mismatch) = architecture.check(&weights, &size) {
            let fits = Architecture::fitting(&weights, &size).map(|other| other.name);
            let (architecture, classes, source) = (architecture.name, size.classes, Box::new(mismatch));
            return Err(ModelError::Differs { file, architecture, width, height, classes, source, fits });
        }
        let failed = |error: TchError| {
            let reason = one_line(&error);
            ModelError::Trace { file, architecture: architecture.name, reason }
        };
        architecture
            .archive(weights, &size)
            .map(|archive| Program::TorchScript(archive.into()))
            .map_err(failed)
    }
}
