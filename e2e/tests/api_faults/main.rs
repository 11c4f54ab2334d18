//! An operator that dies at every write, loses the API server, or is not alone: the end is the same, and soon.
//!
//! Everything is real but the pods: the operator's own binary, killed by SIGKILL, an API server, and between
//! them a [`Proxy`](e2e::proxy::Proxy) that says when.

#![allow(clippy::print_stdout, reason = "tests print what they measured")]

mod crashes;
mod end;
mod handover;
mod outages;
mod writers;
