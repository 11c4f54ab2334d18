"""Golden vectors for the sequential tests of `evidence`, by mpmath, scipy and numpy only.

    python3 -m venv ~/.cache/sluice/venv-golden
    ~/.cache/sluice/venv-golden/bin/pip install scipy==1.17.1 numpy==2.4.6 mpmath==1.4.1
    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/sequential.py

Writes sequential.json beside itself. Seeded: running it again changes nothing.
"""

import json
import pathlib

import mpmath as mp
import numpy as np
from scipy import optimize, stats

mp.mp.dps = 40
random = np.random.default_rng(20250321)

STEPS = [0.1, 0.17, 0.26, 0.37, 0.5, 0.65, 0.85, 1.1, 1.4, 1.8, 2.3, 3.0]
WEIGHTS = [0.5, 0.7, 1.0, 1.2, 1.2, 1.2, 1.2, 1.4, 1.6, 1.5, 1.0, 0.6]


def mp_sum_exp(terms):
    return mp.log(mp.fsum(mp.exp(t) for t in terms))


def fisher(s, ratios):
    """ln P(x | margins, ratio) for each ratio, every term of the normaliser summed."""
    x, n, x_stable, n_stable, _ = s
    events = x + x_stable
    low, high = max(0, events - n_stable), min(events, n)
    if high - low < 3000:
        terms, term = [], mp.mpf(1)
        for k in range(low, high + 1):
            terms.append(term)
            term = term * ((events - k) * (n - k)) / ((k + 1) * (n_stable - events + k + 1))
        out = []
        for ratio in ratios:
            total = mp.fsum(t * mp.mpf(ratio) ** i for i, t in enumerate(terms))
            out.append(mp.log(terms[x - low] * mp.mpf(ratio) ** (x - low) / total))
        return out
    k = np.arange(low, high, dtype=np.longdouble)
    steps = np.log((events - k) * (n - k) / ((k + 1) * (n_stable - events + k + 1)))
    logs = np.concatenate([[np.longdouble(0)], np.cumsum(steps)])
    k = np.arange(0, high - low + 1, dtype=np.longdouble)
    out = []
    for ratio in ratios:
        tilted = logs + k * np.log(np.longdouble(ratio))
        largest = tilted.max()
        out.append(mp.mpf(float(tilted[x - low] - largest - np.log(np.exp(tilted - largest).sum()))))
    return out


def known(s, ratios):
    x, _, x_stable, _, share = s
    if share in (0, 1):
        return [mp.mpf(0) for _ in ratios]
    out = []
    for ratio in ratios:
        q = mp.mpf(share) * ratio / (mp.mpf(share) * ratio + 1 - mp.mpf(share))
        out.append(x * mp.log(q) + x_stable * mp.log(1 - q))
    return out


def log_likelihoods(strata, ratios):
    sums = [mp.mpf(0)] * len(ratios)
    for s in strata:
        each = known(s, ratios) if s[4] is not None else fisher(s, ratios)
        sums = [a + b for a, b in zip(sums, each)]
    return sums


def log_e(tolerance, strata):
    null, *others = log_likelihoods(strata, [mp.mpf(tolerance)] + [mp.mpf(tolerance) * mp.exp(d) for d in STEPS])
    total = mp.fsum(WEIGHTS)
    return mp_sum_exp([mp.log(w / total) + l - null for w, l in zip(WEIGHTS, others)])


def pooled(strata):
    """Mantel & Haenszel."""
    more = less = mp.mpf(0)
    for x, n, x_stable, n_stable, share in strata:
        if share is None and n and n_stable:
            more += mp.mpf(x) * (n_stable - x_stable) / (n + n_stable)
            less += mp.mpf(x_stable) * (n - x) / (n + n_stable)
        elif share is not None and 0 < share < 1:
            more += x * (1 - mp.mpf(share))
            less += x_stable * mp.mpf(share)
    return float(more / less) if less else None


def ends(tolerance, strata, level):
    """Where the mean over the grid of L(w')/L(w) is exactly 1/level; none beyond the grid."""
    grid = [-d for d in reversed(STEPS)] + [0] + STEPS
    logs = log_likelihoods(strata, [mp.mpf(tolerance) * mp.exp(d) for d in grid])
    bound = mp_sum_exp(logs) - mp.log(len(grid)) + mp.log(level)

    def above(d):
        return float(log_likelihoods(strata, [mp.mpf(tolerance) * mp.exp(d)])[0] - bound)

    best = grid[int(np.argmax([float(l) for l in logs]))]
    low = None if above(-3) > 0 else float(tolerance * np.exp(optimize.brentq(above, -3, best, xtol=1e-9)))
    high = None if above(3) > 0 else float(tolerance * np.exp(optimize.brentq(above, best, 3, xtol=1e-9)))
    return low, high


def process():
    edges = [
        (1.1, [(1, 1, 0, 1, None)]), (1.1, [(0, 1, 1, 1, None)]), (1.1, [(0, 1, 0, 1, None)]),
        (1.1, [(1, 1, 1, 1, None)]), (1.1, [(0, 50, 7, 60, None)]), (1.25, [(50, 50, 0, 60, None)]),
        (1.1, [(7, 100, 0, 0, None)]), (1.1, [(0, 0, 3, 100, None)]), (1.0, [(3, 10, 3, 10, None)]),
        (0.5, [(30, 1000, 31, 990, None)]), (1.1, [(45, 46, 2, 900, None)]), (50.0, [(90, 100, 90, 4000, None)]),
        (1.1, [(80, 4000, 60, 4100, None)]), (1.1, [(700, 4000, 300, 4100, None)]),
        (1.1, [(3000, 40_000, 2500, 41_000, None)]), (1.5, [(30, 1_000_000_000, 20, 1_000_000_000, None)]),
        (1.1, [(600, 1_000_000, 1400, 1_000_000_000, None)]),
        (1.1, [(60_000, 1_000_000_000, 50_000, 1_000_000_000, None)]),
        (1.1, [(530_000, 1_000_000_000, 470_000, 1_000_000_000, None)]),
        (1.1, [(120_000, 900_000, 90_000, 300_000, None)]),
        (1.1, [(7, 100, 3, 100, 0.5)]), (1.1, [(7, 100, 3, 900, 0.1)]), (1.25, [(0, 3, 0, 2, 0.3)]),
        (1.1, [(5, 5, 0, 0, 1.0)]), (1.1, [(0, 0, 5, 5, 0.0)]), (1.1, [(1, 1, 0, 0, 1e-9)]),
        (1.1, [(520_000, 1_000_000_000, 480_000, 1_000_000_000, 0.5)]), (1.0, [(26, 355, 7, 7, 0.5)]),
    ]
    out = []
    for tolerance, strata in edges:
        out.append((tolerance, strata))
    for tolerance, rate, ratio, size, split in [(1.1, 0.02, 1, 200, None), (1.1, 0.02, 2, 200, None),
                                                (1.25, 0.3, 1.5, 500, None), (1.5, 0.05, 4, 100, 0.5)]:
        strata = []
        for step in range(12):
            share = split or [0.05, 0.1, 0.25, 0.5][step // 3]
            n = int(random.binomial(size, share))
            base = rate * (1 + 0.8 * np.sin(step))
            x, x_stable = random.binomial(n, base * ratio), random.binomial(size - n, base)
            strata.append((int(x), n, int(x_stable), size - n, split))
        out.append((tolerance, strata))
    rows = []
    for tolerance, strata in out:
        row = dict(tolerance=tolerance, strata=strata, logE=float(log_e(tolerance, strata)), estimate=pooled(strata))
        if max(s[0] + s[2] for s in strata) < 3000:
            row["low"], row["high"] = ends(tolerance, strata, 0.05)
            row["ends"] = True
        rows.append(row)
    return rows


def mismatch():
    steps = [0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.4]
    rows = []
    for counts in [[(0, 0, 0.5)], [(1, 0, 0.5)], [(5, 95, 0.1), (30, 120, 0.2), (300, 300, 0.5)],
                   [(10_000, 8000, 0.5)], [(500_200_000, 499_800_000, 0.5)], [(3, 7, 0.0), (9, 1, 1.0)]]:
        logs = []
        for d in [-s for s in steps] + steps:
            total = mp.mpf(0)
            for n, n_stable, share in counts:
                if 0 < share < 1:
                    q = mp.mpf(share) * mp.exp(d) / (1 + mp.mpf(share) * (mp.exp(d) - 1))
                    total += n * mp.log(q / share) + n_stable * mp.log((1 - q) / (1 - mp.mpf(share)))
            logs.append(total)
        rows.append(dict(counts=counts, logE=float(mp_sum_exp(logs) - mp.log(len(logs)))))
    return rows


def detector():
    bets = [1.15, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]
    rows = []
    for limit, counts in [(0.08, [(7, 100)] * 20 + [(21, 100)] * 3), (0.001, [(0, 1), (1, 1), (0, 5000)]),
                          (0.5, [(60, 100), (0, 0), (40, 100), (70, 100)])]:
        sums = [mp.mpf(0)] * len(bets)
        for x, n in counts:
            for i, w in enumerate(bets):
                p, m = mp.mpf(limit) * w / (1 + mp.mpf(limit) * (w - 1)), mp.mpf(limit)
                sums[i] = (sums[i] + n) * (p / m) ** x * ((1 - p) / (1 - m)) ** (n - x)
        rows.append(dict(limit=limit, counts=counts, value=float(mp.fsum(sums) / len(bets))))
    return rows


def tree():
    """Sixteen cells, one per leaf (an even reference); scipy's Fisher distribution at every node."""
    rows = []
    for intervals, shift in [(1, 0.0), (3, 0.0), (4, 0.4)]:
        pairs, nodes = [], np.zeros((15, 4))
        base = random.dirichlet(np.full(16, 3.0))
        other = (1 - shift) * base + shift * np.roll(base, 3)
        for _ in range(intervals):
            ours, theirs = random.multinomial(60, other), random.multinomial(140, base)
            pairs.append((ours.tolist(), theirs.tolist()))
            for node in range(1, 16):
                depth = node.bit_length() - 1
                width = 16 >> depth
                first = (node - (1 << depth)) * width
                a, b = ours[first:first + width], theirs[first:first + width]
                left, n, m = a[:width // 2].sum(), a.sum(), b.sum()
                total = left + b[:width // 2].sum()
                null = stats.hypergeom.logpmf(left, n + m, n, total)
                for i, log in enumerate([-0.9, -0.3, 0.3, 0.9]):
                    law = stats.nchypergeom_fisher(n + m, n, total, np.exp(log))
                    nodes[node - 1, i] += np.log(law.pmf(left)) - null if min(n, m, total, n + m - total) > 0 else 0
        mixed = np.exp(nodes).mean(axis=1)
        levels = [mixed[(1 << d) - 1:(2 << d) - 1].mean() for d in range(4)]
        e = 0.5 * np.mean(levels) + 0.5 * np.prod(0.75 + 0.25 * mixed)
        rows.append(dict(pairs=pairs, logE=float(np.log(e))))
    return rows


path = pathlib.Path(__file__).with_name("sequential.json")
golden = dict(process=process(), mismatch=mismatch(), detector=detector(), tree=tree())
path.write_text(json.dumps(golden, indent=None, separators=(",", ":")).replace('},{', '},\n{') + "\n")
print(path, path.stat().st_size, "bytes")
