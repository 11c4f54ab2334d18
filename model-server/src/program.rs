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

/// What engines of several threads are made of.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// A graph that they share.
    Torch(Torch),
    /// A file that each loads for itself: a session of ONNX Runtime is one thread's.
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

    /// Loads a graph of libtorch, to be run by this plan. An ONNX file knows one plan, its own.
    ///
    /// # Errors
    /// If libtorch does not accept the graph.
    pub(crate) fn load(&self, metadata: &Metadata, plan: Plan) -> Result<Loaded, EngineError> {
        Ok(match self {
            Self::TorchScript(archive) => Loaded::Torch(Torch::load(archive, metadata, plan)?),
            Self::Onnx(bytes) => Loaded::Onnx(bytes.clone()),
        })
    }

    /// Translates a graph of libtorch for ONNX Runtime, in fp32.
    ///
    /// # Errors
    /// If libtorch does not accept the graph, or an operation has no counterpart.
    pub fn translate(&self, metadata: &Metadata) -> Result<Loaded, EngineError> {
        Ok(Loaded::Onnx(match self {
            Self::TorchScript(archive) => {
                let file = torchscript::translate(archive, metadata.preprocessing.shape());
                file.map_err(|e| EngineError::Load(e.to_string()))?.into()
            }
            Self::Onnx(bytes) => bytes.clone(),
        }))
    }

    /// The engine of a graph that one thread alone runs: [`Loaded::engine`].
    ///
    /// # Errors
    /// If the engine does not accept the graph.
    pub fn engine(
        &self,
        metadata: &Metadata,
        threads: usize,
        plan: Plan,
    ) -> Result<Box<dyn Engine>, EngineError> {
        self.load(metadata, plan)?.engine(metadata, threads)
    }
}

impl Loaded {
    /// An engine, and the calling thread made ready for it: it is the one that shall run it. One operation uses `threads`
    /// threads.
    ///
    /// # Errors
    /// If ONNX Runtime does not accept the file.
    pub fn engine(&self, metadata: &Metadata, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
        crate::limit_threads(threads);
        torchscript::flush_denormal();
        Ok(match self {
            Self::Torch(torch) => Box::new(torch.clone()),
            Self::Onnx(bytes) => Box::new(Onnx::load(bytes, metadata, threads)?),
        })
    }
}
