//! What is looked for in an ONNX file before ONNX Runtime reads it.
//!
//! A tensor can say that its numbers are in another file, or, to ONNX Runtime, at an address of this process's memory. Both
//! are refused wherever in the file the tensor is: the model is what its one file holds. Of the messages of onnx.proto only
//! those are named here that a tensor can be in; prost skips the rest, and what is nested deeper than 100 messages is an
//! error to it, as it is to ONNX Runtime.

use prost::Message;

/// Largest file, in bytes. (Protobuf itself ends at 2 GiB.)
pub(super) const MOST: usize = 1 << 30;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the file has {found} bytes, allowed: at most {most}")]
    Size { found: usize, most: usize },
    #[error("this is no ONNX file, or a part of one: {0}")]
    Protobuf(String),
    #[error(
        "the numbers of a tensor are in another file ({0:?}), allowed: all within this one (torch.onnx.export with \
        external_data=False, onnx.save without save_as_external_data)"
    )]
    Elsewhere(String),
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "20")]
    trainings: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Training {
    #[prost(message, optional, tag = "1")]
    first: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    step: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "11")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "15")]
    sparse_weights: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    /// `location` is the name of a file.
    #[prost(message, repeated, tag = "13")]
    external: Vec<Pair>,
    /// 0 is here.
    #[prost(int32, tag = "14")]
    location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Looks through a file of at most `most` bytes.
///
/// # Errors
/// If it is larger, no protobuf, or not complete in itself.
pub(super) fn check(bytes: &[u8], most: usize) -> Result<(), FileError> {
    if bytes.len() > most {
        return Err(FileError::Size { found: bytes.len(), most });
    }
    let Model { graph, trainings, functions } =
        Model::decode(bytes).map_err(|e| FileError::Protobuf(reason(&e)))?;
    graph.iter().try_for_each(Graph::check)?;
    trainings.iter().flat_map(|t| t.first.iter().chain(&t.step)).try_for_each(Graph::check)?;
    functions.iter().flat_map(|f| &f.nodes).flat_map(|n| &n.attributes).try_for_each(Attribute::check)?;
    functions.iter().flat_map(|f| &f.attributes).try_for_each(Attribute::check)
}

/// Before the reason prost names every message around the place.
fn reason(error: &prost::DecodeError) -> String {
    error.to_string().rsplit(": ").next().unwrap_or_default().to_owned()
}

impl Graph {
    fn check(&self) -> Result<(), FileError> {
        self.weights.iter().try_for_each(Tensor::check)?;
        self.sparse_weights.iter().try_for_each(Sparse::check)?;
        self.nodes.iter().flat_map(|node| &node.attributes).try_for_each(Attribute::check)
    }
}

impl Attribute {
    fn check(&self) -> Result<(), FileError> {
        self.tensor.iter().chain(&self.tensors).try_for_each(Tensor::check)?;
        self.sparse.iter().chain(&self.sparses).try_for_each(Sparse::check)?;
        self.graph.iter().chain(&self.graphs).try_for_each(Graph::check)
    }
}

impl Sparse {
    fn check(&self) -> Result<(), FileError> {
        self.values.iter().chain(&self.indices).try_for_each(Tensor::check)
    }
}

impl Tensor {
    fn check(&self) -> Result<(), FileError> {
        if self.external.is_empty() && self.location == 0 {
            return Ok(());
        }
        let named = self.external.iter().find(|pair| pair.key == "location");
        Err(FileError::Elsewhere(
            named.map_or_else(String::new, |pair| pair.value.chars().take(100).collect()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_large_as_the_limit() {
        // A field that nobody knows, of two bytes.
        let bytes = [0x7a, 2, 0, 0];
        check(&bytes, 4).unwrap();
        let message = check(&bytes, 3).unwrap_err().to_string();
        assert_eq!(message, "the file has 4 bytes, allowed: at most 3");
    }

    #[test]
    fn a_tensor_is_found_wherever_it_is() {
        let pair = Pair { key: "location".into(), value: "../secret".into() };
        let far = Tensor { external: vec![pair], location: 1 };
        let marked = Tensor { external: vec![], location: 1 };
        let sparse = Sparse { values: None, indices: Some(far.clone()) };
        let weights = Graph { weights: vec![Tensor::default(), far.clone()], ..Graph::default() };
        let inner = Attribute { graphs: vec![Graph::default(), weights.clone()], ..Attribute::default() };
        let nested = Graph { nodes: vec![Node { attributes: vec![inner] }], ..Graph::default() };
        let attribute = Attribute { tensor: Some(far.clone()), ..Attribute::default() };
        let all = [
            Model { graph: Some(weights.clone()), ..Model::default() },
            Model { graph: Some(Graph { weights: vec![marked], ..Graph::default() }), ..Model::default() },
            Model {
                graph: Some(Graph { sparse_weights: vec![sparse.clone()], ..Graph::default() }),
                ..Model::default()
            },
            Model { graph: Some(nested), ..Model::default() },
            Model { trainings: vec![Training { first: None, step: Some(weights) }], ..Model::default() },
            Model {
                functions: vec![Function { nodes: vec![], attributes: vec![attribute.clone()] }],
                ..Model::default()
            },
            Model {
                functions: vec![Function {
                    nodes: vec![Node { attributes: vec![attribute] }],
                    attributes: vec![],
                }],
                ..Model::default()
            },
        ];
        for (i, model) in all.iter().enumerate() {
            let found = check(&model.encode_to_vec(), MOST);
            assert!(matches!(found, Err(FileError::Elsewhere(_))), "{i}: {found:?}");
        }
        let message = check(&all[0].encode_to_vec(), MOST).unwrap_err().to_string();
        assert!(
            message.starts_with(
                "the numbers of a tensor are in another file (\"../secret\"), allowed: all within"
            )
        );
        for field in 0..2 {
            // The same field twice is one: the second half must not hide the first.
            let mut twice = Model { graph: Some(Graph::default()), ..Model::default() }.encode_to_vec();
            let at = if field == 0 { 0 } else { twice.len() };
            twice.splice(at..at, all[0].encode_to_vec());
            assert!(check(&twice, MOST).is_err());
        }
    }
}
