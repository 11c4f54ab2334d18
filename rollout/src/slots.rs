//! Which slots belong to whom, and how few of them move when the shares change (R3).

use std::collections::BTreeMap;

use wire::SLOTS;

use crate::Shares;

/// More ranges than this per revision are compacted.
const MAX_RANGES: usize = 256;

/// Slots `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First slot.
    pub from: u16,
    /// One past the last.
    pub to: u16,
}

/// Slots per revision: ascending, without overlap; together all slots, or none.
pub type SlotMap = BTreeMap<String, Vec<Span>>;

/// Gives every revision its share of the slots and moves only those that must move: a revision that gains
/// keeps what it has, one that loses gives up its highest slots. Shares sum to 100; all zero gives no slots.
#[must_use]
pub fn reallocate(previous: &SlotMap, shares: &Shares) -> SlotMap {
    if shares.values().all(|w| *w == 0) {
        return shares.keys().map(|r| (r.clone(), Vec::new())).collect();
    }
    // Revisions by their number: a name would be compared for each of the slots.
    let number = |name: &str| shares.keys().position(|known| known == name);
    let mut owner: Vec<Option<usize>> = vec![None; usize::from(SLOTS)];
    for (revision, spans) in previous {
        let Some(ours) = number(revision) else { continue };
        for slot in spans.iter().flat_map(|s| s.from..s.to.min(SLOTS)) {
            owner[usize::from(slot)] = Some(ours);
        }
    }
    // Counted from the owners: ranges that a person edited may overlap or repeat.
    let mut held = vec![0; shares.len()];
    for ours in owner.iter().flatten() {
        held[*ours] += 1;
    }
    let want: Vec<u32> = shares.values().map(|weight| u32::from(*weight) * u32::from(SLOTS) / 100).collect();
    for slot in owner.iter_mut().rev() {
        if let Some(ours) = *slot
            && held[ours] > want[ours]
        {
            *slot = None;
            held[ours] -= 1;
        }
    }
    fill(&mut owner, &held, &want);
    let map: SlotMap = shares.keys().cloned().zip(spans(&owner, shares.len())).collect();
    if map.values().any(|s| s.len() > MAX_RANGES) { reallocate(&SlotMap::new(), shares) } else { map }
}

/// Free slots go to the revisions that lack some. From the top down, so that a candidate grows in one block.
fn fill(owner: &mut [Option<usize>], held: &[u32], want: &[u32]) {
    let mut lacking: Vec<(usize, u32)> = want
        .iter()
        .zip(held)
        .map(|(want, held)| want.saturating_sub(*held))
        .enumerate()
        .filter(|(_, n)| *n > 0)
        .collect();
    for slot in owner.iter_mut().rev().filter(|s| s.is_none()) {
        let Some((ours, n)) = lacking.last_mut() else { return };
        *slot = Some(*ours);
        *n -= 1;
        if *n == 0 {
            lacking.pop();
        }
    }
}

fn spans(owner: &[Option<usize>], revisions: usize) -> Vec<Vec<Span>> {
    let mut all = vec![Vec::<Span>::new(); revisions];
    for (slot, ours) in (0u16..).zip(owner) {
        let Some(ours) = *ours else { continue };
        match all[ours].last_mut() {
            Some(last) if last.to == slot => last.to += 1,
            _ => all[ours].push(Span { from: slot, to: slot + 1 }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares() -> impl Strategy<Value = Shares> {
        proptest::collection::vec(0u8..=100, 1..5).prop_map(|cuts| {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut shares = Shares::new();
            let mut below = 0;
            for (i, cut) in cuts.iter().enumerate() {
                shares.insert(format!("r{i}"), cut - below);
                below = *cut;
            }
            shares.insert("last".into(), 100 - below);
            shares
        })
    }

    fn owners(map: &SlotMap) -> Vec<&str> {
        let mut owners = vec![""; usize::from(SLOTS)];
        for (name, spans) in map {
            for slot in spans.iter().flat_map(|s| s.from..s.to) {
                assert_eq!(owners[usize::from(slot)], "", "slot {slot} twice");
                owners[usize::from(slot)] = name;
            }
        }
        owners
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // rule: R3
        #[test]
        fn shares_are_exact_and_only_those_slots_move_that_must(walk in proptest::collection::vec(shares(), 1..8)) {
            let mut map = SlotMap::new();
            for shares in walk {
                let next = reallocate(&map, &shares);
                let (old, new) = (owners(&map), owners(&next));
                for (name, weight) in &shares {
                    let n = new.iter().filter(|o| *o == name).count();
                    prop_assert_eq!(n, usize::from(*weight) * 100);
                    prop_assert!(next[name].len() <= MAX_RANGES);
                }
                let had = |n: &str| old.iter().filter(|o| **o == n).count();
                let must: usize = shares.iter().map(|(n, w)| (usize::from(*w) * 100).saturating_sub(had(n))).sum();
                let moved = old.iter().zip(&new).filter(|(a, b)| a != b).count();
                prop_assert_eq!(moved, must);
                map = next;
            }
        }
    }

    fn any_map() -> impl Strategy<Value = SlotMap> {
        let span = (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Span { from, to });
        let near = (0..SLOTS, 0..3000u16).prop_map(|(from, n)| Span { from, to: from + n });
        let spans = proptest::collection::vec(prop_oneof![span, near], 0..6);
        proptest::collection::btree_map("r[0-4]|last|gone", spans, 0..6)
    }

    proptest! {
        // rule: R3
        #[test]
        fn ranges_that_a_person_edited_give_exact_shares(previous in any_map(), shares in shares()) {
            let owners_of = reallocate(&previous, &shares);
            let owners = owners(&owners_of);
            for (name, weight) in &shares {
                let n = owners.iter().filter(|o| *o == name).count();
                prop_assert_eq!(n, usize::from(*weight) * 100);
            }
        }
    }

    #[test]
    fn no_shares_give_no_slots() {
        assert!(reallocate(&SlotMap::new(), &Shares::new()).is_empty());
    }

    // rule: R3
    #[test]
    fn scattered_slots_are_compacted() {
        let odd = (0..SLOTS / 2).map(|i| Span { from: 2 * i, to: 2 * i + 1 }).collect();
        let even = (0..SLOTS / 2).map(|i| Span { from: 2 * i + 1, to: 2 * i + 2 }).collect();
        let map = SlotMap::from([("a".to_owned(), odd), ("b".to_owned(), even)]);
        let next = reallocate(&map, &Shares::from([("a".into(), 40), ("b".into(), 60)]));
        assert_eq!((next["a"].len(), next["b"].len()), (1, 1));
    }
}
