//! What the operator asked of the API server, from the server's audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The log, read on from where it was read before.
#[derive(Debug)]
pub struct Audit {
    log: BufReader<File>,
    /// The beginning of a line whose end is still to come.
    begun: Vec<u8>,
}

/// Requests by verb and resource, such as `patch modeldeployments/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests(pub BTreeMap<String, u64>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    object_ref: Option<ObjectRef>,
}

#[derive(Debug, Deserialize)]
struct ObjectRef {
    resource: String,
    subresource: Option<String>,
}

impl Audit {
    /// # Errors
    /// When the log cannot be opened.
    pub fn open(log: &Path) -> Result<Self> {
        let file = File::open(log).with_context(|| log.display().to_string())?;
        Ok(Self { log: BufReader::new(file), begun: Vec::new() })
    }

    /// The requests since the last call.
    ///
    /// # Errors
    /// When the log cannot be read, or a line of it is no audit event.
    pub fn take(&mut self) -> Result<Requests> {
        let mut requests = Requests::default();
        while self.log.read_until(b'\n', &mut self.begun)? > 0 && self.begun.ends_with(b"\n") {
            let entry: Entry = serde_json::from_slice(&self.begun).context("a line of the audit log")?;
            self.begun.clear();
            requests.count(&entry);
        }
        Ok(requests)
    }
}

impl Requests {
    /// A watch counts when it begins, all others when they are answered.
    fn count(&mut self, entry: &Entry) {
        let counts = if entry.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if entry.stage != counts {
            return;
        }
        let of = match &entry.object_ref {
            Some(ObjectRef { resource, subresource: Some(part) }) => format!("{resource}/{part}"),
            Some(ObjectRef { resource, subresource: None }) => resource.clone(),
            None => entry.uri.clone(),
        };
        *self.0.entry(format!("{} {of}", entry.verb)).or_default() += 1;
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            *self.0.entry(what.clone()).or_default() += n;
        }
    }

    /// Changes of anything but the Lease.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.sum(|verb, of| of != "leases" && !matches!(verb, "get" | "list" | "watch"))
    }

    /// Objects and lists that were asked for, but the Lease.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.sum(|verb, of| of != "leases" && matches!(verb, "get" | "list"))
    }

    /// Watches that began; one lasts about five minutes.
    #[must_use]
    pub fn watches(&self) -> u64 {
        self.sum(|verb, of| of != "leases" && verb == "watch")
    }

    /// Anything about the Lease.
    #[must_use]
    pub fn lease(&self) -> u64 {
        self.sum(|_, of| of == "leases")
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        let counts = |what: &str| what.split_once(' ').is_some_and(|(verb, of)| counts(verb, of));
        self.0.iter().filter(|(what, _)| counts(what)).map(|(_, n)| n).sum()
    }

    /// The writes by what they are, per each of `n`, most first.
    #[must_use]
    pub fn writes_each(&self, n: usize) -> String {
        self.each(n, |one| one.writes() > 0)
    }

    /// The reads by what they are, per each of `n`, most first.
    #[must_use]
    pub fn reads_each(&self, n: usize) -> String {
        self.each(n, |one| one.reads() > 0)
    }

    fn each(&self, n: usize, counts: impl Fn(&Self) -> bool) -> String {
        let alone = |(what, n): &(&String, &u64)| counts(&Self([((*what).clone(), **n)].into()));
        let mut all: Vec<(&String, &u64)> = self.0.iter().filter(alone).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let each = |count: u64| count as f64 / n.max(1) as f64;
        let texts = all.into_iter().map(|(what, count)| format!("{what} {:.2}", each(*count)));
        texts.collect::<Vec<String>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(stage: &str, verb: &str, of: &str) -> String {
        let object = match of.split_once('/') {
            Some((resource, part)) => format!(r#"{{"resource":"{resource}","subresource":"{part}"}}"#),
            None => format!(r#"{{"resource":"{of}"}}"#),
        };
        format!(r#"{{"stage":"{stage}","verb":"{verb}","requestURI":"/x","objectRef":{object}}}"#)
    }

    #[test]
    fn requests_are_counted_once_and_a_line_that_is_not_whole_waits() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut audit = Audit::open(file.path()).unwrap();
        let last = line("ResponseComplete", "create", "services");
        let (head, tail) = last.split_at(20);
        let lines = [
            line("ResponseComplete", "patch", "modeldeployments/status"),
            line("ResponseComplete", "patch", "leases"),
            line("ResponseStarted", "watch", "pods"),
            line("ResponseComplete", "watch", "pods"),
            line("ResponseComplete", "list", "nodes"),
        ];
        write!(file, "{}\n{head}", lines.join("\n")).unwrap();
        let found = audit.take().unwrap();
        assert_eq!((found.writes(), found.reads(), found.watches(), found.lease()), (1, 1, 1, 1));
        assert_eq!(found.writes_each(2), "patch modeldeployments/status 0.50");
        writeln!(file, "{tail}").unwrap();
        let rest = audit.take().unwrap();
        assert_eq!(rest, Requests([("create services".to_owned(), 1)].into()));
        assert_eq!(audit.take().unwrap(), Requests::default());
    }
}
