//! Progress: a bar on a terminal; elsewhere plain lines for a training, nothing for what prints results as it goes.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use model_server::train::{Epoch, Part, Progress};

/// A bar on stderr for so many steps; invisible where stderr is no terminal.
pub(crate) fn steps(length: usize, of: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {{pos}}/{{len}} {of}, {{eta}} left"));
    ProgressBar::new(length as u64).with_style(style.expect("the template is valid"))
}

/// Shows epochs on stderr.
#[derive(Debug)]
pub(crate) struct Shown {
    bar: Option<ProgressBar>,
    epochs: u32,
    start: Instant,
}

impl Shown {
    /// For a training of `epochs` per fit and `folds` fits beside the model's.
    pub(crate) fn new(epochs: u32, folds: u32) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} epochs, {eta} left  {msg}");
            let bar = ProgressBar::new(u64::from(epochs) * u64::from(folds + 1));
            bar.with_style(style.expect("the template is valid"))
        });
        Self { bar, epochs, start: Instant::now() }
    }

    /// Clears the bar; returns the seconds since the start.
    pub(crate) fn finish(self) -> f64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.start.elapsed().as_secs_f64()
    }
}

impl Progress for Shown {
    fn epoch(&mut self, part: Part, epoch: &Epoch) {
        let part = match part {
            Part::Model => "model ".to_owned(),
            Part::Fold(fold) => format!("fold {}", fold + 1),
        };
        let held_out = epoch.held_out.map_or(String::new(), |(loss, accuracy)| {
            format!(", held out: loss {loss:.4}, accuracy {:.1} %", 100.0 * accuracy)
        });
        let Epoch { number, training_loss, .. } = epoch;
        let line = format!("{part} epoch {number:>2}/{}: loss {training_loss:.4}{held_out}", self.epochs);
        match &self.bar {
            Some(bar) => {
                bar.println(&line);
                bar.inc(1);
            }
            None => say(&line),
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
fn say(line: &str) {
    eprintln!("{line}");
}
