//! Benchmarks that prove what Sluice promises; `make bench-evidence` and `make bench-router` run them.

#![allow(clippy::print_stdout, reason = "tables on stdout are what it is for")]

pub mod bandit;
pub mod detection;
pub mod false_rollbacks;
pub mod family;
pub mod images;
pub mod peers;
pub mod pictures;
pub mod promotion;
pub mod robustness;
pub mod router;
pub mod runs;
pub mod simulated;
pub mod speed;
pub mod stage;
pub mod sweep;
pub mod targets;
pub mod traffic;
pub mod users;
