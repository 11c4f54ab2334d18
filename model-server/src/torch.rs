//! TorchScript through libtorch.

use std::io::Cursor;

use tch::{CModule, Kind, TchError, Tensor};

use crate::{Engine, EngineError, Metadata};

/// A TorchScript graph that is fed as its description says.
#[derive(Debug)]
pub struct Torch {
    module: CModule,
    shape: [i64; 3],
    classes: usize,
}

impl Torch {
    /// Loads a graph from the bytes of `model.pt`.
    ///
    /// # Errors
    /// If libtorch does not accept them.
    pub fn load(model: &[u8], metadata: &Metadata) -> Result<Self, EngineError> {
        let mut module =
            CModule::load_data(&mut Cursor::new(model)).map_err(|e| EngineError::Load(one_line(&e)))?;
        module.f_set_eval().map_err(|e| EngineError::Load(one_line(&e)))?;
        let contract = &metadata.preprocessing;
        let shape = [contract.channels, contract.height, contract.width].map(i64::from);
        Ok(Self { module, shape, classes: metadata.classes.len() })
    }

    fn forward(&self, inputs: &[f32], images: usize) -> Result<Vec<f32>, TchError> {
        let [channels, height, width] = self.shape;
        let input = Tensor::f_from_slice(inputs)?.f_view([images as i64, channels, height, width])?;
        // Grad mode belongs to the thread; a guard per call costs nothing next to the forward.
        let output = tch::no_grad(|| self.module.forward_ts(&[input]))?;
        let output = output.f_to_kind(Kind::Float)?.f_contiguous()?.f_flatten(0, -1)?;
        let mut numbers = vec![0.0; output.numel()];
        output.f_copy_data(&mut numbers, output.numel())?;
        Ok(numbers)
    }
}

impl Engine for Torch {
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let outputs = self.forward(inputs, images).map_err(|e| EngineError::Run(one_line(&e)))?;
        let (found, classes) = (outputs.len(), self.classes);
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

/// The first line of libtorch's message: what follows is whole tensors and C++ backtraces.
pub(crate) fn one_line(error: &TchError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
    let meaning = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown error");
    let short: String = meaning.chars().take(200).collect();
    short.split("Exception raised from").next().unwrap_or_default().trim_end().to_owned()
}
