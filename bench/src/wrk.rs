//! wrk, the load generator of the closed loop: as fast as they are answered. One thread.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::process::pinned;

/// What it saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Answers other than 2xx and 3xx.
    pub(crate) refused: u64,
    /// Connections that could not be opened or broke, and requests without an answer.
    pub(crate) broken: u64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

impl Figures {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.broken
    }
}

/// Loads a URL for some seconds over so many connections, by a script that is given the arguments.
pub(crate) fn run(
    cores: &str,
    script: &Path,
    url: &str,
    connections: u32,
    seconds: u32,
    arguments: &[String],
) -> Result<Figures> {
    let mut command = pinned(cores, Path::new("wrk"));
    command
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--timeout", "10s", "-s"])
        .arg(script)
        .args([url, "--"])
        .args(arguments);
    let output = command.stderr(Stdio::inherit()).output().context("wrk cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    read(&text).with_context(|| format!("wrk's output: {text}"))
}

/// Reads the line that the scripts write.
fn read(text: &str) -> Option<Figures> {
    let line = text.lines().find_map(|line| line.strip_prefix("figures "))?;
    let numbers: Vec<f64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let [requests, microseconds, refused, broken, p50, p99, most] = numbers[..] else { return None };
    Some(Figures {
        requests: requests as u64,
        seconds: microseconds / 1e6,
        refused: refused as u64,
        broken: broken as u64,
        p50,
        p99,
        most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_line_is_read() {
        let text = "Running 1s test\nfigures 1000 2000000 3 4 150.0 900.5 1200.0\n";
        let figures = read(text).unwrap();
        assert_eq!((figures.rate(), figures.failed(), figures.p99), (500.0, 7, 900.5));
        assert_eq!(read("figures 1000 2000000 3 4 150.0\n"), None);
        assert_eq!(read("Running"), None);
    }
}
