//! Writes ONNX files, also such as no exporter would write.

use prost::Message;

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;
pub(crate) const FLOAT16: i32 = 10;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opsets: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) weights: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) outputs: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) kind: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

/// A number, or a list of them, as its kind says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "3")]
    pub(crate) number: i64,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) numbers: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) lengths: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) kind: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external: Vec<Pair>,
    #[prost(int32, tag = "14")]
    pub(crate) location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) of: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) lengths: Vec<Length>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Length {
    #[prost(int64, optional, tag = "1")]
    pub(crate) number: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) name: Option<String>,
}

/// An input or output; -1 is a length that is open.
pub(crate) fn value(name: &str, kind: i32, lengths: &[i64]) -> Value {
    let length = |n: &i64| match n {
        -1 => Length { number: None, name: Some("images".into()) },
        n => Length { number: Some(*n), name: None },
    };
    let shape = Some(Shape { lengths: lengths.iter().map(length).collect() });
    Value { name: name.into(), of: Some(Type { tensor: Some(TensorType { kind, shape }) }) }
}

pub(crate) fn weights(name: &str, lengths: &[i64], numbers: &[f32]) -> Tensor {
    let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor {
        name: name.into(),
        kind: FLOAT,
        lengths: lengths.to_vec(),
        data: Some(data),
        ..Tensor::default()
    }
}

pub(crate) fn node(kind: &str, inputs: &[&str], output: &str) -> Node {
    let inputs = inputs.iter().map(|&name| name.into()).collect();
    Node { kind: kind.into(), inputs, outputs: vec![output.into()], ..Node::default() }
}

impl Node {
    pub(crate) fn with(mut self, name: &str, number: i64) -> Self {
        self.attributes.push(Attribute { name: name.into(), number, kind: 2, ..Attribute::default() });
        self
    }

    pub(crate) fn with_list(mut self, name: &str, numbers: &[i64]) -> Self {
        let (name, numbers) = (name.into(), numbers.to_vec());
        self.attributes.push(Attribute { name, numbers, kind: 7, ..Attribute::default() });
        self
    }
}

/// Takes `[images, 3, 2, 2]`, gives `[images, 3]`: numbers 0, 1 and 2 of an image.
pub(crate) fn model() -> Model {
    let mut picks = [0.0; 12 * 3];
    for at in [0, 4, 8] {
        picks[at] = 1.0;
    }
    let graph = Graph {
        name: "graph".into(),
        nodes: vec![node("Flatten", &["pixels"], "flat"), node("MatMul", &["flat", "picks"], "scores")],
        weights: vec![weights("picks", &[12, 3], &picks)],
        inputs: vec![value("pixels", FLOAT, &[-1, 3, 2, 2])],
        outputs: vec![value("scores", FLOAT, &[-1, 3])],
    };
    Model { ir_version: 7, graph: Some(graph), opsets: vec![Opset { domain: String::new(), version: 13 }] }
}

/// The same, changed.
pub(crate) fn changed(change: impl FnOnce(&mut Graph)) -> Vec<u8> {
    let mut model = model();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}
