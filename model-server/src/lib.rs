//! Trains, describes and serves image classifiers.
//!
//! One contract, [`Preprocessing`], turns an image into numbers, and training, evaluation, the reference
//! profile and serving all go through it, so that none of them can disagree about what a model sees.
//!
//! | to find out | look at |
//! |---|---|
//! | what an artefact is, and its digest | [`Artefact`], [`sources::digest`], [`Metadata`], [`Model`], [`Program`] |
//! | where a model looks | `saliency` |
//! | what happens to an image | [`mod@decode`], [`Preprocessing`], [`stats`] |
//! | how a model is trained | [`dataset`], [`train`], [`profile`] |
//! | what drift does to a model | [`corrupt`], [`mod@simulate`] |
//! | how a model gets ready | [`mod@load`], or [`repository`] for several, then [`models`] |
//! | what is kept of answers, and how people label it | [`review`] |
//! | how a request is answered | [`mod@serve`], then [`listen`], [`http`], [`queue`], [`Engine`] |

mod answer;
mod architecture;
mod artefact;
pub mod corrupt;
pub mod data;
pub mod dataset;
pub mod decode;
mod digits;
mod engine;
pub mod evaluate;
pub mod http;
pub mod listen;
pub mod load;
mod media;
mod metadata;
mod metrics;
mod model;
pub mod models;
mod net;
mod onnx;
pub mod plan;
mod plot;
pub mod predictions;
mod preprocess;
pub mod profile;
mod program;
pub mod queue;
pub mod repository;
pub mod review;
mod saliency;
pub mod serve;
pub mod served;
pub mod simulate;
pub mod stats;
mod torch;
mod trace;
pub mod train;
pub mod turns;

pub use answer::{Answer, Output};
pub use artefact::{Artefact, ArtefactError};
pub use engine::{Engine, EngineError, Reference};
pub use metadata::{Metadata, MetadataError, Training};
pub use metrics::Metrics;
pub use model::{Model, ModelError};
pub use onnx::Onnx;
pub use plan::Precision;
pub use preprocess::{PreprocessError, Preprocessing, Resize};
pub use program::{Loaded, Program};
pub use torch::{Torch, limit_threads};
pub use torchscript::Plan;
