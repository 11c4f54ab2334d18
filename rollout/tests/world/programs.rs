//! The strategies, compiled as the operator does it, with short times.

use std::time::Duration;

use rollout::{Limit, OnLimit, OnLose, OnWin, Stage, Then, Until};

use super::{World, stage};

/// Names of all programs.
pub const PROGRAMS: [&str; 8] = [
    "canary",
    "shadow first",
    "shadow report",
    "shadow promote",
    "blue/green",
    "gradual blue/green",
    "A/B",
    "bandit",
];

/// Copies of `percent`.
pub fn copies(percent: u8, hold: u64) -> Stage {
    Stage { mirror: percent, ..stage(0, hold) }
}

/// Previewed at weight 0 with all pods.
pub fn preview(hold: u64) -> Stage {
    Stage { preview: true, capacity: 100, ..stage(0, hold) }
}

pub fn limit(after: u64, then: OnLimit) -> Option<Limit> {
    Some(Limit { after: Duration::from_secs(after), then })
}

/// A fixed split of `weight` each.
pub fn ab(weight: u8, undecided: OnLimit) -> Stage {
    let until = Until::Shown { on_win: OnWin::Promote, on_lose: OnLose::Rollback };
    Stage { until, limit: limit(90, undecided), ..stage(weight, 0) }
}

/// Shares from `floor` on.
pub fn bandit(floor: u8) -> Stage {
    Stage { until: Until::Best, limit: limit(120, OnLimit::Rollback), ..stage(floor, 0) }
}

impl World {
    /// The next rollout follows this program.
    pub fn program(&mut self, name: &str) {
        self.has_arms = matches!(name, "A/B" | "bandit");
        if !self.has_arms {
            // As the API has it: other strategies know no challengers.
            let revision = self.wanted.revision.clone();
            self.compete(&revision, &[]);
        }
        let full = |hold| Stage { capacity: 100, ..stage(50, hold) };
        self.wanted.alone = matches!(name, "shadow report" | "shadow promote");
        self.wanted.then = if name == "shadow report" { Then::Report } else { Then::Promote };
        self.wanted.stages = match name {
            "canary" => vec![stage(10, 20), stage(50, 20)],
            "shadow first" => vec![copies(100, 20), stage(10, 20)],
            "shadow report" | "shadow promote" => vec![copies(50, 20)],
            "blue/green" => vec![preview(20)],
            "gradual blue/green" => vec![preview(10), full(10)],
            "A/B" => vec![ab(20, OnLimit::Rollback)],
            "bandit" => vec![bandit(5)],
            other => panic!("{other}"),
        };
    }

    /// The spec asks for this revision, beside these challengers.
    pub fn compete(&mut self, revision: &str, challengers: &[&str]) {
        let challengers = if self.has_arms { challengers } else { &[] };
        self.wanted.challengers = challengers.iter().map(|c| (*c).to_owned()).collect();
        for challenger in challengers {
            self.known.insert((*challenger).into());
        }
        self.spec(revision);
    }
}
