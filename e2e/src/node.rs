//! The real node: what `make demo` tells and what the node tests assert, in the same words.
//!
//! [`Node`] runs the same commands that a person would (`hack/cluster`, `kubectl`, `helm`); [`Models`] knows
//! the three versions of the demo and what each answers offline; [`Watcher`] follows a ModelDeployment and
//! keeps the times at which things happened; [`story`] puts them together.

mod cluster;
mod models;
pub mod story;
mod watcher;

pub use cluster::Node;
pub use models::{Models, Version};
pub use story::Manifest;
pub use watcher::{Change, Watcher};
