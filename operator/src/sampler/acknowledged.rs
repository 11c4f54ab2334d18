//! Who serves the table, and when the others are asked again (R2). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use wire::{RouteReport, RouteState};

/// Time between two questions at first.
const FAST: Duration = Duration::from_millis(25);
/// How long at first is.
const FAST_FOR: Duration = Duration::from_secs(5);

/// What the running routers together say of a state of the route table (R2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acknowledgement {
    /// Every running router serves the state. True without routers: then nobody serves another one.
    pub served: bool,
    /// Served, by at least one router, and each of them sees a ready endpoint of every revision with a share.
    pub acknowledged: bool,
    /// The routers that do not serve it, with what they say instead; once all of them do, those that see no
    /// ready endpoint of a revision with a share.
    pub behind: Vec<String>,
}

/// Sums up the answers of `routers` (names of the pods that run).
#[must_use]
pub fn acknowledgement<'a>(
    route: &RouteState,
    with_share: &BTreeSet<String>,
    routers: impl IntoIterator<Item = &'a str>,
    reports: &BTreeMap<String, Result<RouteReport, String>>,
) -> Acknowledgement {
    let (mut running, mut behind, mut blind) = (0, Vec::new(), Vec::new());
    for name in routers {
        running += 1;
        match reports.get(name) {
            Some(Ok(report)) if report.state == *route => {
                let unseen = unseen(report, with_share);
                blind.extend(unseen.map(|revision| format!("{name} (sees no ready pod of {revision})")));
            }
            Some(Ok(report)) => behind.push(format!("{name} (serves {})", spell(&report.state))),
            Some(Err(why)) => behind.push(format!("{name} ({why})")),
            None => behind.push(format!("{name} (not asked yet)")),
        }
    }
    let served = behind.is_empty();
    let acknowledged = served && running > 0 && blind.is_empty();
    Acknowledgement { served, acknowledged, behind: if served { blind } else { behind } }
}

/// Whether this router need not be asked again.
pub(super) fn is_settled(
    route: &RouteState,
    with_share: &BTreeSet<String>,
    report: Option<&Result<RouteReport, String>>,
) -> bool {
    matches!(report, Some(Ok(report)) if report.state == *route && unseen(report, with_share).next().is_none())
}

/// When a router that is not settled is asked again: at once after a change, every 25 ms for 5 s, then once
/// per interval.
pub(super) fn ask_again(changed: Instant, asked: Option<Instant>, interval: Duration) -> Instant {
    // rule: R2
    match asked {
        Some(asked) if asked < changed => changed.max(asked + FAST),
        Some(asked) if asked + FAST < changed + FAST_FOR => asked + FAST,
        Some(asked) => asked + interval.max(FAST),
        None => changed,
    }
}

fn unseen<'a>(report: &'a RouteReport, with_share: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
    with_share.iter().filter(|revision| report.endpoints.get(*revision).is_none_or(|e| e.ready == 0))
}

fn spell(state: &RouteState) -> String {
    match &state.pin {
        Some(pin) => format!("generation {} pinned to {pin}", state.generation),
        None => format!("generation {}", state.generation),
    }
}

#[cfg(test)]
mod tests {
    use wire::{EndpointCounts, TableSource};

    use super::*;

    fn state(generation: i64) -> RouteState {
        RouteState { uid: "u".into(), generation, pin: None }
    }

    fn report(generation: i64, ready: &[(&str, u32)]) -> Result<RouteReport, String> {
        let endpoints =
            ready.iter().map(|(r, n)| ((*r).into(), EndpointCounts { ready: *n, ..Default::default() }));
        Ok(RouteReport {
            state: state(generation),
            source: TableSource::Live,
            endpoints: endpoints.collect(),
            unknown_pin: None,
            tripped: BTreeMap::new(),
            instance: "i".into(),
        })
    }

    #[test]
    fn served_needs_every_running_router_and_acknowledged_a_ready_endpoint_of_each_share() {
        // rule: R2
        let shares = BTreeSet::from(["old".to_owned(), "new".to_owned()]);
        let both = [("old", 2), ("new", 1), ("idle", 0)];
        let mut reports = BTreeMap::from([("a".into(), report(2, &both)), ("b".into(), report(1, &both))]);
        let say = |reports: &_, names: &[&str]| acknowledgement(&state(2), &shares, names.to_vec(), reports);

        let behind = say(&reports, &["a", "b", "c"]);
        assert!(!behind.served && !behind.acknowledged);
        assert_eq!(behind.behind, ["b (serves generation 1)", "c (not asked yet)"]);

        reports.insert("b".into(), report(2, &[("old", 1)]));
        let served = say(&reports, &["a", "b"]);
        assert!(served.served && !served.acknowledged);
        assert_eq!(served.behind, ["b (sees no ready pod of new)"]);

        reports.insert("b".into(), report(2, &both));
        assert!(say(&reports, &["a", "b"]).acknowledged);

        reports.insert("b".into(), Err("connection refused".into()));
        assert_eq!(say(&reports, &["a", "b"]).behind, ["b (connection refused)"]);
        assert!(say(&reports, &["a"]).acknowledged, "a pod that no longer runs is not asked for");

        let nobody = say(&reports, &[]);
        assert!(nobody.served && !nobody.acknowledged, "without routers nothing may be raised");
    }

    #[test]
    fn routers_behind_are_asked_fast_for_five_seconds_then_once_per_interval() {
        // rule: R2
        let start = Instant::now();
        let interval = Duration::from_secs(15);
        assert_eq!(ask_again(start, None, interval), start);
        let (mut at, mut asked) = (start, 1);
        while at < start + Duration::from_secs(5) {
            at = ask_again(start, Some(at), interval);
            asked += 1;
        }
        assert_eq!(asked, 201);
        assert_eq!(ask_again(start, Some(at), interval), at + interval);
        let changed = at + Duration::from_secs(1);
        assert_eq!(ask_again(changed, Some(at), interval), changed, "a change starts it anew");
    }
}
