//! What a benchmark prints: tables and targets for people, or everything as one JSON document.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::targets::Targets;

/// Arguments of each benchmark that takes turns.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Manner {
    /// Fewer and shorter rounds, for a first look.
    #[arg(long)]
    quick: bool,
    /// Print everything as one JSON document instead of the tables, which go to stderr.
    #[arg(long)]
    json: bool,
}

/// What was found so far.
pub(crate) struct Report {
    manner: Manner,
    pub(crate) targets: Targets,
    figures: Map<String, Value>,
}

impl Report {
    pub(crate) fn new(manner: Manner) -> Self {
        let targets = if manner.json { Targets::aside() } else { Targets::default() };
        Self { manner, targets, figures: Map::new() }
    }

    /// The larger number, or the smaller one for a first look.
    pub(crate) fn of<T>(&self, full: T, quick: T) -> T {
        if self.manner.quick { quick } else { full }
    }

    pub(crate) fn say(&self, text: &str) {
        self.targets.print(text);
    }

    /// Keeps figures for the JSON document.
    pub(crate) fn keep(&mut self, part: &str, figures: impl Serialize) -> Result<()> {
        self.figures.insert(part.to_owned(), serde_json::to_value(figures)?);
        Ok(())
    }

    /// Prints the summary, and the document if it was asked for.
    pub(crate) fn finish(&self) -> Result<()> {
        self.targets.summary();
        if self.manner.json {
            let document = json!({"figures": self.figures, "targets": self.targets.lines()});
            println!("{}", serde_json::to_string_pretty(&document)?);
        }
        Ok(())
    }
}
