//! What the engines cost. Prints, and is run by hand (docs/benchmarks.md):
//! `cargo test --release -p model-server --test onnx -- --ignored --nocapture --test-threads 1`
#![allow(clippy::print_stdout, reason = "figures are what this is for")]
