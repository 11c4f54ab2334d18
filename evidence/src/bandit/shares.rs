//! From probabilities to whole shares within floor, ceiling and step.

/// The limits of one interval for one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) floor: u32,
    pub(crate) ceiling: u32,
    pub(crate) max_step: u32,
}

impl Limits {
    /// Lowest and highest next share. An arm outside floor and ceiling moves towards them, a step at a time.
    fn range(&self, previous: u32) -> (u32, u32) {
        let (from, to) = (previous.saturating_sub(self.max_step), previous.saturating_add(self.max_step));
        (self.floor.clamp(from, to), self.ceiling.clamp(from, to))
    }
}

/// Parts of one share in which targets are compared: coarse enough that the rounding of f64 decides nothing.
const PARTS: f64 = 1e6;

/// The whole shares that are closest to `targets` by the sum of squares, among those that sum to `total` and
/// obey the limits. `targets` and `previous` go by arm. Equally close: the unit goes to the arm that had
/// more, then to stable, then to the first.
///
/// Rounding is part of it: units are given one by one to the arm that is furthest below its target. For a
/// separable convex sum this greedy way ends at the optimum (Fox, Management Science 13 (1966) 210).
///
/// If the limits cannot be kept: arms outside floor and ceiling wait with their return until there is room;
/// and if `previous` sums to less than `total`, because an arm was removed, stable takes what the others may
/// not take.
pub(crate) fn fit(targets: &[f64], previous: &[u32], stable: usize, limits: Limits, total: u32) -> Vec<u32> {
    let (mut low, mut high): (Vec<u32>, Vec<u32>) = previous.iter().map(|p| limits.range(*p)).unzip();
    if low.iter().sum::<u32>() > total {
        low = low.iter().zip(previous).map(|(l, p)| *l.min(p)).collect();
    }
    if high.iter().sum::<u32>() < total {
        high = high.iter().zip(previous).map(|(h, p)| *h.max(p)).collect();
    }
    if previous.iter().sum::<u32>() < total {
        high[stable] = total;
    }
    let wanted: Vec<i64> = targets.iter().map(|t| (t * f64::from(total) * PARTS).round() as i64).collect();
    let mut shares = low;
    for _ in shares.iter().sum()..total {
        let open = (0..shares.len()).filter(|arm| shares[*arm] < high[*arm]);
        let lack = |arm: &usize| wanted[*arm] - i64::from(shares[*arm]) * PARTS as i64;
        let next =
            open.max_by_key(|arm| (lack(arm), previous[*arm], *arm == stable, std::cmp::Reverse(*arm)));
        shares[next.expect("the highest shares sum to the total at least")] += 1;
    }
    shares
}
