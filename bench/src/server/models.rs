//! What is served, and what is asked.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::contestants::Paths;

/// A model that all contestants serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Model {
    /// 3 convolutions with batch norm, 2 linear layers, 0.62 million parameters, 32x32 pixels: what the goals were set with.
    Cifar,
    /// `cnn-3conv-2fc` as `model-server train` makes it, 0.16 million parameters, 32x32 pixels: four times less to compute.
    Digits,
    /// ResNet-18, 11 million parameters, 224x224 pixels. For information.
    Resnet18,
}

/// Images of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Images {
    /// PNG of 32x32 pixels.
    Png32,
    /// JPEG of 224x224 pixels.
    Jpeg224,
}

/// What wrk sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Workload {
    pub(super) images: Images,
    /// Connections, each with one request under way.
    pub(super) connections: u32,
}

impl Model {
    /// Those that targets are about.
    pub(super) const JUDGED: [Self; 2] = [Self::Cifar, Self::Digits];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cifar => "cifar",
            Self::Digits => "digits",
            Self::Resnet18 => "resnet18",
        }
    }

    /// Whether targets are about it.
    pub(super) fn is_judged(self) -> bool {
        Self::JUDGED.contains(&self)
    }

    /// Its artefact.
    pub(super) fn folder(self, paths: &Paths) -> PathBuf {
        match self {
            Self::Digits => paths.digits.clone(),
            _ => paths.made.join(self.name()),
        }
    }

    /// The version in its description.
    pub(super) fn version(self, paths: &Paths) -> Result<String> {
        #[derive(Deserialize)]
        struct Description {
            version: String,
        }
        let path = self.folder(paths).join("metadata.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str::<Description>(&text).with_context(|| path.display().to_string())?.version)
    }
}

impl Images {
    /// A file with a body in each line.
    pub(super) fn file(self, paths: &Paths) -> PathBuf {
        paths.made.join(match self {
            Self::Png32 => "png-32.jsonl",
            Self::Jpeg224 => "jpeg-224.jsonl",
        })
    }

    /// Furthest that a probability may be from ours. Decoders of JPEG may differ by levels, and these networks, which nobody
    /// trained, make more of them than trained ones do.
    pub(super) fn furthest(self) -> f64 {
        match self {
            Self::Png32 => 0.02,
            Self::Jpeg224 => 0.05,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png32 => "PNG of 32x32",
            Self::Jpeg224 => "JPEG of 224x224",
        }
    }

    /// All bodies.
    pub(super) fn bodies(self, paths: &Paths) -> Result<Vec<String>> {
        let path = self.file(paths);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Workload {
    /// What S1 is about.
    pub(super) const MAIN: Self = Self { images: Images::Png32, connections: 64 };
    /// What S3 is about.
    pub(super) const LARGE: Self = Self { images: Images::Jpeg224, connections: 64 };
    /// What S4 is about.
    pub(super) const ALONE: Self = Self { images: Images::Png32, connections: 1 };

    pub(super) fn small(connections: u32) -> Self {
        Self { images: Images::Png32, connections }
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.connections == 1 { "" } else { "s" };
        write!(f, "{}, {} connection{plural}", self.images.name(), self.connections)
    }
}
