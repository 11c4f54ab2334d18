//! Whether a graph takes images and gives classes.

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

/// Why a graph cannot be fed as its description says. `images` stands for a number that the graph leaves open.
#[derive(Debug, thiserror::Error)]
#[error("the graph has {found}, allowed: one {what}, of 32-bit floats, [images, {}]", of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub(super) struct SignatureError {
    found: String,
    what: &'static str,
    of: Vec<usize>,
}

/// Checks input and output. How many images the graph takes together, if that is not open: 1.
///
/// # Errors
/// Names the input or output that does not fit.
pub(super) fn check(
    session: &Session,
    shape: [usize; 3],
    classes: usize,
) -> Result<Option<usize>, SignatureError> {
    let input = one("input", session.inputs(), &shape)?;
    let output = one("output", session.outputs(), &[classes])?;
    let fixed = [input, output].contains(&Some(1));
    if fixed {
        tracing::warn!(
            "the graph takes one image at a time: batches of requests gain nothing (export it with a dynamic batch)"
        );
    }
    Ok(fixed.then_some(1))
}

/// The first length of the one value: none if it is open, or 1.
fn one(what: &'static str, outlets: &[Outlet], of: &[usize]) -> Result<Option<i64>, SignatureError> {
    let wrong = |found: String| SignatureError { found, what, of: of.to_vec() };
    let [outlet] = outlets else {
        let names: Vec<String> = outlets.iter().take(8).map(|outlet| named(outlet.name())).collect();
        return Err(wrong(format!("{} {what}s ({})", outlets.len(), names.join(", "))));
    };
    let other = || wrong(format!("the {what} {}: {}", named(outlet.name()), kind(outlet.dtype())));
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else {
        return Err(other());
    };
    // Of an output whose shape ONNX Runtime cannot tell, the first run tells it.
    let Some((images, rest)) = shape.split_first() else {
        return if what == "output" { Ok(None) } else { Err(other()) };
    };
    let fits = |(found, wanted): (&i64, &usize)| *found < 0 || usize::try_from(*found) == Ok(*wanted);
    if rest.len() != of.len() || !rest.iter().zip(of).all(fits) || *images > 1 || *images == 0 {
        return Err(other());
    }
    Ok((*images == 1).then_some(1))
}

/// A name as the file has it: any length, any text.
fn named(name: &str) -> String {
    format!("{:?}", name.chars().take(60).collect::<String>())
}

fn kind(kind: &ValueType) -> String {
    let text = match kind {
        ValueType::Tensor { ty, shape, .. } => {
            let length = |n: &i64| if *n < 0 { "any".to_owned() } else { n.to_string() };
            format!("{ty} [{}]", shape.iter().map(length).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    text.chars().take(100).collect()
}
