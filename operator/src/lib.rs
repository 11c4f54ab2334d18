//! The operator: the only writer of Kubernetes objects.

pub mod args;
pub mod crd;
