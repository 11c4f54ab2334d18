//! True labels: who may send them, which are refused, and that they take a bad version back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::node::Manifest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::curl::Curl;
use super::private::{Private, analysis};
use super::router::url;
use super::say;

/// Answers that are labelled.
const ANSWERS: usize = 300;

/// What a router says of labels.
#[derive(Debug, Deserialize)]
struct Taken {
    accepted: usize,
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    code: String,
}

impl Taken {
    fn codes(&self) -> Vec<&str> {
        self.refused.iter().map(|refused| refused.code.as_str()).collect()
    }
}

/// The bad version answers half of the users. Nothing is judged but the labels of its answers.
pub(crate) async fn take_a_bad_version_back(private: &Private<'_>) -> Result<()> {
    say("labels: 1.2.0 is wrong, and nothing else says so");
    let bad = private.story.models.bad();
    let metric = "{name: accuracy, accuracy: {}, min: 0.8, minSamples: 50}";
    let manifest = Manifest { analysis: Some(analysis(metric)), ..private.manifest(bad) };
    private.at_half(&manifest).await?;

    let answers = private.client()?.post(&url(), private.images(ANSWERS)).await?;
    let failed = answers.iter().filter(|a| a.status != 200 || a.id.is_empty()).count();
    ensure!(failed == 0, "{failed} of {ANSWERS} answers have no id: {:?}", answers.first());
    let of_bad: Vec<_> =
        answers.iter().zip(private.images(ANSWERS)).filter(|(a, _)| a.version == bad.version).collect();
    let right = of_bad.iter().filter(|(a, image)| a.prediction == image.label).count();
    let labels: Vec<Value> = answers
        .iter()
        .zip(private.images(ANSWERS))
        .map(|(answer, image)| json!({"id": answer.id, "label": image.label}))
        .collect();

    what_is_no_label_is_refused(private, &labels[0]).await?;
    // All others at once, and one of them twice.
    let [_, others @ ..] = &labels[..] else { anyhow::bail!("no answers") };
    let twice = [others, &others[..1]].concat();
    let sent = Instant::now();
    let taken = take(private, &json!({"labels": twice})).await?;
    ensure!((taken.accepted, taken.codes()) == (ANSWERS - 1, vec!["replayed"]), "{taken:?}");
    let (at, reason) = private.taken_back(sent, 30).await?;
    ensure!(reason.contains("accuracy by labels"), "{reason}");
    println!(
        "labels: {ANSWERS} taken, {right} of {} answers of {} are right; taken back {:.1} s later: {reason}",
        of_bad.len(),
        bad.version,
        at.duration_since(sent).as_secs_f64()
    );
    Ok(())
}

/// One label is taken; a forged id, no class, and whatever comes with a wrong token are not.
async fn what_is_no_label_is_refused(private: &Private<'_>, label: &Value) -> Result<()> {
    let (status, body) = post(private, "another-token-of-some-length", label).await?;
    ensure!(status == 401, "a wrong token: {status} {body}");
    let id = label["id"].as_str().context("an id")?;
    // In the middle of what is signed.
    let (before, after) = id.split_at(id.len() / 2);
    let other = if after.starts_with('A') { 'B' } else { 'A' };
    let forged = json!({"id": format!("{before}{other}{}", &after[1..]), "label": label["label"]});
    let no_class = json!({"id": id, "label": "eleven"});
    for (label, wanted) in
        [(&forged, (0, vec!["forged"])), (&no_class, (0, vec!["class"])), (label, (1, vec![]))]
    {
        let taken = take(private, label).await?;
        ensure!((taken.accepted, taken.codes()) == wanted, "{label}: {wanted:?} is due, and {taken:?} came");
    }
    println!(
        "labels: a wrong token gets 401; a forged id, no class and a label sent twice are refused one by one"
    );
    Ok(())
}

/// Sends labels as a client that may.
async fn take(private: &Private<'_>, labels: &Value) -> Result<Taken> {
    let (status, body) = post(private, &private.token, labels).await?;
    ensure!(status == 200, "{status} {body}");
    serde_json::from_str(&body).with_context(|| body.clone())
}

async fn post(private: &Private<'_>, token: &str, labels: &Value) -> Result<(u16, String)> {
    let file = private.file("labels.json");
    std::fs::write(&file, labels.to_string())?;
    let client = Curl::new().with("header", format!("authorization: Bearer {token}"));
    client.with("data-binary", format!("@{}", file.display())).text(&private.feedback()).await
}
