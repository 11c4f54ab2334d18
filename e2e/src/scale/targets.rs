//! The figures as a table, and what was promised of them: a line per target, a summary line last.

use std::fmt::Write;

use super::requests::Requests;
use super::stages::INTERVAL;
use super::usage::Memory;
use super::{Created, Figures, Window};

const MB: f64 = 1e6;

/// Lines of targets.
#[derive(Debug, Default)]
struct Targets {
    text: String,
    reached: usize,
    missed: Vec<String>,
}

impl Targets {
    /// At most `most` of something.
    fn at_most(&mut self, what: &str, found: f64, most: f64, unit: &str) {
        let reached = found <= most;
        let word = if reached { "reached" } else { "missed" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "target  {what}: {found:.2}{unit} (at most {most}{unit})  {word}");
        if reached {
            self.reached += 1;
        } else {
            self.missed.push(what.to_owned());
        }
    }

    fn finish(mut self) -> String {
        let all = self.reached + self.missed.len();
        let _ = write!(self.text, "summary  {} of {all} targets reached", self.reached);
        if !self.missed.is_empty() {
            let _ = write!(self.text, "; missed: {}", self.missed.join("; "));
        }
        self.text.push('\n');
        self.text
    }
}

/// What design promises of these figures, target by target, with the summary.
#[must_use]
pub fn targets(figures: &Figures) -> String {
    let n = figures.deployments;
    let mut targets = Targets::default();
    if let Some(first) = figures.created.first() {
        let what = format!("{} created -> reconciled", first.deployments);
        targets.at_most(&what, first.reconciled, 15.0, " s");
        targets.at_most("writes per new deployment", writes_each(first), 6.0, "");
    }
    let idle = &figures.idle;
    targets.at_most("writes at rest but the Lease", idle.requests.writes() as f64, 0.0, "");
    targets.at_most("reads of the API server at rest", idle.requests.reads() as f64, 0.0, "");
    targets.at_most("pages read at rest", idle.pages.all as f64, 0.0, "");
    targets.at_most(&format!("full resync of {n}"), figures.resync.seconds, 10.0, " s");
    let judged = &figures.rollouts.judged;
    let rss = most_memory(figures) as f64 / MB;
    targets.at_most(&format!("memory with {n} (RSS, most of rest, judging and end)"), rss, 100.0, " MB");
    let what = format!("cores with {n} judged every {INTERVAL} s, 2 pages each");
    targets.at_most(&what, judged.cores(), 0.5, "");
    targets.finish()
}

fn most_memory(figures: &Figures) -> u64 {
    let rollouts = &figures.rollouts;
    figures.idle.memory.rss.max(rollouts.judged.memory.rss).max(rollouts.memory.rss)
}

fn writes_each(created: &Created) -> f64 {
    created.requests.writes() as f64 / created.deployments.max(1) as f64
}

/// Everything, for people.
#[must_use]
pub fn table(figures: &Figures) -> String {
    let n = figures.deployments;
    let mut lines = vec![format!("{n} deployments"), format!("  none yet: {}", memory(figures.empty))];
    for created in &figures.created {
        lines.push(format!(
            "  {} created: accepted {:.1} s, reconciled {:.1} s, healthy {:.1} s; {:.1} CPU s; load {:.1}",
            created.deployments,
            created.accepted,
            created.reconciled,
            created.healthy,
            created.cpu,
            created.load
        ));
        let (writes, list) = (writes_each(created), created.requests.writes_each(created.deployments));
        lines.push(format!("    {writes:.2} writes each: {list}"));
        let (reads, list) = (created.requests.reads(), created.requests.reads_each(created.deployments));
        lines.push(format!("    {:.2} reads each: {list}", reads as f64 / created.deployments.max(1) as f64));
    }
    lines.push(format!("  at rest: {}", window(&figures.idle)));
    let resync = &figures.resync;
    lines.push(format!(
        "  restart: every router asked after {:.2} s; {:.2} CPU s; {} writes, {} reads, {} watches",
        resync.seconds,
        resync.cpu,
        resync.requests.writes(),
        resync.requests.reads(),
        resync.requests.watches()
    ));
    lines.push(format!("    writes each: {}", resync.requests.writes_each(n)));
    let rollouts = &figures.rollouts;
    let (judged, requests) = (&rollouts.judged, &rollouts.requests);
    lines.push(format!(
        "  rollouts: all judged after {:.1} s, then ended in {:.1} s",
        rollouts.began, rollouts.ended
    ));
    let writes = requests.writes() as f64 / n.max(1) as f64;
    lines.push(format!("    {writes:.2} writes each, without judging: {}", requests.writes_each(n)));
    lines.push(format!("  judged every {INTERVAL} s: {}", window(judged)));
    let due = 2.0 * n as f64 * judged.seconds / INTERVAL as f64;
    let minutes = judged.seconds / 60.0;
    lines.push(format!(
        "    {:.3} cores; {:.2} ms CPU per page; {:.0} % of the pages that are due; {:.2} writes per deployment and minute: {}",
        judged.cores(),
        1000.0 * judged.cpu / judged.pages.evidence.max(1) as f64,
        100.0 * judged.pages.evidence as f64 / due.max(1.0),
        judged.requests.writes() as f64 / n.max(1) as f64 / minutes,
        per_minute(&judged.requests, n, minutes),
    ));
    lines.push(format!("  in the end: {}", memory(rollouts.memory)));
    lines.join("\n") + "\n"
}

fn per_minute(requests: &Requests, n: usize, minutes: f64) -> String {
    let scaled = (n as f64 * minutes).round().max(1.0);
    requests.writes_each(scaled as usize)
}

fn window(window: &Window) -> String {
    let requests = &window.requests;
    format!(
        "{:.0} s: {:.2} CPU s, {}; API {} writes, {} reads, {} watches, {} Lease; {} pages; load {:.1}",
        window.seconds,
        window.cpu,
        memory(window.memory),
        requests.writes(),
        requests.reads(),
        requests.watches(),
        requests.lease(),
        window.pages.all,
        window.load
    )
}

fn memory(memory: Memory) -> String {
    let of = |bytes: u64| bytes as f64 / MB;
    format!("RSS {:.1} MB, PSS {:.1} MB, peak {:.1} MB", of(memory.rss), of(memory.pss), of(memory.peak))
}

/// How the cost grows from few deployments to many: each line a ratio, beside that of the numbers.
#[must_use]
pub fn growth(few: &Figures, many: &Figures) -> String {
    let times = many.deployments as f64 / few.deployments.max(1) as f64;
    let mut text = format!("growth from {} to {} (x{times:.1})\n", few.deployments, many.deployments);
    let mut line = |what: &str, of: &dyn Fn(&Figures) -> f64| {
        let (a, b) = (of(few), of(many));
        let ratio = if a > 0.0 { format!("x{:.1}", b / a) } else { "-".to_owned() };
        let _ = writeln!(text, "  {what}: {a:.2} -> {b:.2} = {ratio}");
    };
    let first = |figures: &Figures, of: fn(&Created) -> f64| figures.created.first().map_or(0.0, of);
    line("first half created -> reconciled, s", &|f| first(f, |c| c.reconciled));
    line("first half created -> healthy, s", &|f| first(f, |c| c.healthy));
    line("CPU s of creating all", &|f| f.created.iter().map(|c| c.cpu).sum());
    line("CPU s of a restart", &|f| f.resync.cpu);
    line("restart until every router is asked, s", &|f| f.resync.seconds);
    line("cores at rest", &|f| f.idle.cores());
    line("cores judging", &|f| f.rollouts.judged.cores());
    line("RSS at rest without that of none, MB", &|f| {
        f.idle.memory.rss.saturating_sub(f.empty.rss) as f64 / MB
    });
    line("RSS judging, MB", &|f| f.rollouts.judged.memory.rss as f64 / MB);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hollow::Reads;

    #[test]
    fn a_target_is_missed_by_what_is_above_it() {
        let requests = |n| Requests([("create services".to_owned(), n)].into());
        let mut figures = Figures { deployments: 4, ..Figures::default() };
        figures.created =
            vec![Created { deployments: 2, reconciled: 15.0, requests: requests(12), ..Created::default() }];
        figures.idle.seconds = 1.0;
        figures.rollouts.judged = Window { seconds: 10.0, cpu: 5.0, ..Window::default() };
        let text = targets(&figures);
        assert!(text.ends_with("summary  8 of 8 targets reached\n"), "{text}");

        figures.created[0].requests = requests(13);
        figures.idle.pages = Reads { all: 1, evidence: 0 };
        figures.rollouts.memory.rss = 101_000_000;
        figures.rollouts.judged.cpu = 5.1;
        let text = targets(&figures);
        assert!(text.contains("writes per new deployment: 6.50 (at most 6)  missed"), "{text}");
        assert!(text.contains("pages read at rest: 1.00 (at most 0)  missed"), "{text}");
        assert!(text.contains("summary  4 of 8 targets reached; missed: "), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with("missed")).count(), 4, "{text}");
    }
}
