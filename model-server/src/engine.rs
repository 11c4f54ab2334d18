//! What runs a model. One small trait, so that the server knows neither libtorch nor ONNX Runtime.

/// Why an engine gave no outputs. The text is one line and fit for a log.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The graph cannot be loaded.
    #[error("the model cannot be loaded: {0}")]
    Load(String),
    /// The graph failed on an input.
    #[error("the model failed: {0}")]
    Run(String),
    /// The graph gives something else than its description says.
    #[error(
        "the model gives {found} numbers for {images} images of {classes} classes: \
        metadata.json does not describe this graph"
    )]
    Shape {
        /// Numbers given.
        found: usize,
        /// Images asked for.
        images: usize,
        /// Classes of the description.
        classes: usize,
    },
}

/// A loaded model. Owned by one thread; several threads have one each.
pub trait Engine: Send {
    /// Outputs for `images` inputs that lie one after the other: `images * classes` numbers.
    ///
    /// # Errors
    /// If the graph fails or does not fit its description.
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError>;
}

/// A tiny engine in plain Rust for tests of everything around a model: class `i` of `n` gets the logit
/// `-|n * mean(input) - i| * sharp`, so a brighter image gets a higher class.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Number of classes.
    pub classes: usize,
    /// How sure it is.
    pub sharp: f32,
}

impl Engine for Reference {
    fn run(&mut self, inputs: &[f32], images: usize) -> Result<Vec<f32>, EngineError> {
        let length = inputs.len() / images.max(1);
        let n = self.classes as f32;
        let logits = |input: &[f32]| {
            let mean = input.iter().sum::<f32>() / length as f32;
            (0..self.classes).map(|i| -(n * mean - i as f32).abs() * self.sharp).collect::<Vec<_>>()
        };
        Ok(inputs.chunks(length.max(1)).flat_map(logits).collect())
    }
}
