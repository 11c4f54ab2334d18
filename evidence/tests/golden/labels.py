"""Golden vectors for `evidence/src/labels`, by scikit-learn, scipy and statsmodels.

    python3 -m venv /tmp/venv-labels
    /tmp/venv-labels/bin/pip install scikit-learn==1.9.1 scipy==1.17.1 statsmodels==0.15.0 numpy==2.4.6
    /tmp/venv-labels/bin/python evidence/tests/golden/labels.py

Writes labels.json beside itself, with the versions. Seeded: running it again changes nothing.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import scipy
import sklearn
import statsmodels
from scipy import optimize, stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

random = np.random.default_rng(20240611)
warnings.filterwarnings("ignore")
LEVEL = 0.05


def none(x):
    return None if x is None or math.isnan(x) else float(x)


def shares():
    cases = [(0, 1), (1, 1), (0, 100), (3, 100), (50, 100), (100, 100), (33, 412), (999_990, 1_000_000),
             (500_000_000, 1_000_000_000), (20, 1_000_000_000), (10**9, 10**9)]
    out = []
    for x, n in cases:
        for level in (0.1, 0.05, 1e-4, 1e-9):
            wilson = proportion_confint(x, n, level, method="wilson")
            exact = (stats.beta.ppf(level / 2, x, n - x + 1) if x else 0.0,
                     stats.beta.isf(level / 2, x + 1, n - x) if x < n else 1.0)
            out.append(dict(events=x, trials=n, level=level, wilson=wilson, exact=exact))
    return out


def f1_sum(p):
    s = p.sum(0) + p.sum(1)
    return np.sum(np.where(s > 0, 2 * np.diag(p) / np.where(s > 0, s, 1), 0))


def variances(matrix):
    """Of the sum of F1 and of each F1, by the delta method on the dense multinomial, Jacobian by differences."""
    k, n = len(matrix), matrix.sum()
    p = matrix / n

    def f1(flat):
        q = flat.reshape(k, k)
        s = q.sum(0) + q.sum(1)
        return np.where(s > 0, 2 * np.diag(q) / np.where(s > 0, s, 1), 0)

    jacobian = np.array([(f1(p.ravel() + h) - f1(p.ravel() - h)) / 2e-6 for h in 1e-6 * np.eye(k * k)]).T
    covariance = jacobian @ (np.diag(p.ravel()) - np.outer(p.ravel(), p.ravel())) @ jacobian.T
    return covariance.sum(), np.trace(covariance)


def joined(values, lows, highs, dependence=1.0):
    k = len(values)
    mean = np.mean(values)
    below = np.sqrt(dependence * np.sum((values - lows) ** 2)) / k
    above = np.sqrt(dependence * np.sum((highs - values) ** 2)) / k
    return dict(value=mean, low=max(0, mean - below), high=min(1, mean + above), classes=k)


def averaged(pairs, dependence=1.0):
    pairs = [(x, n) for x, n in pairs if n > 0]
    if not pairs:
        return None
    limits = np.array([proportion_confint(x, n, LEVEL, method="wilson") for x, n in pairs])
    return joined(np.array([x / n for x, n in pairs]), limits[:, 0], limits[:, 1], dependence)


def confusions():
    named = dict(
        one_item=[[1, 0], [0, 0]], one_item_wrong=[[0, 1], [0, 0]], one_class=[[7]], perfect=[[5, 0, 0], [0, 9, 0], [0, 0, 2]],
        all_wrong=[[0, 4, 1], [2, 0, 3], [6, 1, 0]], never_predicted=[[8, 0, 2], [3, 0, 1], [0, 0, 9]],
        never_true=[[8, 1, 2], [0, 0, 0], [1, 2, 9]], huge=[[10**9, 1000], [7, 5 * 10**8]],
        two=[[41, 9], [13, 87]], three=[[50, 3, 2], [10, 80, 5], [1, 0, 9]])
    for k, n in [(10, 500), (10, 30), (25, 4000)]:
        p = 0.8 * np.diag(random.dirichlet(np.ones(k))) + 0.2 * random.dirichlet(np.ones(k * k)).reshape(k, k)
        named[f"random_{k}_{n}"] = random.multinomial(n, p.ravel()).reshape(k, k).tolist()
    out = []
    for name, matrix in named.items():
        m = np.array(matrix)
        k = len(m)
        truth, predicted = np.indices(m.shape).reshape(2, -1)
        weights = m.ravel()
        kept = weights > 0
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            truth[kept], predicted[kept], labels=range(k), sample_weight=weights[kept], zero_division=np.nan)
        accuracy = metrics.accuracy_score(truth[kept], predicted[kept], sample_weight=weights[kept])
        touched = m.sum(0) + m.sum(1)
        overlap = [(m[i, i], touched[i] - m[i, i]) for i in range(k)]
        whole, apart = variances(m.astype(float))
        dependence = whole / apart if apart > 1e-15 else 2.0
        f1_limits = np.array([proportion_confint(x, n, LEVEL, method="wilson") if n else (0, 0) for x, n in overlap])
        f1_limits = 2 * f1_limits / (1 + f1_limits)
        defined = touched > 0
        f1_values = np.array([2 * m[i, i] / touched[i] if touched[i] else math.nan for i in range(k)])
        np.testing.assert_allclose(f1_values, f1)
        out.append(dict(
            name=name, matrix=matrix, level=LEVEL, accuracy=accuracy, support=m.sum(1).tolist(),
            precision=[none(x) for x in precision], recall=[none(x) for x in recall], f1=[none(x) for x in f1],
            f1Limits=[list(map(float, limits)) if n else None for limits, n in zip(f1_limits, touched)],
            macroPrecision=averaged(zip(np.diag(m), m.sum(0))), macroRecall=averaged(zip(np.diag(m), m.sum(1))),
            macroF1=joined(f1_values[defined], f1_limits[defined, 0], f1_limits[defined, 1], dependence)))
        np.testing.assert_allclose(out[-1]["macroF1"]["value"], np.nanmean(f1))
    return out


def newcombe(area, m, n, z):
    """Method 5, by a root finder."""
    def variance(t):
        return t * (1 - t) / (m * n) * (1 + ((m + n) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t)))
    low = optimize.brentq(lambda t: area - t - z * np.sqrt(variance(t)), 0, area - 1e-12, xtol=1e-15) if area else 0.0
    high = optimize.brentq(lambda t: t - area - z * np.sqrt(variance(t)), area + 1e-12, 1, xtol=1e-15) if area < 1 else 1.0
    return low, high


def aucs():
    cases = [([1, 0], [0, 1]), ([0, 1], [1, 0]), ([5, 5], [5, 5]), ([3], [4]), ([0, 0, 7, 1], [2, 3, 4, 0]),
             ([0, 10**9, 5 * 10**8], [10**9, 10**8, 3])]
    for cells, m, n, shift in [(64, 50, 80, 10), (64, 3000, 200, 5), (10, 20, 20, 2)]:
        ours = np.clip(np.rint(random.normal(cells / 2 + shift, cells / 8, m)), 0, cells - 1).astype(int)
        theirs = np.clip(np.rint(random.normal(cells / 2, cells / 6, n)), 0, cells - 1).astype(int)
        cases.append((np.bincount(ours, minlength=cells).tolist(), np.bincount(theirs, minlength=cells).tolist()))
    out = []
    for ours, theirs in cases:
        cells = np.arange(len(ours))
        m, n = sum(ours), sum(theirs)
        weights = np.array(ours + theirs)
        area = metrics.roc_auc_score([1] * len(ours) + [0] * len(theirs), np.concatenate([cells, cells]), sample_weight=weights)
        variance = None
        if m >= 2 and n >= 2 and m < 10**6 and 0 < area < 1 and area != 0.5:
            # Brunner & Munzel's statistic is (area - 1/2) / sqrt of the same variance as DeLong's.
            statistic = stats.brunnermunzel(np.repeat(cells, theirs), np.repeat(cells, ours)).statistic
            variance = ((area - 0.5) / statistic) ** 2
        z = stats.norm.isf(LEVEL / 2)
        low, high = newcombe(area, m, n, z)
        if variance:
            step = z * math.sqrt(variance) / (area * (1 - area))
            logit = math.log(area / (1 - area))
            low, high = min(low, 1 / (1 + math.exp(step - logit))), max(high, 1 / (1 + math.exp(-step - logit)))
        out.append(dict(positive=ours, negative=theirs, level=LEVEL, area=area, variance=variance,
                        low=low if variance or area in (0, 1) else None, high=high if variance or area in (0, 1) else None))
    return out


def calibration_limits(edges, cell, correct, confidence, bounds):
    """Bin by bin: the gap that the cells allow, and what the share of right answers may be off by chance."""
    z = stats.norm.isf(LEVEL / 2)
    nearest = farthest = 0.0
    deviations = []
    for lower, upper in zip(bounds[:-1], bounds[1:]):
        inside = (confidence > lower) & (confidence <= upper) if lower else confidence <= upper
        if not inside.any():
            continue
        weight, share = inside.mean(), correct[inside].mean()
        least, most = 1 - edges[cell[inside]].mean(), 1 - np.where(cell[inside] > 0, edges[cell[inside] - 1], 0).mean()
        gaps = [abs(share - least), abs(share - most)]
        nearest += weight * (0 if least <= share <= most else min(gaps))
        farthest += weight * max(gaps)
        wilson = proportion_confint(correct[inside].sum(), inside.sum(), LEVEL, method="wilson")
        deviations.append(weight * max(share - wilson[0], wilson[1] - share) / z)
    chance = stats.foldnorm.mean(0) * sum(deviations) + z * np.linalg.norm(deviations)
    return max(0, nearest - chance), min(1, farthest + chance)


def calibrations():
    """Each item at the middle of its cell, binned by scikit-learn."""
    edges = 10 ** (-6 + 6 * np.arange(1, 65) / 64)
    middles = 0.5 * (np.concatenate([[0], edges[:-1]]) + edges)
    out = []
    for n, bins, wrong_rate in [(1, 10, 0.0), (500, 10, 1.0), (500, 10, 2.0), (5000, 15, 1.3), (200, 5, 0.0), (300, 1, 1.0)]:
        doubt = 10 ** -random.exponential(1.0, n)
        cell = np.minimum(np.searchsorted(edges, doubt), 63)
        correct = random.random(n) >= np.minimum(1, wrong_rate * doubt)
        confidence = 1 - middles[cell]
        right, mean = calibration_curve(correct, confidence, n_bins=bins, pos_label=True)
        index = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence), 0, bins - 1)
        weights = np.bincount(index, minlength=bins)
        weights = weights[weights > 0] / n
        low, high = calibration_limits(edges, cell, correct, confidence, np.linspace(0, 1, bins + 1))
        out.append(dict(low=low, high=high, correct=np.bincount(cell[correct], minlength=64).tolist(),
                        wrong=np.bincount(cell[~correct], minlength=64).tolist(), bins=bins,
                        error=float(np.sum(weights * np.abs(right - mean))),
                        share=right[::-1].tolist(), confidence=mean[::-1].tolist()))
    return out


vectors = dict(versions={m.__name__: m.__version__ for m in (sklearn, scipy, statsmodels, np)}, shares=shares(),
               confusions=confusions(), aucs=aucs(), calibrations=calibrations())
path = pathlib.Path(__file__).with_name("labels.json")
path.write_text(json.dumps(vectors, separators=(",", ":"), default=float).replace('},{"', '},\n{"') + "\n")
print(path, path.stat().st_size, "bytes")
