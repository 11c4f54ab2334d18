"""Golden vectors for `evidence/src/experiment`, by scipy and statsmodels. Set up as in labels.py.

    /tmp/venv-labels/bin/python evidence/tests/golden/experiment.py

Writes experiment.json beside itself, with the versions. Seeded: running it again changes nothing.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import scipy
import statsmodels
from scipy import integrate, optimize, stats
from statsmodels.stats.power import GofChisquarePower, NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import (confint_proportions_2indep, proportions_ztest,
                                          samplesize_proportions_2indep_onetail)

random = np.random.default_rng(20240612)
warnings.filterwarnings("ignore")


def proportions():
    cases = [(12, 100, 8, 100), (1, 1, 0, 1), (0, 50, 5, 60), (50, 50, 45, 50), (0, 10, 0, 10), (10, 10, 10, 10),
             (480, 4000, 3800, 36_000), (10**8, 10**9, 10**8 - 30_000, 10**9), (3, 7, 400, 1000)]
    out = []
    for x, n, y, m in cases:
        z, two = proportions_ztest([x, y], [n, m])
        above = proportions_ztest([x, y], [n, m], alternative="larger")[1]
        for level in (0.1, 1e-3):
            low, high = confint_proportions_2indep(x, n, y, m, compare="diff", method="newcomb", alpha=level)
            out.append(dict(counts=[x, n, y, m], level=level, statistic=None if math.isnan(z) else z,
                            twoSided=None if math.isnan(z) else two, above=None if math.isnan(z) else above,
                            low=low, high=high))
    return out


def welch():
    cases = [(2, 1.0, 0.5, 2, 0.0, 0.3), (10, 5.2, 1.0, 30, 4.9, 9.0), (500, 0.1, 2.0, 700, 0.0, 1.5),
             (3, 1.0, 0.0, 5, 1.4, 0.2), (10**9, 1.00005, 1.0, 10**9, 1.0, 1.2), (150_000, 0.01, 1.0, 90_000, 0.0, 1.0),
             (40, -3.0, 1.0, 40, 5.0, 1.0), (30_000, 2.0, 4.0, 40_000, 2.03, 3.0)]
    out = []
    for n, a, v, m, b, w in cases:
        t, two = stats.ttest_ind_from_stats(a, v ** 0.5, n, b, w ** 0.5, m, equal_var=False)
        error = v / n + w / m
        freedom = error ** 2 / ((v / n) ** 2 / (n - 1) + (w / m) ** 2 / (m - 1))
        np.testing.assert_allclose(two, 2 * stats.t.sf(abs(t), freedom), rtol=1e-9)
        for level in (0.1, 1e-3):
            width = stats.t.isf(level / 2, freedom) * error ** 0.5
            out.append(dict(candidate=[n, a, v], stable=[m, b, w], level=level, statistic=t, freedom=freedom,
                            twoSided=two, low=a - b - width, high=a - b + width))
    return out


def chi_square():
    cases = [([10, 20], [20, 10]), ([5, 0, 7], [4, 0, 9]), ([0, 3, 4, 100], [1, 1, 1, 1]), ([7, 7], [7, 7]),
             ([10**9, 10**9 + 60_000], [10**9, 10**9])]
    for k, n, m in [(10, 300, 2700), (50, 5000, 5000)]:
        p = random.dirichlet(np.ones(k))
        cases.append((random.multinomial(n, p).tolist(), random.multinomial(m, p).tolist()))
    out = []
    for ours, theirs in cases:
        table = np.array([ours, theirs])
        test = stats.chi2_contingency(table[:, table.sum(0) > 0], correction=False)
        out.append(dict(candidate=ours, stable=theirs, statistic=test.statistic, freedom=test.dof, p=test.pvalue))
    return out


def required_shares():
    out = []
    for p, q in [(0.12, 0.1), (0.11, 0.1), (0.04, 0.02), (0.02, 0.04), (0.93, 0.9), (0.501, 0.5)]:
        for level, power, split in [(0.05, 0.8, 0.5), (0.01, 0.9, 0.5), (0.05, 0.8, 0.1), (0.05, 0.95, 0.8)]:
            ratio = (1 - split) / split
            # statsmodels names the arm of prop2 the second; its pooled share weights it by ratio.
            n = samplesize_proportions_2indep_onetail(p - q, q, power, ratio, level, alternative="larger" if p > q else "smaller")
            out.append(dict(candidate=p, stable=q, level=level, power=power, split=split, n=[n, n * ratio]))
    return out


def required_means():
    out = []
    for effect in (0.05, 0.2, 0.5):
        for level, power, split in [(0.05, 0.8, 0.5), (0.01, 0.9, 0.5), (0.05, 0.8, 0.1), (0.05, 0.95, 0.8)]:
            ratio = (1 - split) / split
            n = TTestIndPower().solve_power(effect, None, level, power, ratio, alternative="larger")
            z = NormalIndPower().solve_power(effect, None, level, power, ratio, alternative="larger")
            assert z < n
            out.append(dict(effect=3 * effect, deviation=3.0, level=level, power=power, split=split, n=[n, n * ratio]))
    return out


def required_classes():
    """The homogeneity of two arms as goodness of fit with the same noncentrality and degrees of freedom."""
    shares = [([0.3, 0.7], [0.25, 0.75]), ([0.5, 0.3, 0.2], [0.4, 0.4, 0.2]), ([0.12, *[0.88 / 9] * 9], [0.1] * 10),
              ([0.5, 0.5, 0.0], [0.48, 0.52, 0.0])]
    out = []
    for p, q in shares:
        for level, power, split in [(0.05, 0.8, 0.5), (0.01, 0.9, 0.1), (1e-6, 0.95, 0.8)]:
            p_, q_ = np.array(p), np.array(q)
            pooled = split * p_ + (1 - split) * q_
            kept = pooled > 0
            w = np.sqrt(split * (1 - split) * np.sum((p_ - q_)[kept] ** 2 / pooled[kept]))
            n = GofChisquarePower().solve_power(w, None, level, power, n_bins=kept.sum())
            out.append(dict(candidate=p, stable=q, level=level, power=power, split=split, n=[n * split, n * (1 - split)]))
    return out


def sequences():
    """The mixture by quadrature, and the limit at which it reaches 1/level by a root finder."""
    out = []
    for n, a, v, m, b, w, effect in [(100, 1.2, 1.0, 100, 1.0, 1.5, 0.3), (500, 0.0, 4.0, 4500, 0.1, 4.0, 0.2), (2000, 5.0, 9.0, 2000, 5.0, 9.0, 0.5),
                                     (10**9, 1.00005, 1.0, 10**9, 1.0, 1.2, 1e-4), (300, -3.0, 1.0, 200, 5.0, 0.0, 0.1), (5000, 0.02, 0.04, 5000, 0.0, 0.05, 2.0)]:
        error = v / n + w / m
        time = 1 / error

        def log_e(gain):
            # In units of the posterior, around its middle: exp(g s - g^2 t / 2) times a half-normal of deviation effect.
            s, precision = gain * time, time + 1 / effect ** 2
            middle, deviation = s / precision, precision ** -0.5
            area, _ = integrate.quad(stats.norm.pdf, max(-40, -middle / deviation), max(40, 40 - middle / deviation), points=[0], epsabs=0, epsrel=1e-12)
            return np.log(2 * deviation / effect) + 0.5 * s * middle + np.log(area)

        def direct(gain):
            top = max(10 * effect, 10 * abs(gain))
            return integrate.quad(lambda g: np.exp(g * gain * time - g * g * time / 2) * 2 * stats.norm.pdf(g, 0, effect), 0, top,
                                  points=[max(0.0, gain)], limit=500)[0]

        if abs(a - b) / error ** 0.5 < 5 and effect / error ** 0.5 < 30:
            np.testing.assert_allclose(log_e(a - b), np.log(direct(a - b)), rtol=1e-6)
        for level in (0.1, 1e-3):
            root = optimize.brentq(lambda gain: log_e(gain) + np.log(level), 0, 60 * error ** 0.5 + 60 * effect, xtol=1e-15, rtol=1e-13)
            out.append(dict(candidate=[n, a, v], stable=[m, b, w], effect=effect, level=level,
                            above=min(1.0, math.exp(-log_e(a - b))), below=min(1.0, math.exp(-log_e(b - a))), width=root))
    return out


def wagers():
    """Item by item, with the limits by a root finder."""
    out = []
    for split, centre, effect, counts, level in [(0.5, 0.1, 0.02, [60, 400, 40, 410], 0.05), (0.1, 0.02, 0.02, [9, 100, 18, 900], 0.05),
                                                 (0.8, 0.5, 0.1, [7, 9, 1, 2], 0.1), (0.5, 0.9, 0.05, [195, 200, 150, 205], 0.01)]:
        def log_e(x, n, y, m, split, margin):
            worth = np.concatenate([np.repeat((1 - centre) / split, x), np.repeat(-centre / split, n - x),
                                    np.repeat(-(1 - centre) / (1 - split), y), np.repeat(centre / (1 - split), m - y)])
            best = effect / (centre * (1 - centre) * (1 / split + 1 / (1 - split)))
            safe = 0.9 / (1 - worth_min(split))
            wealth = [np.prod(1 + min(times * best, safe) * (worth - margin)) for times in (0.5, 1, 2, 4, 8, 16)]
            return np.log(np.mean(wealth))

        def worth_min(split):
            return min(-centre / split, -(1 - centre) / (1 - split))

        def lower(x, n, y, m, split):
            f = lambda margin: log_e(x, n, y, m, split, margin) + np.log(level)
            return optimize.brentq(f, -1, 1, xtol=1e-13) if f(-1) > 0 else -1.0

        x, n, y, m = counts
        out.append(dict(split=split, centre=centre, effect=effect, counts=counts, level=level,
                        logE=log_e(*counts, split, 0.0), low=lower(*counts, split), high=-lower(y, m, x, n, 1 - split)))
    return out


vectors = dict(versions={m.__name__: m.__version__ for m in (scipy, statsmodels, np)}, proportions=proportions(),
               welch=welch(), chiSquare=chi_square(), requiredShares=required_shares(),
               requiredMeans=required_means(), requiredClasses=required_classes(),
               sequences=sequences(), wagers=wagers())
path = pathlib.Path(__file__).with_name("experiment.json")
path.write_text(json.dumps(vectors, separators=(",", ":"), default=float).replace('},{"', '},\n{"') + "\n")
print(path, path.stat().st_size, "bytes")
