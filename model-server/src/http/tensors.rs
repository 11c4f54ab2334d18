//! The body of `POST /v2/models/{name}/infer`, read: JSON, or JSON and bytes behind it. Pure.
//!
//! Shapes are checked before anything is taken from them, and numbers are kept as they are read: a body costs no more
//! memory than its size allows.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::text::{object, short};

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    /// To be given back.
    pub(super) id: Option<String>,
    /// Inputs of the model, one after the other.
    pub(super) inputs: Vec<f32>,
    /// How many.
    pub(super) images: usize,
    /// Whether the output comes as bytes behind the JSON.
    pub(super) binary: bool,
}

/// What a model takes and gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature<'a> {
    /// Name of its input.
    pub(super) input: &'a str,
    /// Name of its output.
    pub(super) output: &'a str,
    /// Channels, height and width.
    pub(super) shape: [usize; 3],
    /// Most images of a request.
    pub(super) images: usize,
}

/// The only type of numbers.
pub(super) const DATATYPE: &str = "FP32";

#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(borrow, default)]
    outputs: Vec<Output<'a>>,
}

#[derive(serde::Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(default)]
    parameters: Parameters,
    data: Option<Numbers>,
}

#[derive(serde::Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    parameters: Parameters,
}

/// What we know of the parameters of the protocol; others are ignored, as it says.
#[derive(Default, serde::Deserialize)]
struct Parameters {
    binary_data_size: Option<u64>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
}

/// Reads a body; `json` is how many bytes of it are JSON, as `Inference-Header-Content-Length` says.
///
/// # Errors
/// Names what was found and what is allowed.
pub(super) fn read(body: &[u8], json: Option<&str>, signature: Signature<'_>) -> Result<Asked, String> {
    let (text, bytes) = split(body, json)?;
    let body: Body<'_> = object(text)?;
    let [input] = &body.inputs[..] else {
        return Err(format!(
            "the request has {} inputs, allowed: 1, {:?}",
            body.inputs.len(),
            signature.input
        ));
    };
    let images = images(&input.name, &input.datatype, &input.shape, signature)?;
    let binary = outputs(&body, signature.output)?;
    let count = images * signature.shape.iter().product::<usize>();
    let Body { id, mut inputs, .. } = body;
    let inputs = inputs.swap_remove(0).numbers(count, bytes)?;
    finite(&inputs)?;
    Ok(Asked { id: id.map(Cow::into_owned), inputs, images, binary })
}

fn split<'a>(body: &'a [u8], json: Option<&str>) -> Result<(&'a [u8], &'a [u8]), String> {
    let Some(json) = json else { return Ok((body, &[])) };
    let at: Option<usize> = json.parse().ok();
    at.and_then(|at| body.split_at_checked(at)).ok_or_else(|| {
        let found: String = json.chars().take(30).collect();
        format!("Inference-Header-Content-Length is {found:?}, allowed: 0..={}", body.len())
    })
}

/// Whether the output is asked for as bytes.
fn outputs(body: &Body<'_>, name: &str) -> Result<bool, String> {
    let by_default = body.parameters.binary_data_output.unwrap_or(false);
    match &body.outputs[..] {
        [] => Ok(by_default),
        [one] if one.name == name => Ok(one.parameters.binary_data.unwrap_or(by_default)),
        many => {
            let names: Vec<String> = many.iter().take(4).map(|output| short(&output.name)).collect();
            Err(format!("the outputs asked for are {names:?}, allowed: {name:?} once"))
        }
    }
}

/// How many images an input has, of which this is said.
pub(super) fn images<Side: Copy + fmt::Debug + TryInto<usize>>(
    name: &str,
    datatype: &str,
    shape: &[Side],
    signature: Signature<'_>,
) -> Result<usize, String> {
    if name != signature.input {
        return Err(format!("the input is called {:?}, allowed: {:?}", short(name), signature.input));
    }
    if datatype != DATATYPE {
        return Err(format!("the input's datatype is {:?}, allowed: {DATATYPE:?}", short(datatype)));
    }
    let [channels, height, width] = signature.shape;
    let most = signature.images;
    let wrong = || {
        let found = &shape[..shape.len().min(8)];
        format!(
            "the input's shape is {found:?}, allowed: [n, {channels}, {height}, {width}] with n in 1..={most}"
        )
    };
    let mut sides = shape.iter().map(|side| (*side).try_into().ok());
    let images = sides.next().flatten().filter(|n| (1..=most).contains(n));
    let same = sides.eq(signature.shape.map(Some));
    images.filter(|_| same).ok_or_else(wrong)
}

/// Numbers of 32 bits, the smallest byte first.
pub(super) fn of_bytes(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (whole, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("the input has {} bytes, allowed: a multiple of 4", bytes.len()));
    }
    Ok(whole.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

/// The numbers, if there are as many as the shape says.
pub(super) fn counted(numbers: Vec<f32>, count: usize) -> Result<Vec<f32>, String> {
    if numbers.len() != count {
        return Err(format!("the input has {} numbers, its shape says {count}", numbers.len()));
    }
    Ok(numbers)
}

/// Refuses numbers that are none.
pub(super) fn finite(numbers: &[f32]) -> Result<(), String> {
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(at) => Err(format!("data[{at}] is {}, allowed: finite numbers", numbers[at])),
        None => Ok(()),
    }
}

impl Input<'_> {
    /// Its numbers, of which there must be `count`.
    fn numbers(self, count: usize, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let numbers: Vec<f32> = match (self.data, self.parameters.binary_data_size) {
            (Some(_), Some(_)) => {
                return Err("the input has data and binary_data_size, allowed: one of them".into());
            }
            (None, None) => return Err("the input has no data, and no binary_data_size either".into()),
            (Some(Numbers(numbers)), None) if bytes.is_empty() => numbers,
            (Some(_), None) => {
                return Err(format!("{} bytes follow the JSON, and no input is in them", bytes.len()));
            }
            (None, Some(size)) if size != bytes.len() as u64 => {
                return Err(format!("binary_data_size is {size}, and {} bytes follow the JSON", bytes.len()));
            }
            (None, Some(_)) => of_bytes(bytes)?,
        };
        counted(numbers, count)
    }
}

/// Numbers, flat or nested in lists as the shape is: all in one list.
#[derive(Debug, Default, PartialEq)]
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = vec![];
        deserializer.deserialize_seq(Appending(&mut numbers))?;
        Ok(Self(numbers))
    }
}

/// Appends what it reads. The depth is bounded by serde_json.
struct Appending<'a>(&'a mut Vec<f32>);

impl<'de> DeserializeSeed<'de> for Appending<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Appending<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or lists of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Appending(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let number = number as f32;
        if !number.is_finite() {
            return Err(E::custom("a number is too large for 32 bits"));
        }
        self.0.push(number);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }
}

#[cfg(test)]
mod tests;
