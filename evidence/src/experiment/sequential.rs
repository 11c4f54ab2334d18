//! Comparisons that hold however often one looks.

use super::{Direction, Sample};
use crate::sequential::log_sum_exp;
use crate::share::normal_above;
use crate::{Measured, Share};

/// Bets are this many times the one that is best for the planned effect: small ones find small effects late,
/// large ones find large effects early.
const STAKES: [f64; 6] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// The part of the largest stake that can never lose everything.
const SAFE: f64 = 0.9;

/// Halvings of -1..=1 that leave 2e-9, one item of a billion.
const HALVINGS: u32 = 30;

/// A bet on the difference of two shares, where each unit is drawn for the candidate with known probability.
///
/// A unit that has the event (y = 1) or not (y = 0) is worth (y - c) / split in the candidate's arm and
/// -(y - c) / (1 - split) in stable's, with a constant `c`: its mean is p - q whatever c is. So
/// product(1 + s (worth - d)) with s > 0 is a supermartingale as long as p - q <= d, and the mean over fixed
/// stakes s is one as well: an e-process, which ever reaches 1/level with probability `level` at most (Ville;
/// Waudby-Smith & Ramdas, *Estimating means of bounded random variables by betting*, JRSS B 86 (2024) 1, and
/// Waudby-Smith et al., arXiv 2210.10768, for the weights). It needs no memory: with fixed stakes and centre it
/// depends on the totals only. p and q may move with time, their difference is what is tested. A centre near
/// the true shares keeps the spread small (0.02 instead of 0.5 at 2 % events); a wrong one costs samples only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wager {
    /// Probability of the candidate's arm, 0..1 without the ends.
    pub split: f64,
    /// What the shares are expected to be, 0..1 without the ends.
    pub centre: f64,
    /// The difference that the stakes are made for, above 0.
    pub effect: f64,
}

impl Wager {
    /// The same with the arms swapped: the bet that candidate - stable is smaller.
    #[must_use]
    pub fn swapped(self) -> Self {
        Self { split: 1.0 - self.split, ..self }
    }

    /// Logarithm of the e-value against "candidate - stable <= `margin`", -1 <= margin <= 1.
    #[must_use]
    pub fn log_e(self, candidate: Share, stable: Share, margin: f64) -> f64 {
        let (mine, other) = (1.0 / self.split, 1.0 / (1.0 - self.split));
        let worths = [
            (candidate.events, (1.0 - self.centre) * mine),
            (candidate.others(), -self.centre * mine),
            (stable.events, -(1.0 - self.centre) * other),
            (stable.others(), self.centre * other),
        ];
        let logs = self.stakes().map(|stake| {
            worths
                .iter()
                .map(|(count, worth)| *count as f64 * (stake * (worth - margin)).ln_1p())
                .sum::<f64>()
        });
        log_sum_exp(logs.iter().copied()) - (logs.len() as f64).ln()
    }

    /// Around effect / variance, which is best for small effects (Kelly), and below what could lose
    /// everything at any margin: so e falls with the margin, and limits can be found by bisection.
    fn stakes(self) -> [f64; STAKES.len()] {
        let (mine, other) = (1.0 / self.split, 1.0 / (1.0 - self.split));
        let best = self.effect / (self.centre * (1.0 - self.centre) * (mine + other));
        let worst = (self.centre * mine).max((1.0 - self.centre) * other);
        STAKES.map(|times| (times * best).min(SAFE / (1.0 + worst)))
    }

    /// candidate - stable with a confidence sequence: each limit is ever wrong with probability `level` at
    /// most. `None` when an arm is empty.
    #[must_use]
    pub fn sequence(self, candidate: Share, stable: Share, level: f64) -> Option<Measured> {
        let value = candidate.value()? - stable.value()?;
        let low = self.lower(candidate, stable, level);
        let high = -self.swapped().lower(stable, candidate, level);
        Some(Measured::new(value, low, high))
    }

    /// The largest margin that is refuted.
    fn lower(self, candidate: Share, stable: Share, level: f64) -> f64 {
        let refuted = |margin: f64| self.log_e(candidate, stable, margin) >= -level.ln();
        let (mut low, mut high) = (-1.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if refuted(middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// candidate - stable of two means with an asymptotic confidence sequence, each limit ever wrong with
/// probability `level`, and the always-valid p-value of "no gain" in `direction`. `None` when nothing varies.
///
/// With squared standard error v the z-value is a Brownian motion at time 1/v in the limit (Waudby-Smith et al.,
/// *Time-uniform central limit theory*, Ann. Stat. 52 (2024) 2613), and a half-normal mixture over effects with
/// deviation `effect` bounds it: half-width = v sqrt(2 (1/v + r) ln(sqrt((1/v + r) / r) / (2 level) + 1)), r = 1/effect^2
/// (one-sided normal mixture, Howard et al., Ann. Stat. 49 (2021) 1055, Prop. 6). Unlike [`Wager`] it holds for
/// many samples of finite variance only.
#[must_use]
pub fn mean_sequence(
    candidate: Sample,
    stable: Sample,
    effect: f64,
    level: f64,
    direction: Direction,
) -> Option<(Measured, f64)> {
    let error = candidate.error() + stable.error();
    if candidate.n() == 0 || stable.n() == 0 || error <= 0.0 {
        return None;
    }
    let value = candidate.mean() - stable.mean();
    let (time, prior) = (1.0 / error, 1.0 / (effect * effect));
    let all = time + prior;
    let width = error * (2.0 * all * ((all / prior).sqrt() / (2.0 * level) + 1.0).ln()).sqrt();
    let gain = match direction {
        Direction::Increase => value,
        Direction::Decrease => -value,
    };
    // The mixture itself, of which the width is an upper bound: 2 sqrt(r/all) exp(s^2 / 2 all) P(Z <= s / sqrt(all)).
    let z = gain * time / all.sqrt();
    let log_e = (2.0 * (prior / all).sqrt()).ln() + 0.5 * z * z + normal_above(-z).ln();
    Some((Measured::new(value, value - width, value + width), (-log_e).exp().min(1.0)))
}
