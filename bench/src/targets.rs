//! Targets: a line each, and a summary line last.

use serde::Serialize;

/// What was reached and what was missed.
#[derive(Debug, Default)]
pub struct Targets {
    lines: Vec<Line>,
    /// Whether lines go to stderr, because stdout is for a document.
    aside: bool,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What was promised.
    pub target: String,
    /// Whether it was kept.
    pub reached: bool,
}

impl Targets {
    /// Targets whose lines go to stderr.
    #[must_use]
    pub fn aside() -> Self {
        Self { aside: true, ..Self::default() }
    }

    /// Prints one line: what, the value found and the target, and whether it was reached.
    pub fn line(&mut self, what: &str, found: &str, target: &str, reached: bool) {
        let word = if reached { "reached" } else { "missed" };
        self.print(&format!("target  {what}: {found} (target {target})  {word}"));
        self.lines.push(Line { what: what.into(), found: found.into(), target: target.into(), reached });
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Prints the summary; true if nothing was missed.
    pub fn summary(&self) -> bool {
        let all = self.lines.len();
        let missed: Vec<&str> = self.lines.iter().filter(|l| !l.reached).map(|l| l.what.as_str()).collect();
        let reached = all - missed.len();
        let list = if missed.is_empty() { String::new() } else { format!("; missed: {}", missed.join("; ")) };
        self.print(&format!("summary  {reached} of {all} targets reached{list}"));
        missed.is_empty()
    }

    /// Prints a line of a table to where targets go.
    pub fn print(&self, text: &str) {
        if self.aside {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }
}

/// A count with its share and the Clopper-Pearson interval of that share, in percent, at 99 %.
pub fn share(x: u64, n: u64) -> String {
    let (low, high) = evidence::clopper_pearson(x, n, 0.01);
    format!("{x}/{n} = {:.2} % ({:.2}..{:.2})", 100.0 * x as f64 / n as f64, 100.0 * low, 100.0 * high)
}

/// The upper end of it, as a share.
pub fn upper(x: u64, n: u64) -> f64 {
    evidence::clopper_pearson(x, n, 0.02).1
}
