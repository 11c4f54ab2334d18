//! Benchmarks that prove what Sluice promises; `make bench-evidence` runs them.

#![allow(clippy::print_stdout, reason = "tables on stdout are what it is for")]

pub mod bandit;
pub mod detection;
pub mod false_rollbacks;
pub mod family;
pub mod peers;
pub mod promotion;
pub mod runs;
pub mod simulated;
pub mod targets;
pub mod traffic;
pub mod users;
