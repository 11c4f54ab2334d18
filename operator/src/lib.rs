//! The operator: the only writer of Kubernetes objects.

pub mod args;
pub mod crd;
pub mod leader;
pub mod sampler;
