//! What the tests against a real API server and a real node share.
//!
//! [`apiserver`] starts etcd and kube-apiserver; [`hollow`] plays everything else of a cluster from the
//! objects alone; [`operator`] runs the operator's binary beside them, [`proxy`] fails on its way to the API
//! server; [`trial`] puts these together for one test; [`scale`] measures the operator beside many
//! deployments. [`load`] is the client that checks every answer of a real service, [`node`] the real node of
//! the demo.

use std::path::{Path, PathBuf};

pub mod apiserver;
pub mod hollow;
pub mod load;
pub mod node;
pub mod operator;
pub mod proxy;
pub mod scale;
pub mod trial;

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e/ lies in the repository").to_owned()
}
