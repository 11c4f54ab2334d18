//! How much time a request is given, in words that clients, routers and servers share.

use std::time::Duration;

/// The header. A router tells the server what is left of it.
pub const HEADER: &str = "x-request-timeout";
/// What is to be said to a client of a time that cannot be read.
pub const MUST: &str = "must be a time such as 2.5 (seconds), 500ms or 1m30s";
/// Longest text of a time that is read, in bytes.
pub const LONGEST: usize = 32;

/// Reads a time: seconds (`2.5`), or numbers with units one behind the other, as in Go (`1m30s`).
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text.len() > LONGEST {
        return None;
    }
    if let Some(seconds) = number(text) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, unit) = rest.split_at(digits);
        let end = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let seconds = match &unit[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        sum = sum.checked_add(Duration::try_from_secs_f64(number(count)? * seconds).ok()?)?;
        rest = &unit[end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// Without a sign or an exponent.
fn number(text: &str) -> Option<f64> {
    text.bytes().all(|c| c.is_ascii_digit() || c == b'.').then(|| text.parse().ok()).flatten()
}
