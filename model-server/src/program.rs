//! What is run, and by which engine.

use std::sync::Arc;

use torchscript::Plan;

use crate::{Engine, EngineError, Metadata, Onnx, Torch};

/// A graph, as its engine reads it. Copies share the bytes.
#[derive(Debug, Clone)]
pub enum Program {
    /// A TorchScript archive, for libtorch.
    TorchScript(Arc<[u8]>),
    /// An ONNX file, for ONNX Runtime.
    Onnx(Arc<[u8]>),
}

impl Program {
    /// What `/v2` calls the engine.
    #[must_use]
    pub fn platform(&self) -> &'static str {
        match self {
            Self::TorchScript(_) => "sluice_torchscript",
            Self::Onnx(_) => "sluice_onnxruntime",
        }
    }

    /// An engine, and the calling thread made ready for it: it is the one that shall run it. One operation uses `threads`
    /// threads. An ONNX file knows one plan, its own.
    ///
    /// # Errors
    /// If the engine does not accept the graph.
    pub fn engine(
        &self,
        metadata: &Metadata,
        threads: usize,
        plan: Plan,
    ) -> Result<Box<dyn Engine>, EngineError> {
        crate::limit_threads(threads);
        torchscript::flush_denormal();
        Ok(match self {
            Self::TorchScript(archive) => Box::new(Torch::load(archive, metadata, plan)?),
            Self::Onnx(bytes) => Box::new(Onnx::load(bytes, metadata, threads)?),
        })
    }
}
