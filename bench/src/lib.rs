//! Benchmarks that prove what Sluice promises; `make bench-evidence`, `make bench-router` and `make bench-server` run them.

#![allow(clippy::print_stdout, reason = "tables on stdout are what it is for")]

pub mod bandit;
pub mod detection;
pub mod false_rollbacks;
pub mod family;
mod http;
pub mod images;
pub mod limits;
pub mod peers;
pub mod pictures;
pub mod process;
pub mod promotion;
mod report;
pub mod robustness;
mod rounds;
pub mod router;
pub mod runs;
pub mod server;
pub mod simulated;
pub mod speed;
pub mod stage;
pub mod sweep;
pub mod targets;
pub mod traffic;
pub mod users;
mod wrk;
