//! Durations as people write them: `90s`, `5m`, `1h30m`.

use std::borrow::Cow;
use std::str::FromStr;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

/// Longest time that is read: about 3,000 years.
const LONGEST: time::Duration = time::Duration::from_secs(100_000_000_000);
/// Longest text and longest run of digits that are read: far more than any time up to [`LONGEST`] needs, and too few for
/// kube's reader to panic, as it does above 64 bits of seconds.
const TEXT: usize = 32;
const DIGITS: usize = 15;

/// A length of time, written as in Go: numbers with the units `ms`, `s`, `m`, `h`, for example `1h30m`. At most
/// 100,000,000,000 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(kube::core::Duration);

impl Duration {
    /// As the standard library's type.
    #[must_use]
    pub fn get(self) -> time::Duration {
        self.0.into()
    }
}

impl From<time::Duration> for Duration {
    fn from(value: time::Duration) -> Self {
        Self(value.into())
    }
}

impl Serialize for Duration {
    /// In the units that the schema allows: kube's own text says `0ns` and `500µs`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self.get();
        match time.as_nanos() {
            0 => serializer.serialize_str("0s"),
            nanos @ 1..1_000_000 => serializer.collect_str(&format_args!("{}ms", nanos as f64 / 1e6)),
            _ => serializer.collect_str(&format_args!("{time:?}")),
        }
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        let long =
            || format!("longer than {} s, or written in more than {TEXT} characters", LONGEST.as_secs());
        if text.len() > TEXT || digits > Some(DIGITS) {
            return Err(long());
        }
        let read = kube::core::Duration::from_str(text).map(Self).map_err(|e| e.to_string())?;
        if read.get() <= LONGEST { Ok(read) } else { Err(long()) }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 16,
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // kube's reader panics on the first two: found by `make fuzz`.
    #[test]
    fn what_is_too_long_is_refused() {
        let years = "99999999999999999999s";
        for text in
            [&"3".repeat(80) as &str, years, "999999999999999h", "100000000001s", "100000000000.0000001s1ms"]
        {
            let text =
                if text.ends_with('s') || text.ends_with('h') { text.to_owned() } else { format!("{text}s") };
            let error = serde_json::from_value::<Duration>(text.as_str().into()).unwrap_err().to_string();
            assert!(error.starts_with("longer than 100000000000 s"), "{text}: {error}");
        }
        assert_eq!("100000000000s".parse::<Duration>().unwrap().get(), LONGEST);
    }

    #[test]
    fn every_duration_is_written_in_units_that_the_schema_allows_and_comes_back() {
        for text in ["0s", "0ms", "1ms", "0.5ms", "0.000001ms", "1.5s", "90s", "1h30m", "1h0.5ms"] {
            let read: Duration = serde_json::from_value(text.into()).unwrap();
            let written = serde_json::to_value(read).unwrap();
            let units =
                written.as_str().unwrap().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            assert!(["ms", "s"].contains(&units), "{text} is written as {written}");
            assert_eq!(serde_json::from_value::<Duration>(written).unwrap(), read, "{text}");
        }
    }
}
