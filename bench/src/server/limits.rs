//! What no server with this model on these cores can exceed: its parts alone, by the program `limits`.

use std::ffi::OsStr;

use anyhow::{Context, Result, ensure};

use super::CORES;
use super::contestants::Paths;
use super::models::{Images, Model};
use crate::limits::Figures;
use crate::process::pinned;

/// Sizes of batches that are tried for the fastest.
const BATCHES: [usize; 5] = [1, 8, 16, 32, 64];

/// Numbers in which the model computes, as on a command line.
pub(super) const FP32: &str = "fp32";
pub(super) const BF16: &str = "bf16";

/// The optimised model, in batches of the fastest size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw {
    pub(super) precision: &'static str,
    pub(super) batch: usize,
}

impl Raw {
    /// Looks for the fastest size of batches.
    pub(super) fn fastest(paths: &Paths, model: Model, precision: &'static str) -> Result<Self> {
        let mut best = (Self { precision, batch: 1 }, 0.0);
        for batch in BATCHES {
            let raw = Self { precision, batch };
            let rate = raw.run(paths, model, 1_000)?.rate();
            best = if rate > best.1 { (raw, rate) } else { best };
        }
        Ok(best.0)
    }

    pub(super) fn run(self, paths: &Paths, model: Model, millis: u64) -> Result<Figures> {
        let (batch, millis) = (self.batch.to_string(), millis.to_string());
        let model = model.folder(paths);
        let arguments: [&OsStr; 9] = [
            "raw".as_ref(),
            "--model".as_ref(),
            model.as_ref(),
            "--precision".as_ref(),
            self.precision.as_ref(),
            "--batch".as_ref(),
            batch.as_ref(),
            "--millis".as_ref(),
            millis.as_ref(),
        ];
        measure(paths, &arguments)
    }
}

/// From the bytes of images to inputs of the model.
pub(super) fn prepare(paths: &Paths, model: Model, images: Images) -> Result<Figures> {
    let (model, bodies) = (model.folder(paths), images.file(paths));
    let arguments: [&OsStr; 5] =
        ["prepare".as_ref(), "--model".as_ref(), model.as_ref(), "--bodies".as_ref(), bodies.as_ref()];
    measure(paths, &arguments)
}

fn measure(paths: &Paths, arguments: &[&OsStr]) -> Result<Figures> {
    let output = pinned(CORES, &paths.limits).args(arguments).output().context("limits cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "limits: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).with_context(|| format!("limits' output: {text}"))
}
