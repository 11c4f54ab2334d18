//! ONNX files through ONNX Runtime.
//!
//! The library is loaded when the first artefact needs it ([`library`]), so that a server of other artefacts runs without.
//! A file is looked through before ONNX Runtime reads it ([`file`]), and refused unless it has the one input and the one
//! output that its description promises ([`signature`]).

mod file;
mod library;
mod signature;

use ort::ep::CPU;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use crate::{Engine, EngineError, Metadata};

/// A graph that is fed as its description says.
#[derive(Debug)]
pub struct Onnx {
    session: Session,
    shape: [usize; 3],
    classes: usize,
    /// Images that the graph takes together, if it takes no other number.
    fixed: Option<usize>,
}

impl Onnx {
    /// Loads a graph from the bytes of an ONNX file; one operation uses `threads` threads.
    ///
    /// # Errors
    /// If there is no ONNX Runtime, it does not accept them, or they are of something else than the description says.
    pub fn load(bytes: &[u8], metadata: &Metadata, threads: usize) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError::Load(format!("{}: {reason}", crate::model::ONNX));
        file::check(bytes, file::MOST).map_err(|e| refused(e.to_string()))?;
        library::load().map_err(|e| EngineError::Load(e.to_string()))?;
        let session = builder(threads).and_then(|mut builder| builder.commit_from_memory(bytes));
        let session = session.map_err(|e| refused(one_line(e.message())))?;
        let shape = metadata.preprocessing.shape();
        let classes = metadata.classes.len();
        let fixed = signature::check(&session, shape, classes).map_err(|e| refused(e.to_string()))?;
        Ok(Self { session, shape, classes, fixed })
    }

    fn run_together(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let failed = |e: ort::Error| EngineError::Run(one_line(e.message()));
        let [channels, height, width] = self.shape;
        let input =
            TensorRef::from_array_view(([images, channels, height, width], inputs)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![input]).map_err(failed)?;
        let (shape, numbers) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        if **shape != [length(images), length(self.classes)] {
            return Err(EngineError::Shape { found: numbers.len(), images, classes: self.classes });
        }
        Ok(numbers.to_vec())
    }
}

impl Engine for Onnx {
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let Some(together) = self.fixed.filter(|fixed| *fixed != images) else {
            return self.run_together(inputs, images);
        };
        let length = together * self.shape.iter().product::<usize>();
        let mut outputs = Vec::with_capacity(images * self.classes);
        for part in inputs.chunks(length) {
            outputs.extend(self.run_together(part, together)?);
        }
        Ok(outputs)
    }
}

/// How graphs are run here.
fn builder(threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder()?
        // Nothing else that can be told from the bytes is read.
        .with_config_entry("session.load_model_format", "ONNX")?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_parallel_execution(false)?
        .with_inter_threads(1)?
        .with_intra_threads(threads)?
        // An idle server must not use the processor.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // For the threads of ONNX Runtime; a worker sets its own.
        .with_flush_to_zero()?
        // What a large batch needed is given back after it: of several models each would keep it for each worker.
        .with_memory_pattern(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?
        .with_log_level(LogLevel::Error)?)
}

/// What ONNX Runtime says, without the places in its source that it puts before it.
fn one_line(message: &str) -> String {
    let text = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.rsplit(" was false. ").next().unwrap_or_default();
    text.chars().take(300).collect()
}
