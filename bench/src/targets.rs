//! Targets: a line each, and a summary line last.

/// What was reached and what was missed.
#[derive(Debug, Default)]
pub struct Targets {
    reached: usize,
    missed: Vec<String>,
}

impl Targets {
    /// Prints one line: what, the value found and the target, and whether it was reached.
    pub fn line(&mut self, what: &str, found: &str, target: &str, reached: bool) {
        println!("target  {what}: {found} (target {target})  {}", if reached { "reached" } else { "missed" });
        if reached {
            self.reached += 1;
        } else {
            self.missed.push(what.to_owned());
        }
    }

    /// Prints the summary; true if nothing was missed.
    pub fn summary(&self) -> bool {
        let all = self.reached + self.missed.len();
        let missed = if self.missed.is_empty() {
            String::new()
        } else {
            format!("; missed: {}", self.missed.join("; "))
        };
        println!("summary  {} of {all} targets reached{missed}", self.reached);
        self.missed.is_empty()
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
