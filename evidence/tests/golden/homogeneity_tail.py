"""How often the tests of homogeneity exceed chi-square's critical value when nothing has changed.

    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/homogeneity_tail.py    # about five minutes

The figures in the documentation of `chi_square` and `Proof` come from here. Prints, per level 1e-3, 1e-4, 1e-5 and
1e-6, the observed rate as a multiple of the level; at 1e-6 a multiple of 1 is 4 cases of 4 million. The last line is
exact: the worst multiple of both tests on two cells.
"""

import numpy as np
from scipy import stats
from scipy.special import xlogy

LEVELS = (1e-3, 1e-4, 1e-5, 1e-6)
STEP = 200_000
random = np.random.default_rng(1)


def statistics(a, b, n, m):
    """Pearson, G and PSI over its scale, per row."""
    pooled, noise = np.maximum((a + b) / (n + m), 1e-300), 1 / n + 1 / m
    pearson = ((a / n - b / m) ** 2 / pooled).sum(-1) / noise
    g = 2 * (xlogy(a, a / n / pooled) + xlogy(b, b / m / pooled)).sum(-1)
    half = 0.5 * a.shape[-1]
    p, q = (a + 0.5) / (n + half), (b + 0.5) / (m + half)
    return pearson, g, ((p - q) * np.log(p / q)).sum(-1) / noise


def run(name, shares, n, m, repeats=4_000_000):
    hits = np.zeros((4, len(LEVELS)))
    critical = stats.chi2.isf(LEVELS, len(shares) - 1)
    for _ in range(repeats // STEP):
        a, b = (random.multinomial(size, shares, STEP).astype(float) for size in (n, m))
        pearson, g, psi = statistics(a, b, n, m)
        for row, statistic in enumerate((pearson, g, np.minimum(pearson, g), psi)):
            hits[row] += (statistic[:, None] > critical).sum(0)
    rates = hits / repeats / LEVELS
    shown = [f"{what} " + " ".join(f"{rate:.2f}" for rate in row)
             for what, row in zip(("Pearson", "G", "both", "PSI"), rates)]
    print(f"{name}, n {n}, m {m}: " + " | ".join(shown), flush=True)


def two_cells():
    worst = (0,)
    for n, m in ((50, 50), (50, 300), (50, 1_000_000), (300, 3000), (300, 1_000_000)):
        for expected in np.geomspace(1e-4, min(n / 2, 50), 24):
            share = expected / n
            a = np.arange(min(n, int(expected + 12 * np.sqrt(expected) + 40)) + 1)
            mean, spread = m * share, np.sqrt(m * share)
            b = np.unique(np.linspace(max(0, mean - 9 * spread - 5), min(m, mean + 9 * spread + 30), 400).round())
            weights = stats.binom.pmf(a, n, share)[:, None] * (stats.binom.pmf(b, m, share))
            weights /= weights.sum() / stats.binom.pmf(a, n, share).sum()
            ours, theirs = (x[..., None] for x in np.meshgrid(a.astype(float), b, indexing="ij"))
            pearson, g, _ = statistics(np.concatenate([ours, n - ours], -1), np.concatenate([theirs, m - theirs], -1), n, m)
            for level in LEVELS:
                rate = (weights * (np.minimum(pearson, g) > stats.chi2.isf(level, 1))).sum() / level
                worst = max(worst, (round(float(rate), 2), n, m, level, float(expected)))
    print("two cells, worst (multiple, n, m, level, expected in the smaller cell):", worst)


falling = 0.6 ** np.arange(10)
rare = np.r_[0.9, np.ones(9) / 90]
for n, m in ((50, 50), (50, 300), (50, 3000), (300, 3000)):
    run("even", np.ones(10) / 10, n, m)
    run("falling", falling / falling.sum(), n, m)
    run("one common, nine rare", rare, n, m)
run("even", np.ones(10) / 10, 100, 1000)
two_cells()
