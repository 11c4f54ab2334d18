//! What a contestant says of images, and whether it is what the model server says.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::contestants::Peer;
use crate::http::{Connection, Failure};

/// What is said of an image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Said {
    prediction: String,
    confidence: f64,
}

/// A request, spelt out.
pub(super) fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Asks over an open connection.
pub(super) fn ask(connection: &mut Connection, request: &[u8]) -> Result<Said, Failure> {
    let answer = connection.send(request)?;
    if answer.status != 200 {
        return Err(Failure::Status(answer.status));
    }
    serde_json::from_str(answer.body).map_err(|_| Failure::Wrong("no prediction with confidence"))
}

/// What is said of each body.
pub(super) fn all(address: SocketAddr, path: &str, bodies: &[String]) -> Result<Vec<Said>> {
    let mut connection = Connection::open(address)?;
    let each = bodies.iter().enumerate();
    each.map(|(i, body)| ask(&mut connection, &request(path, body)).with_context(|| format!("image {i}")))
        .collect()
}

/// Checks that a contestant says what we say, but for a probability that is `furthest` off at most.
///
/// # Errors
/// Names the first image of which it says something else.
pub(super) fn check(peer: Peer, bodies: &[String], ours: &[Said], furthest: f64) -> Result<()> {
    let theirs = all(peer.address(), peer.path(), bodies)?;
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        ensure!(is_same(ours, theirs, furthest), "image {i}: {theirs:?} in place of {ours:?}");
    }
    Ok(())
}

fn is_same(ours: &Said, theirs: &Said, furthest: f64) -> bool {
    ours.prediction == theirs.prediction && (ours.confidence - theirs.confidence).abs() <= furthest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_class_or_probability_is_seen() {
        let said = |prediction: &str, confidence| Said { prediction: prediction.into(), confidence };
        let ours = said("cat", 0.9);
        assert!(is_same(&ours, &said("cat", 0.885), 0.02));
        for theirs in [said("dog", 0.9), said("cat", 0.93), said("cat", 0.87), said("cat", f64::NAN)] {
            assert!(!is_same(&ours, &theirs, 0.02), "{theirs:?}");
        }
    }
}
