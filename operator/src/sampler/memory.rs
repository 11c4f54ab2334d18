//! What the judge remembers of a rollout, as it is persisted (C6).

use std::collections::BTreeMap;

use evidence::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Field of a text that holds several candidates; a state of one has none of this name.
const CANDIDATES: &str = "candidates";

/// States of the judge by candidate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Of each candidate.
    pub candidates: BTreeMap<String, State>,
}

impl Memory {
    /// Reads what was persisted for these candidates.
    #[must_use]
    pub fn read(text: &str, candidates: &[String]) -> Self {
        let all = |state: State| Self {
            candidates: candidates.iter().map(|c| (c.clone(), state.clone())).collect(),
        };
        let read = || {
            let value: Value = serde_json::from_str(text)?;
            if value.get(CANDIDATES).is_some() {
                return serde_json::from_value(value);
            }
            serde_json::from_str(text).map(all)
        };
        // rule: S2, J3. A rollout that begins anew in the middle would spend every budget a second time. The sampler
        // tells of it when it takes it.
        read().unwrap_or_else(|_: serde_json::Error| all(State::unreadable()))
    }

    /// The text to persist. One candidate alone is written as earlier releases did.
    #[must_use]
    pub fn write(&self) -> String {
        let mut states = self.candidates.values();
        let text = match (states.next(), states.next()) {
            (Some(one), None) => serde_json::to_string(one),
            _ => serde_json::to_string(self),
        };
        text.expect("the evidence state is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn what_cannot_be_read_is_no_fresh_state() {
        // rule: S2, J3
        let mut state = State::default();
        state.candidate = 41;
        let one = Memory { candidates: [("b".to_owned(), state.clone())].into() };
        let text = one.write();
        assert_eq!(Memory::read(&text, &names(&["b"])), one);
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "as earlier releases wrote it");
        for bad in ["", "{", "[]", r#"{"candidate":"41"}"#, r#"{"candidates":3}"#, &text[1..]] {
            assert_eq!(Memory::read(bad, &names(&["b"])).candidates["b"], State::unreadable(), "{bad}");
        }
        assert_ne!(Memory::read("", &names(&["b"])).candidates["b"], State::default());
    }

    #[test]
    fn several_candidates_keep_their_own() {
        let mut all = Memory::default();
        for (i, name) in ["b", "c"].into_iter().enumerate() {
            let mut state = State::default();
            state.candidate = i as u64;
            all.candidates.insert(name.to_owned(), state);
        }
        assert_eq!(Memory::read(&all.write(), &names(&["b", "c"])), all);
    }

    #[test]
    fn numbers_are_read_bit_for_bit() {
        // rule: C6. Without its feature `float_roundtrip` serde_json misses some of them by a bit.
        for _ in 0..2_000 {
            let number: f64 = rand::random();
            let text = serde_json::to_string(&number).unwrap();
            let read: f64 = serde_json::from_value(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{text}");
        }
    }
}
