"""Golden vectors for the statistics of `evidence`, computed by scipy and numpy only.

    python3 -m venv ~/.cache/sluice/venv-golden
    ~/.cache/sluice/venv-golden/bin/pip install scipy==1.17.1 numpy==2.4.6
    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/generate.py

Writes golden.json beside itself. Seeded: running it again changes nothing.
"""

import json
import pathlib

import numpy as np
from scipy import stats

random = np.random.default_rng(20240607)


def clopper_pearson():
    cases = [(0, 1), (1, 1), (0, 100), (1, 100), (5, 100), (50, 100), (99, 100), (100, 100), (33, 412),
             (20, 1000), (200, 10_000), (20_000, 1_000_000), (999_990, 1_000_000)]
    out = []
    for events, trials in cases:
        for level in (0.1, 0.01, 1.5e-4, 1e-9):
            # The beta quantiles of Clopper & Pearson. binomtest takes 1 - level and so loses digits of small
            # levels, but must agree roughly.
            low = stats.beta.ppf(level / 2, events, trials - events + 1) if events else 0.0
            high = stats.beta.isf(level / 2, events + 1, trials - events) if events < trials else 1.0
            interval = stats.binomtest(events, trials).proportion_ci(1 - level, method="exact")
            np.testing.assert_allclose([low, high], [interval.low, interval.high], rtol=1e-6)
            out.append(dict(events=events, trials=trials, level=level, low=low, high=high))
    return out


def chi_square():
    return [dict(freedom=freedom, level=level, critical=stats.chi2.isf(level, freedom))
            for freedom in (1, 2, 9, 99, 999) for level in (0.5, 0.05, 1e-3, 1e-6, 1e-9, 1e-15)]


def ks_critical():
    # The level at which scipy's Smirnov limit puts our critical value: 2 exp(-2 x^2) is its first term, so the
    # survival function there must agree for small levels.
    return [dict(n=n, m=m, level=level,
                 critical=stats.kstwobign.isf(level) * np.sqrt((n + m) / (n * m)))
            for n, m in ((100, 100), (412, 3708), (10_000, 500)) for level in (1e-2, 2e-4, 1e-6, 1e-9)]


def quantiles():
    """Ranks whose order statistics bound a quantile; our cells are the ranks themselves when counts are 1."""
    out = []
    for n, q in [(100, 0.5), (100, 0.99), (1000, 0.99), (5000, 0.95), (100_000, 0.99), (1_000_000, 0.5)]:
        for level in (0.05, 1e-4, 1e-9):
            ranks = np.arange(1, n + 1)
            low = int(np.sum(stats.binom.cdf(ranks - 1, n, q) <= level / 2))
            high = int(np.sum(stats.binom.sf(ranks - 1, n, q) > level / 2)) + 1
            out.append(dict(n=n, q=q, level=level, low=low or None, high=high if high <= n else None))
    return out


vectors = dict(clopperPearson=clopper_pearson(), chiSquare=chi_square(), ksCritical=ks_critical(),
               quantileRanks=quantiles())
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(vectors, separators=(",", ":"), default=float).replace('},{"', '},\n{"') + "\n")
print(path, path.stat().st_size, "bytes")
