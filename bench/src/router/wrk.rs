//! wrk, the load generator of the closed loop: as fast as they are answered. One thread on the core of the load.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::process::{LOAD_CORE, pinned};

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Shape {
    /// Connections, each with one request under way.
    pub(super) connections: u32,
    /// Bytes of a body.
    pub(super) body: u32,
}

/// What it saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Answers other than 2xx and 3xx.
    pub(super) refused: u64,
    /// Connections that could not be opened or broke, and requests without an answer.
    pub(super) broken: u64,
    /// Microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) most: f64,
}

impl Figures {
    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(super) fn failed(&self) -> u64 {
        self.refused + self.broken
    }
}

/// Different users; fewer where each request needs much memory.
fn users(shape: Shape) -> u32 {
    if shape.body > 50_000 { 64 } else { 512 }
}

/// Loads an address for some seconds.
pub(super) fn run(script: &Path, address: SocketAddr, shape: Shape, seconds: u32) -> Result<Figures> {
    let mut command = pinned(LOAD_CORE, Path::new("wrk"));
    command
        .args([
            "-t1",
            &format!("-c{}", shape.connections),
            &format!("-d{seconds}s"),
            "--timeout",
            "10s",
            "-s",
        ])
        .arg(script)
        .arg(format!("http://{address}/predict"))
        .args(["--", &shape.body.to_string(), &users(shape).to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("wrk cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    read(&text).with_context(|| format!("wrk's output: {text}"))
}

/// Reads the line that wrk.lua writes.
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
