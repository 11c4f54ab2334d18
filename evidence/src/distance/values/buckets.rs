//! Values by buckets of about as many each, without sorting them.

/// Parts of the range, of equal width, by which is seen where values crowd.
const PARTS: usize = 256;
/// One of so many values is looked at for that.
const EVERY: usize = 8;
/// Values of the larger sample for each bucket, about.
const EACH: usize = 5;
/// Most buckets: with those of empty parts, their numbers fit into 16 bits.
const MOST: usize = 1 << 15;

/// A map from values to buckets that never falls as the value grows, whatever is rounded and also where the range
/// overflows: that is all that is asked of it. It is a line in each part of the range, steep where values crowd.
pub(super) struct Buckets {
    low: f64,
    scale: f64,
    /// First bucket and buckets of each part.
    parts: [(f64, f64); PARTS],
    last: usize,
}

impl Buckets {
    pub(super) fn over(ours: &[f64], theirs: &[f64]) -> Self {
        let ((a, b), (c, d)) = (bounds(ours), bounds(theirs));
        let low = a.min(c);
        let parts = [(0.0, 0.0); PARTS];
        let mut buckets = Self { low, scale: (PARTS - 1) as f64 / (b.max(d) - low), parts, last: 0 };
        let mut crowd = [0usize; PARTS];
        for x in ours.iter().step_by(EVERY).chain(theirs.iter().step_by(EVERY)) {
            crowd[whole(buckets.place(*x))] += 1;
        }
        let all: usize = crowd.iter().sum();
        let wanted = (ours.len().max(theirs.len()) / EACH).min(MOST);
        for (part, crowd) in buckets.parts.iter_mut().zip(crowd) {
            let width = 1 + crowd * wanted / all;
            *part = (buckets.last as f64, width as f64);
            buckets.last += width;
        }
        buckets
    }

    /// Where in the range, 0..=PARTS - 1. Where nothing is apart, or the range overflows, the product is no number,
    /// which `max` makes 0.
    fn place(&self, x: f64) -> f64 {
        ((x - self.low) * self.scale).max(0.0).min((PARTS - 1) as f64)
    }

    fn of(&self, x: f64) -> u16 {
        let place = self.place(x);
        let part = whole(place);
        let (first, width) = self.parts[part];
        whole(first + ((place - part as f64 + 0.5) * width).min(width)) as u16
    }

    pub(super) fn fill<'v>(&self, values: &'v [f64]) -> Filled<'v> {
        let buckets: Vec<u16> = values.iter().map(|&x| self.of(x)).collect();
        let mut counts = vec![0; self.last + 1];
        buckets.iter().for_each(|&bucket| counts[usize::from(bucket)] += 1);
        Filled { values, buckets, counts }
    }
}

/// The nearest whole number of 0..=65535: adding 2^52 leaves f64 no digits behind the point, and takes less time than
/// a conversion that minds infinity.
fn whole(x: f64) -> usize {
    const SHIFT: f64 = (1u64 << 52) as f64;
    usize::from((x + SHIFT).to_bits() as u16)
}

/// The smallest and the largest finite value; reversed infinities when there is none.
fn bounds(values: &[f64]) -> (f64, f64) {
    // In lanes, so that several values are compared at once.
    const LANES: usize = 8;
    let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            low[i] = if chunk[i] < low[i] { chunk[i] } else { low[i] };
            high[i] = if chunk[i] > high[i] { chunk[i] } else { high[i] };
        }
    }
    let least = low.iter().chain(rest).copied().fold(f64::INFINITY, f64::min);
    let most = high.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max);
    if least.is_finite() && most.is_finite() {
        return (least, most);
    }
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max))
}

/// Values with their buckets.
pub(super) struct Filled<'v> {
    values: &'v [f64],
    buckets: Vec<u16>,
    /// Values per bucket.
    pub(super) counts: Vec<u32>,
}

impl Filled<'_> {
    /// The values in open buckets, sorted.
    pub(super) fn sorted(&self, open: &[bool]) -> Sorted {
        // Values of closed buckets all go to place 0, over each other, which costs less than a branch.
        let mut ends = vec![1];
        let mut next: Vec<(u32, u32)> = Vec::with_capacity(open.len());
        for (&count, &open) in self.counts.iter().zip(open) {
            let start = ends[ends.len() - 1];
            next.push(if open { (start, 1) } else { (0, 0) });
            if open {
                ends.push(start + count);
            }
        }
        let mut values = vec![0.0; ends[ends.len() - 1] as usize];
        for (&x, &bucket) in self.values.iter().zip(&self.buckets) {
            let (at, step) = &mut next[usize::from(bucket)];
            values[*at as usize] = x;
            *at += *step;
        }
        for bounds in ends.windows(2) {
            values[bounds[0] as usize..bounds[1] as usize].sort_unstable_by(f64::total_cmp);
        }
        Sorted { values, ends }
    }
}

/// Ascending values of one bucket.
pub(super) type Run<'a> = &'a [f64];

/// The values of some buckets, each sorted.
pub(super) struct Sorted {
    values: Vec<f64>,
    ends: Vec<u32>,
}

impl Sorted {
    /// One per open bucket, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.ends.windows(2).map(|bounds| &self.values[bounds[0] as usize..bounds[1] as usize])
    }
}
