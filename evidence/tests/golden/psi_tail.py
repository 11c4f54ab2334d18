"""How often PSI, and PSI together with G, exceed their critical values when nothing has changed.

    ~/.cache/sluice/venv-golden/bin/python evidence/tests/golden/psi_tail.py    # about a minute

The figures in the documentation of `psi_critical` come from here. Prints, per level 1e-3, 1e-4, 1e-5 and 1e-6, the
observed rate as a multiple of the level; at 1e-6 a multiple of 1 is 4 cases of 4 million.
"""

import numpy as np
from scipy import stats
from scipy.special import xlogy

LEVELS = (1e-3, 1e-4, 1e-5, 1e-6)
random = np.random.default_rng(1)


def run(shares, n, m, repeats):
    cells = len(shares)
    step = 200_000 // max(1, cells // 10)
    critical = {level: stats.chi2.isf(level, cells - 1) for level in LEVELS}
    psi_only, both, done = dict.fromkeys(LEVELS, 0), dict.fromkeys(LEVELS, 0), 0
    while done < repeats:
        a, b = (random.multinomial(size, shares, step).astype(float) for size in (n, m))
        p, q = (a + 0.5) / (n + 0.5 * cells), (b + 0.5) / (m + 0.5 * cells)
        psi = ((p - q) * np.log(p / q)).sum(1) / (1 / n + 1 / m)
        far = psi > critical[LEVELS[0]]  # the others exceed nothing
        a, b, psi = a[far], b[far], psi[far]
        pooled = np.maximum((a + b) / (n + m), 1e-300)
        g = 2 * (xlogy(a, a / n / pooled) + xlogy(b, b / m / pooled)).sum(1)
        for level, value in critical.items():
            psi_only[level] += (psi > value).sum()
            both[level] += ((psi > value) & (g > value)).sum()
        done += step
    show = lambda hits: " ".join(f"{hits[level] / done / level:6.2f}" for level in LEVELS)
    print(f"cells {cells:3} n {n} m {m:5} smallest share {min(shares):.4f}: PSI {show(psi_only)} | both {show(both)}")


def even(cells):
    return np.ones(cells) / cells


falling = 0.6 ** np.arange(10)
run(even(10), 120, 400, 4_000_000)
run(even(10), 100, 1000, 4_000_000)
run(even(10), 100, 100, 4_000_000)
run(falling / falling.sum(), 100, 400, 4_000_000)
run(even(50), 100, 400, 1_000_000)
run(even(3), 100, 400, 4_000_000)
