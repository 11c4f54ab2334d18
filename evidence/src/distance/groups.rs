//! The ten groups of neighbouring cells on which most distances are taken.

use std::ops::Range;

/// Groups that the cells of a grid are merged into (J4); part of the API.
pub const GROUPS: usize = 10;

/// Groups of neighbouring cells whose bounds lie nearest to the deciles of `reference`, at most [`GROUPS`].
/// Of two bounds that are equally near the lower one is taken, but of those with the same cumulative count
/// the one that touches the mass; deciles that share a bound share a group.
#[must_use]
pub fn groups(reference: &[u64]) -> Vec<Range<usize>> {
    // rule: J4
    let total: u64 = reference.iter().sum();
    let mut cumulative = 0;
    // Bounds that only repeat the count of the one before (an empty cell between) are no candidates, except
    // the last before the mass begins.
    let bounds: Vec<(usize, u64)> = (0..reference.len().saturating_sub(1))
        .filter_map(|i| {
            cumulative += reference[i];
            (reference[i] > 0 || (cumulative == 0 && reference[i + 1] > 0)).then_some((i + 1, cumulative))
        })
        .collect();
    let mut cuts = vec![0];
    for decile in 1..GROUPS as u64 {
        let distance = |count: u64| (count * GROUPS as u64).abs_diff(decile * total);
        if let Some(&(bound, _)) = bounds.iter().min_by_key(|(_, count)| distance(*count))
            && cuts.last() != Some(&bound)
        {
            cuts.push(bound);
        }
    }
    cuts.push(reference.len());
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_cover_every_cell_once(reference in prop::collection::vec(0u64..50, 1..80)) {
            let groups = groups(&reference);
            prop_assert!((1..=GROUPS).contains(&groups.len()));
            prop_assert_eq!(groups[0].start, 0);
            prop_assert_eq!(groups.last().unwrap().end, reference.len());
            for pair in groups.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!(!pair[0].is_empty() && !pair[1].is_empty());
            }
        }
    }

    #[test]
    fn even_mass_is_cut_at_the_deciles() {
        // rule: J4
        let ends: Vec<usize> = groups(&[7; 60]).iter().map(|g| g.end).collect();
        assert_eq!(ends, [6, 12, 18, 24, 30, 36, 42, 48, 54, 60]);
    }

    #[test]
    fn mass_in_one_cell_leaves_what_lies_below_and_above() {
        // rule: J4
        let mut reference = [0; 64];
        reference[20] = 100;
        assert_eq!(groups(&reference), [0..20, 20..21, 21..64]);
        assert_eq!(groups(&[0; 64]).len(), 1, "nothing to cut an empty reference by");
    }
}
