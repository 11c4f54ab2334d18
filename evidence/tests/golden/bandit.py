"""Golden vectors for `probability_best`: scipy's beta densities and distribution functions, in x.

    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/bandit.py    (set up as in generate.py)

Writes bandit.json beside itself. The integral is cut at quantiles of all arms and must not change when every piece
is halved; for each case 4,000,000 draws must agree within five standard errors. Seeded.
"""

import json
import pathlib

import numpy as np
from scipy import special, stats

random = np.random.default_rng(20240607)
LEVELS = [10.0**-k for k in range(16, 2, -1)] + [0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)


def cuts(arms):
    ends = [0.0, 1.0]
    for a, b in arms:
        ends += list(stats.beta.ppf(LEVELS, a, b)) + list(stats.beta.isf(LEVELS, a, b))
    return np.unique(ends)


def best(arms, cuts):
    middle, half = (cuts[1:] + cuts[:-1]) / 2, np.diff(cuts) / 2
    x = (middle[:, None] + half[:, None] * NODES).ravel()
    weights = (half[:, None] * WEIGHTS).ravel()
    cdf = [special.betainc(a, b, x) for a, b in arms]
    out = []
    for i, (a, b) in enumerate(arms):
        others = np.prod([c for j, c in enumerate(cdf) if j != i], axis=0)
        out.append(float(np.sum(weights * stats.beta.pdf(x, a, b) * others)))
    return np.array(out)


def draws(arms, n=4_000_000, chunk=500_000):
    counts = np.zeros(len(arms))
    for _ in range(n // chunk):
        x = np.array([random.beta(a, b, chunk) for a, b in arms])
        counts += np.bincount(x.argmax(axis=0), minlength=len(arms))
    return counts / n, n


def arms_at(n, rates):
    return [(1 + round(n * p), 1 + n - round(n * p)) for p in rates]


cases = [
    [(1, 1), (1, 1)],
    [(2, 1), (1, 1)],  # 2/3
    [(1, 1), (1, 1), (1, 1), (1, 1)],
    [(10, 5), (8, 8), (3, 1)],
    [(1, 1_000_001), (3, 1_000_001)],
    [(1_000_001, 1), (1_000_001, 4)],
    [(1, 1), (500_000_001, 500_000_001)],
    [(93, 9), (901, 101), (1, 1)],
    [(12.7, 1.31), (40.25, 3.9), (1.02, 1.5)],
    arms_at(1000, [0.95, 0.94, 0.93, 0.93]),
    arms_at(100_000, [0.9, 0.8995, 0.901]),
    arms_at(10_000_000, [0.95, 0.9501]),
    arms_at(1_000_000_000, [0.5, 0.50001, 0.500015]),
    arms_at(1_000_000_000, [0.999, 0.999_000_5]),
    arms_at(1_000_000_000, [0.000_001, 0.000_001_02, 0.000_000_99]),
    arms_at(200, np.linspace(0.85, 0.95, 8)),
    [(1 + s, 1 + t - s) for s, t in zip(random.integers(20, 100, 16), random.integers(100, 130, 16))],
    [(1 + round(10**k * 0.9), 1 + round(10**k * 0.1)) for k in np.linspace(0, 9, 16)],
]
out = []
for arms in cases:
    arms = [(float(a), float(b)) for a, b in arms]
    at = cuts(arms)
    probabilities = best(arms, at)
    finer = best(arms, np.sort(np.concatenate([at, (at[1:] + at[:-1]) / 2])))
    assert np.abs(finer - probabilities).max() < 1e-8, (arms, finer - probabilities)
    assert abs(probabilities.sum() - 1) < 1e-7, (arms, probabilities.sum())
    shares, n = draws(arms)
    error = 5 * np.sqrt(probabilities * (1 - probabilities) / n) + 2 / n
    assert (np.abs(shares - probabilities) < error).all(), (arms, shares, probabilities)
    out.append(dict(arms=arms, best=probabilities.tolist()))
path = pathlib.Path(__file__).with_name("bandit.json")
path.write_text(json.dumps(out, separators=(",", ":")).replace('},{"', '},\n{"') + "\n")
print(path, path.stat().st_size, "bytes")
