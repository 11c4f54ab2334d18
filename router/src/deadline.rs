//! When the time of a request is over, and whose time it is. Pure: the time is an argument.
//!
//! A client may give its request less time than the route does: `x-request-timeout` in seconds (`2.5`) or as in Go
//! (`500ms`), and `grpc-timeout` with gRPC. It runs from the head on, and never makes the route's time longer. What is left
//! of it is what the server is told. A client whose own time is over has given up, as one that hangs up has, and is counted
//! as that one: else anybody could take a candidate back by asking for a millisecond (ADR 20).

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{Outcome, timeout};

/// The time that a request is given, from its client.
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static(wire::timeout::HEADER);
/// The same of gRPC.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// A server that is told how much time is left may give up a little earlier than the router: by so many parts of it.
const EARLY: u32 = 10;

/// The time that a client gives its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    limit: Duration,
    until: Instant,
}

impl Asked {
    /// What is left of it.
    pub(crate) fn left(self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// The time that these headers ask for, the shorter one if there are two; `None` without any. `since` is when they came.
///
/// # Errors
/// What is wrong with them, in words for the client.
pub(crate) fn asked(headers: &HeaderMap, grpc: bool, since: Instant) -> Result<Option<Asked>, String> {
    let timeout = read(headers, &REQUEST_TIMEOUT, timeout::parse, timeout::MUST)?;
    let of_grpc = if grpc {
        read(headers, &GRPC_TIMEOUT, parse_grpc, "must be 1 to 8 digits and one of H, M, S, m, u, n")?
    } else {
        None
    };
    let limit = timeout.into_iter().chain(of_grpc).min();
    // One that ends after the end of all times is none.
    Ok(limit.and_then(|limit| Some(Asked { limit, until: since.checked_add(limit)? })))
}

/// Takes the times of the client out: a copy has no client that waits.
pub(crate) fn forget(headers: &mut HeaderMap) {
    headers.remove(REQUEST_TIMEOUT);
    headers.remove(GRPC_TIMEOUT);
}

fn read(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: fn(&str) -> Option<Duration>,
    must: &str,
) -> Result<Option<Duration>, String> {
    let mut all = headers.get_all(name).iter();
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(format!("{name} is given twice, it must be given once"));
    }
    let text = value.to_str().unwrap_or("not text").trim();
    parse(text).map(Some).ok_or_else(|| {
        // A percent sign would be read as an escape in a gRPC message.
        let found: String =
            text.chars().take(timeout::LONGEST).map(|c| if c == '%' { '?' } else { c }).collect();
        format!("{name} is {found:?}, it {must}")
    })
}

fn parse_grpc(text: &str) -> Option<Duration> {
    let (unit, digits) = text.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// When the time of a request is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    /// The time that the client gave, if it is the shorter one.
    by_client: Option<Duration>,
}

impl Deadline {
    /// The earlier one of the route's and the client's.
    pub(crate) fn new(of_route: Instant, asked: Option<Asked>) -> Self {
        match asked.filter(|asked| asked.until < of_route) {
            Some(asked) => Self { at: asked.until, by_client: Some(asked.limit) },
            None => Self { at: of_route, by_client: None },
        }
    }

    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// Whether it is the client's.
    pub(crate) fn is_clients(self) -> bool {
        self.by_client.is_some()
    }

    /// Puts it off: the client was waited for.
    pub(crate) fn put_off(&mut self, waited: Duration) {
        self.at += waited;
    }

    /// rule: C2. What a request counts as that was not answered in time.
    pub(crate) fn missed(self) -> Outcome {
        if self.is_clients() { Outcome::Cancelled } else { Outcome::Timeout }
    }

    /// rule: C2. What an answer of now counts as: a server that gives up when the client's time is over, because it was told
    /// so, is not late.
    pub(crate) fn read(self, said: Outcome, now: Instant) -> Outcome {
        let over = |limit: Duration| now + limit / EARLY >= self.at;
        if said == Outcome::Timeout && self.by_client.is_some_and(over) { Outcome::Cancelled } else { said }
    }

    /// Tells the server how much time is left, in the way in which the client said it. Who said nothing, says nothing.
    pub(crate) fn tell(self, headers: &mut HeaderMap, now: Instant) {
        let left = self.at.saturating_duration_since(now);
        if let Some(value) = headers.get_mut(REQUEST_TIMEOUT) {
            let millis = left.as_millis();
            let in_seconds = value.to_str().is_ok_and(|text| text.trim().parse::<f64>().is_ok());
            let text = if in_seconds { format!("{:.3}", millis as f64 / 1e3) } else { format!("{millis}ms") };
            *value = HeaderValue::try_from(text).expect("digits and letters are a header value");
        }
        if let Some(value) = headers.get_mut(GRPC_TIMEOUT) {
            // No more than 8 digits are allowed.
            let text = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')]
                .into_iter()
                .find(|(count, _)| *count < 100_000_000)
                .map_or("99999999S".to_owned(), |(count, unit)| format!("{count}{unit}"));
            *value = HeaderValue::try_from(text).expect("digits and letters are a header value");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    fn limit(lines: &[(&'static str, &str)], grpc: bool) -> Result<Option<u128>, String> {
        let asked = asked(&headers(lines), grpc, Instant::now())?;
        Ok(asked.map(|asked| asked.limit.as_nanos()))
    }

    #[test]
    fn times_are_read_as_seconds_or_with_units() {
        for (text, nanos) in [
            ("2.5", 2_500_000_000),
            (" 3 ", 3_000_000_000),
            ("0", 0),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1h0.5ms", 3_600_000_500_000),
            ("7us3ns", 7_003),
        ] {
            assert_eq!(limit(&[("x-request-timeout", text)], false), Ok(Some(nanos)), "{text}");
        }
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("99999999n", 99_999_999),
            ("0m", 0),
            ("7u", 7_000),
        ] {
            assert_eq!(limit(&[("grpc-timeout", text)], true), Ok(Some(nanos)), "{text}");
        }
        assert_eq!(limit(&[("grpc-timeout", "nonsense")], false), Ok(None), "it means nothing without gRPC");
        let both = [("x-request-timeout", "2"), ("grpc-timeout", "1S")];
        assert_eq!(limit(&both, true), Ok(Some(1_000_000_000)), "the shorter one");
        assert_eq!(
            limit(&[("x-request-timeout", "9999999999999999999")], false),
            Ok(None),
            "longer than time"
        );
    }

    #[test]
    fn what_is_no_time_is_said_to_be_none() {
        let long = "1".repeat(400);
        for text in
            ["", "soon", "-1", "+1", "1e3", "1d", "1.2.3", "1s2", "5 ms", ".", "s", "inf", "NaN", &long]
        {
            assert!(limit(&[("x-request-timeout", text)], false).is_err(), "{text:?}");
        }
        for text in ["", "m", "1", "123456789m", "-1m", "1.5S", "1s", "1 m"] {
            assert!(limit(&[("grpc-timeout", text)], true).is_err(), "{text:?}");
        }
        assert_eq!(
            limit(&[("x-request-timeout", "50%")], false).unwrap_err(),
            "x-request-timeout is \"50?\", it must be a time such as 2.5 (seconds), 500ms or 1m30s"
        );
        let twice = [("x-request-timeout", "1"), ("x-request-timeout", "1")];
        assert_eq!(
            limit(&twice, false).unwrap_err(),
            "x-request-timeout is given twice, it must be given once"
        );
    }

    // rule: C2
    #[test]
    fn the_clients_own_time_is_nobodys_fault() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let of = |text: &str| asked(&headers(&[("x-request-timeout", text)]), false, now).unwrap();
        let (own, longer) = (Deadline::new(now + second, of("500ms")), Deadline::new(now + second, of("2")));
        assert_eq!((own.at() - now, own.missed()), (second / 2, Outcome::Cancelled));
        assert_eq!((longer.at() - now, longer.missed()), (second, Outcome::Timeout), "never longer");
        let said =
            |deadline: Deadline, millis| deadline.read(Outcome::Timeout, now + Duration::from_millis(millis));
        assert_eq!((said(own, 440), said(own, 450)), (Outcome::Timeout, Outcome::Cancelled));
        assert_eq!(said(longer, 999), Outcome::Timeout);
        assert_eq!(own.read(Outcome::Error, own.at()), Outcome::Error);
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_as_what_is_left(millis in 1u64..40_000_000, seconds in any::<bool>()) {
            let now = Instant::now();
            let deadline = Deadline::new(now + Duration::from_millis(millis), None);
            let mut told =
                headers(&[("x-request-timeout", if seconds { "99" } else { "99s" }), ("grpc-timeout", "1H")]);
            deadline.tell(&mut told, now);
            let one = |name: &HeaderName, parse: fn(&str) -> Option<Duration>| {
                parse(told[name].to_str().unwrap()).unwrap().as_millis() as u64
            };
            prop_assert_eq!(one(&REQUEST_TIMEOUT, timeout::parse), millis);
            prop_assert_eq!(one(&GRPC_TIMEOUT, parse_grpc), millis);
        }

        #[test]
        fn any_text_is_survived(text in "[ -~]{0,40}") {
            let _ = (timeout::parse(&text), parse_grpc(&text));
        }
    }
}
