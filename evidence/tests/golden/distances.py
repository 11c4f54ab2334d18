"""Golden vectors for the distances of `evidence`, computed by scipy and numpy only.

    python3 -m venv ~/.cache/sluice/venv-golden
    ~/.cache/sluice/venv-golden/bin/pip install scipy==1.17.1 numpy==2.4.6
    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/distances.py

Writes distances.json beside itself. Seeded: running it again changes nothing.
"""

import json
import pathlib

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

random = np.random.default_rng(20240608)
LEVELS = (0.05, 1e-4, 1e-6)


def merged(ours, theirs):
    """Neighbouring cells until each expects 5 in the smaller sample, the rest joins the last one; or all cells."""
    smaller, total = min(sum(ours), sum(theirs)), sum(ours) + sum(theirs)
    out, a, b = [], 0, 0
    for x, y in zip(ours, theirs):
        a, b = a + x, b + y
        if smaller * (a + b) >= 5 * total:
            out.append([a, b])
            a = b = 0
    if out:
        out[-1] = [out[-1][0] + a, out[-1][1] + b]
    if len(out) < 2:
        out = [[a, b] for a, b in zip(ours, theirs) if a + b]
    return np.array(out).T


def homogeneity(ours, theirs):
    table = merged(ours, theirs)
    if table.shape[1] == 1:
        return dict(freedom=0, chiSquare=0.0, g=0.0)
    pearson, g = (stats.chi2_contingency(table, correction=False, lambda_=l) for l in ("pearson", "log-likelihood"))
    return dict(freedom=int(pearson.dof), chiSquare=pearson.statistic, g=max(g.statistic, 0.0))


def ks(ours, theirs):
    n, m = sum(ours), sum(theirs)
    if n * m <= 10_000:
        spread = [np.repeat(np.arange(len(counts)), counts) for counts in (ours, theirs)]
        found = stats.ks_2samp(*spread, method="exact")
        return found.statistic, found.pvalue
    statistic = np.abs(np.cumsum(ours) / n - np.cumsum(theirs) / m).max()
    return statistic, stats.kstwobign.sf(statistic * np.sqrt(n * m / (n + m)))


def l_infinity(ours, theirs):
    n, m = sum(ours), sum(theirs)
    value = np.abs(np.array(ours) / n - np.array(theirs) / m).max()
    urns = [(here, there, a + b) for a, b in zip(ours, theirs) if a + b for here, there in ((n, m), (m, n))]
    p, critical = 0.0, {level: 0.0 for level in LEVELS}
    for here, there, marked in urns:
        k = np.arange(max(0, marked - there), min(here, marked) + 1)
        surplus = k / here - (marked - k) / there
        tail = stats.hypergeom.sf(k - 1, here + there, marked, here)
        reached = surplus > value - 1e-12
        p += tail[reached][0] if reached.any() else 0.0
        for level in LEVELS:
            critical[level] = max(critical[level], surplus[tail > level / len(urns)].max())
    return dict(lInfinity=value, lInfinityP=min(p, 1.0), lInfinityCritical=[critical[level] for level in LEVELS])


def case(ours, theirs, values=None):
    ours, theirs = [int(x) for x in ours], [int(x) for x in theirs]
    values = list(range(len(ours))) if values is None else values
    p, q = np.array(ours) + 0.5, np.array(theirs) + 0.5
    p, q = p / p.sum(), q / q.sum()
    statistic, p_value = ks(ours, theirs)
    out = dict(ours=ours, theirs=theirs, values=[float(x) for x in values], **homogeneity(ours, theirs),
               psi=stats.entropy(p, q) + stats.entropy(q, p), jensenShannon=float(np.nan_to_num(jensenshannon(p, q, 2))),
               hellinger=np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2), ks=statistic, ksP=p_value,
               wasserstein=stats.wasserstein_distance(values, values, ours, theirs))
    if sum(ours) + sum(theirs) < 1_000_000:
        out |= l_infinity(ours, theirs)
    return out


def drawn(cells, n, m, shift):
    base = random.dirichlet(np.ones(cells) * 3)
    other = (1 - shift) * base + shift * random.dirichlet(np.ones(cells))
    return random.multinomial(n, other), random.multinomial(m, base)


cases = [case(*drawn(*shape)) for shape in [
    (10, 50, 50, 0.0), (10, 300, 3000, 0.1), (10, 3000, 300, 0.3), (3, 500, 20, 0.9), (64, 412, 3708, 0.1),
    (64, 50_000, 300_000, 0.01), (200, 300, 5000, 0.2), (5, 7, 9, 0.3)]]
cases += [case(*drawn(16, 80, 90, 0.4), values=np.sort(random.normal(size=16)))]
cases += [
    case([1], [1]), case([1, 0], [0, 1]), case([0, 1, 0], [3, 4, 5]),           # n = 1
    case([0, 30, 0, 0, 20, 0], [0, 10, 0, 0, 40, 0]),                            # cells that nobody has
    case([50, 0, 0], [0, 0, 50]), case([0, 50], [0, 60]),                        # apart; zero variance
    case([10, 20, 30], [10, 20, 30]), case([1, 2, 3], [100, 200, 300]),          # equal counts, equal shares
    case([400_000_000, 600_000_000], [400_010_000, 599_990_000]),                # 1e9
    case([250_000_000] * 4, [250_000_000] * 4),
    case([1] * 50, [2] * 50), case([0] * 9 + [1], [100] * 10),                   # all rare; a newcomer
    # Published failures of Kayenta: 100 slow points of 7 and one of 3 against 1 of 10; [0,1,2,1,0,0] against zeros.
    case([0, 1, 100, 0], [0, 0, 0, 10]), case([3, 2, 1], [6, 0, 0]),
]
path = pathlib.Path(__file__).with_name("distances.json")
text = json.dumps(dict(levels=LEVELS, cases=cases), separators=(",", ":"), default=float)
path.write_text(text.replace('},{"', '},\n{"') + "\n")
print(path, path.stat().st_size, "bytes")
