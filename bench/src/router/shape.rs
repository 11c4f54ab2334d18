//! What wrk sends to routers: as fast as they are answered, from the core of the load.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::LOAD_CORE;
use crate::wrk::{self, Figures};

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Shape {
    /// Connections, each with one request under way.
    pub(super) connections: u32,
    /// Bytes of a body.
    pub(super) body: u32,
}

/// Different users; fewer where each request needs much memory.
fn users(shape: Shape) -> u32 {
    if shape.body > 50_000 { 64 } else { 512 }
}

/// Loads an address for some seconds.
pub(super) fn run(script: &Path, address: SocketAddr, shape: Shape, seconds: u32) -> Result<Figures> {
    let url = format!("http://{address}/predict");
    let arguments = [shape.body.to_string(), users(shape).to_string()];
    wrk::run(LOAD_CORE, script, &url, shape.connections, seconds, &arguments)
}
