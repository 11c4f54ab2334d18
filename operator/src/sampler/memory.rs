//! What the judge remembers of a rollout, as it is persisted (C6).

use std::collections::BTreeMap;

use evidence::{BanditState, Rewards, State, Trial, TrialState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Field of a text that holds more than one candidate's state; such a state alone has none of this name.
const CANDIDATES: &str = "candidates";

/// What must outlive the process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Of each candidate; boxed, because a map of one has room for eleven.
    pub candidates: BTreeMap<String, Box<Remembered>>,
    /// What the candidates compete by, frozen when the rollout began (I3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contest: Option<Contest>,
    /// Of a bandit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandit: Option<BanditState>,
}

/// What is remembered of one candidate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// Of the judge.
    pub state: State,
    /// Of an A/B test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialState>,
}

/// What candidates compete by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Contest {
    /// A hypothesis (A/B).
    Trial(Trial),
    /// Rewards (bandit).
    Rewards(Rewards),
}

impl Memory {
    /// Reads what was persisted for these candidates.
    #[must_use]
    pub fn read(text: &str, candidates: &[String]) -> Self {
        let all = |state: State| {
            let each = |c: &String| (c.clone(), Box::new(Remembered { state: state.clone(), trial: None }));
            Self { candidates: candidates.iter().map(each).collect(), ..Self::default() }
        };
        let read = || {
            let value: Value = serde_json::from_str(text)?;
            if value.get(CANDIDATES).is_some() {
                return serde_json::from_value(value);
            }
            serde_json::from_value(value).map(all)
        };
        // rule: S2, J3. A rollout that begins anew in the middle would spend every budget a second time. The sampler
        // tells of it when it takes it.
        read().unwrap_or_else(|_: serde_json::Error| all(State::unreadable()))
    }

    /// The text to persist. One candidate that competes by nothing is written as earlier releases did.
    #[must_use]
    pub fn write(&self) -> String {
        let mut all = self.candidates.values().map(|remembered| &**remembered);
        let text = match (all.next(), all.next(), &self.contest) {
            (Some(Remembered { state, trial: None }), None, None) => serde_json::to_string(state),
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

    fn seen(candidate: u64) -> Remembered {
        let mut state = State::default();
        state.candidate = candidate;
        Remembered { state, trial: None }
    }

    #[test]
    fn what_cannot_be_read_is_no_fresh_state() {
        // rule: S2, J3
        let one = Memory { candidates: [("b".to_owned(), Box::new(seen(41)))].into(), ..Memory::default() };
        let text = one.write();
        assert_eq!(Memory::read(&text, &names(&["b"])), one);
        assert_eq!(
            serde_json::from_str::<State>(&text).unwrap(),
            seen(41).state,
            "as earlier releases wrote it"
        );
        for bad in ["", "{", "[]", r#"{"candidate":"41"}"#, r#"{"candidates":3}"#, &text[1..]] {
            let read = Memory::read(bad, &names(&["b"])).candidates["b"].state.clone();
            assert_eq!(read, State::unreadable(), "{bad}");
        }
        assert_ne!(State::unreadable(), State::default());
    }

    #[test]
    fn several_candidates_keep_their_own() {
        let trial = Trial {
            measure: evidence::Measure::SuccessRate,
            direction: evidence::experiment::Direction::Increase,
            minimum_effect: 0.01,
            significance: 0.05,
        };
        let mut all = Memory { contest: Some(Contest::Trial(trial)), ..Memory::default() };
        for (i, name) in ["b", "c"].into_iter().enumerate() {
            let trial = Some(TrialState::default());
            all.candidates.insert(name.to_owned(), Box::new(Remembered { trial, ..seen(i as u64) }));
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
