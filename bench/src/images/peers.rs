//! What `hack/bench-drift-peers.py` found.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::Condition;

/// A peer that watches confidence and three image statistics, and alarms with the first of the four.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) name: String,
    per_false_alarm: Option<f64>,
    /// Median delay, rounded up, and share of streams with an alarm.
    pub(super) found: BTreeMap<Condition, (Option<u64>, f64)>,
}

impl Peer {
    pub(super) fn images_per_false_alarm(&self) -> String {
        self.per_false_alarm.map_or("none seen".into(), |n| format!("{n:.0}"))
    }
}

/// One line of the output but the first one.
#[derive(Debug, Deserialize)]
struct Line {
    peer: String,
    corruption: String,
    severity: u8,
    watched: String,
    median_delay: Option<f64>,
    found_share: f64,
    images_per_false_alarm: Option<f64>,
}

/// Reads it: the peers in the order of their first lines.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Peer>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| name.to_string())?;
    let mut peers: Vec<Peer> = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1) {
        let line: Line = serde_json::from_str(line).with_context(|| format!("{name}, line {}", i + 1))?;
        if line.watched != "any" {
            continue;
        }
        let at = peers.iter().position(|peer| peer.name == line.peer).unwrap_or_else(|| {
            peers.push(Peer { name: line.peer.clone(), ..Peer::default() });
            peers.len() - 1
        });
        let peer = &mut peers[at];
        peer.per_false_alarm = line.images_per_false_alarm;
        peer.found.insert(
            (line.corruption, line.severity),
            (line.median_delay.map(|n| n.ceil() as u64), line.found_share),
        );
    }
    Ok(peers)
}
