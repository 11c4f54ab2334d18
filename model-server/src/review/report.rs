//! How often people and models agree.
//!
//! Labels do not change, so each is read once; lists say which of them are new.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use evidence::Share;
use futures::StreamExt;
use futures::stream::iter;
use serde::Serialize;
use sources::CabinetError;

use super::desk::{Desk, done, id_of};
use super::{Done, ItemId, Told};

/// Two-sided level of the intervals.
const LEVEL: f64 = 0.05;
/// Labels that are counted, at most.
const MOST: usize = 100_000;
/// Labels that are read for one report, at most.
const NEW: usize = 2_000;
/// Names of one list.
const PART: usize = 1_000;
/// Files that are read at one time.
const ABREAST: usize = 16;
/// Pairs of classes that are shown of a group, and refusals.
const SHOWN: usize = 50;
/// For so long a report is not made anew.
const FRESH: Duration = Duration::from_secs(5);

/// What answers are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Group {
    model: String,
    version: String,
    revision: String,
    decision: String,
}

/// A label, as far as it is counted.
#[derive(Debug, Clone)]
struct Row {
    group: Group,
    predicted: Option<String>,
    label: String,
}

/// A predicted class and what was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Pair {
    /// Absent for a null output.
    predicted: Option<String>,
    label: String,
    count: u64,
}

/// How often people agreed with a revision in one way of working.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Agreement {
    #[serde(flatten)]
    group: Group,
    labelled: u64,
    agreed: u64,
    /// agreed / labelled, with limits of 95 %.
    agreement: f64,
    low: f64,
    high: f64,
    /// Null outputs among them, with which nobody agrees.
    none: u64,
    /// What was wrong, the most frequent first.
    confusion: Vec<Pair>,
}

/// What the router said of labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Feedback {
    accepted: usize,
    refused: usize,
    /// Labels that the router was not told of yet, and labels that are being given.
    untold: usize,
    /// The latest, by the time of their images.
    last_refused: Vec<Told>,
}

/// The report.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Report {
    /// Whether all labels are counted; if not, the next report counts more.
    complete: bool,
    labels: usize,
    groups: Vec<Agreement>,
    feedback: Feedback,
}

/// What is known of labels.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    rows: HashMap<ItemId, Row>,
    last: Option<(Instant, Report)>,
}

impl Tallies {
    /// The report, at most [`FRESH`] old.
    pub(super) async fn report(&mut self, desk: &Desk) -> Result<Report, CabinetError> {
        if let Some((at, report)) = &self.last
            && at.elapsed() < FRESH
            && report.complete
        {
            return Ok(report.clone());
        }
        let complete = self.refresh(desk).await?;
        let report = Report {
            complete,
            labels: self.rows.len(),
            groups: agreements(self.rows.values()),
            feedback: feedback(desk).await?,
        };
        self.last = Some((Instant::now(), report.clone()));
        Ok(report)
    }

    /// Reads what is new, and forgets what is gone. Whether that was all.
    async fn refresh(&mut self, desk: &Desk) -> Result<bool, CabinetError> {
        let (names, is_all) = names(desk, "done", MOST).await?;
        let ids: Vec<ItemId> = names.iter().filter_map(|name| id_of(name)).collect();
        let mut before = std::mem::take(&mut self.rows);
        let mut new = Vec::new();
        for id in ids {
            match before.remove(&id) {
                Some(row) => drop(self.rows.insert(id, row)),
                None => new.push(id),
            }
        }
        let complete = is_all && new.len() <= NEW;
        new.truncate(NEW);
        let mut read = iter(new)
            .map(async |id: ItemId| (desk.read::<Done>(&done(&id)).await, id))
            .buffer_unordered(ABREAST);
        while let Some((label, id)) = read.next().await {
            if let Some(label) = label? {
                self.rows.insert(id, Row::of(label));
            }
        }
        Ok(complete)
    }
}

impl Row {
    fn of(Done { item, label, .. }: Done) -> Self {
        let group = Group {
            model: item.model,
            version: item.version,
            revision: item.revision,
            decision: item.decision,
        };
        Self { group, predicted: item.prediction, label }
    }
}

/// All names of a folder, and whether these are all.
async fn names(desk: &Desk, folder: &str, most: usize) -> Result<(Vec<String>, bool), CabinetError> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let after = all.last().map_or("", String::as_str);
        let part = desk.cabinet.list(folder, after, PART).await?;
        let is_end = part.len() < PART;
        all.extend(part);
        if is_end || all.len() >= most {
            return Ok((all, is_end));
        }
    }
}

fn agreements<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Agreement> {
    type Pairs = BTreeMap<(Option<String>, String), u64>;
    let mut groups: BTreeMap<&Group, Pairs> = BTreeMap::new();
    for row in rows {
        let pair = (row.predicted.clone(), row.label.clone());
        *groups.entry(&row.group).or_default().entry(pair).or_default() += 1;
    }
    groups.into_iter().map(|(group, pairs)| agreement(group, pairs)).collect()
}

fn agreement(group: &Group, pairs: BTreeMap<(Option<String>, String), u64>) -> Agreement {
    let agrees = |(predicted, label): &(Option<String>, String)| predicted.as_deref() == Some(label);
    let labelled = pairs.values().sum();
    let agreed = pairs.iter().filter(|(pair, _)| agrees(pair)).map(|(_, n)| n).sum();
    let none = pairs.iter().filter(|((predicted, _), _)| predicted.is_none()).map(|(_, n)| n).sum();
    let limits = Share::new(agreed, labelled).wilson(LEVEL).expect("a group has labels");
    let wrong = pairs.into_iter().filter(|(pair, _)| !agrees(pair));
    let mut confusion: Vec<Pair> =
        wrong.map(|((predicted, label), count)| Pair { predicted, label, count }).collect();
    confusion.sort_by_key(|pair| std::cmp::Reverse(pair.count));
    confusion.truncate(SHOWN);
    Agreement {
        group: group.clone(),
        labelled,
        agreed,
        agreement: limits.value,
        low: limits.low,
        high: limits.high,
        none,
        confusion,
    }
}

async fn feedback(desk: &Desk) -> Result<Feedback, CabinetError> {
    let (accepted, _) = names(desk, "feedback/accepted", MOST).await?;
    let (refused, _) = names(desk, "feedback/refused", MOST).await?;
    let (untold, _) = names(desk, "untold", MOST).await?;
    let last: Vec<String> = refused.iter().rev().take(SHOWN).cloned().collect();
    let mut read = iter(last)
        .map(async |name: String| desk.read::<Told>(&format!("feedback/refused/{name}")).await)
        .buffered(ABREAST);
    let mut last_refused = Vec::new();
    while let Some(told) = read.next().await {
        last_refused.extend(told?);
    }
    drop(read);
    Ok(Feedback { accepted: accepted.len(), refused: refused.len(), untold: untold.len(), last_refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_counted_by_revision_and_level() {
        let row = |revision: &str, decision: &str, predicted: Option<&str>, label: &str| Row {
            group: Group {
                model: "digits".into(),
                version: "1.0.0".into(),
                revision: revision.into(),
                decision: decision.into(),
            },
            predicted: predicted.map(str::to_owned),
            label: label.into(),
        };
        let mut rows = vec![row("a", "human", Some("1"), "1"); 8];
        rows.push(row("a", "human", Some("1"), "7"));
        rows.push(row("a", "human", None, "7"));
        rows.push(row("a", "defer", Some("3"), "3"));
        rows.push(row("b", "human", Some("2"), "3"));
        let found = agreements(rows.iter());
        let keys: Vec<(&str, &str)> =
            found.iter().map(|a| (&*a.group.revision, &*a.group.decision)).collect();
        assert_eq!(keys, [("a", "defer"), ("a", "human"), ("b", "human")]);
        let human = &found[1];
        assert_eq!((human.labelled, human.agreed, human.none), (10, 8, 1));
        // R: prop.test(8, 10, correct = FALSE)$conf.int
        assert!(
            (human.low - 0.490_162_5).abs() < 1e-6 && (human.high - 0.943_317_8).abs() < 1e-6,
            "{human:?}"
        );
        assert_eq!(human.confusion.len(), 2);
        assert_eq!((found[2].agreed, found[2].agreement), (0, 0.0));
    }
}
