//! TorchScript through libtorch.

use std::sync::Arc;

use tch::TchError;
use torchscript::{Graph, Plan};

use crate::{Engine, EngineError, Metadata};

/// A TorchScript graph that is fed as its description says. Clones share the graph.
#[derive(Debug, Clone)]
pub struct Torch {
    graph: Arc<Graph>,
    shape: [usize; 3],
    classes: usize,
}

impl Torch {
    /// Loads a graph from a TorchScript archive ([`Program::TorchScript`](crate::Program)), to be run by this plan.
    ///
    /// # Errors
    /// If libtorch does not accept them.
    pub fn load(archive: &[u8], metadata: &Metadata, plan: Plan) -> Result<Self, EngineError> {
        let graph = Graph::load(archive, plan).map_err(|e| EngineError::Load(e.to_string()))?;
        Ok(Self {
            graph: graph.into(),
            shape: metadata.preprocessing.shape(),
            classes: metadata.classes.len(),
        })
    }
}

impl Engine for Torch {
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let classes = self.classes;
        let ran = self.graph.run(inputs, images, self.shape, images * classes);
        let (outputs, found) = ran.map_err(|e| EngineError::Run(e.to_string()))?;
        if found != images * classes {
            return Err(EngineError::Shape { found, images, classes });
        }
        Ok(outputs)
    }
}

/// Sets how many threads one operation of the calling thread may use. Each thread that computes calls it
/// for itself: OpenMP keeps the number per thread.
pub fn limit_threads(intra_op: usize) {
    tch::set_num_threads(i32::try_from(intra_op).unwrap_or(i32::MAX));
}

/// What tch's error says, without what tch puts before it.
pub(crate) fn one_line(error: &TchError) -> String {
    let text = error.to_string();
    torchscript::meaning(text.strip_prefix("Internal torch error: ").unwrap_or(&text))
}
