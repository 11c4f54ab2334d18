#!/usr/bin/env python3
"""How soon drift detectors of other libraries see corrupted images, and how often they cry wolf before.

    model-server simulate-drift --model MODEL --data test.bin --out drift.csv
    hack/bench-drift-peers.py drift.csv >peers.jsonl        (needs scipy, numpy, river)

A stream is 5,000 clean images, then images of one corruption at one severity; both drawn with replacement from the
rows of the CSV. A mix (rotation, channel_swap, texture) has 2, 5, 10, 25 or 100 % of another domain by severity.
Peers watch one number per image, each of four alone: the confidence and the three image statistics; "any" is the
first alarm of the four.

  adwin, page_hinkley, kswin   river, at its documented defaults; after an alarm each goes on by itself
  ks_window                    scipy's ks_2samp of each 100 images against the stream's first 1,000, at 5 %

Prints a JSON line with versions and settings, then one per peer, condition and watched number:
  median_delay             images from the change to the first alarm; null if fewer than half of the streams had one
  found_share              share of the streams with an alarm within --after images of the change, chance ones too
  false_alarms_before_change, images_per_false_alarm    over the clean images of all streams (after what the peer
                           needs to begin); the same for all conditions

KSWIN takes 0.3 to 0.9 ms per number, and so is given less: the severities of --kswin-severities only, the last 500 of
the clean images, and 100 after the change. It remembers 100: what came earlier changes nothing, and once it has seen
100 changed images, nothing is left to tell them from.
"""

import argparse
import copy
import csv
import json
import multiprocessing
import statistics
import sys
import time
import warnings
from collections import defaultdict
from importlib.metadata import version

import numpy as np
from river import drift
from scipy import stats

STREAMS = ["confidence", "brightness", "contrast", "sharpness"]
CLEAN = ("none", 0)
REFERENCE = 1000
WINDOW = 100
KSWIN_CLEAN, KSWIN_AFTER = 500, 100


class KsWindow:
    """The test of each full window against what came first; says `drift_detected` like river's."""

    def __init__(self):
        self.reference, self.window, self.drift_detected = [], [], False

    def update(self, value):
        self.drift_detected = False
        if len(self.reference) < REFERENCE:
            self.reference.append(value)
            return
        self.window.append(value)
        if len(self.window) == WINDOW:
            self.drift_detected = stats.ks_2samp(self.reference, self.window, method="asymp").pvalue < 0.05
            self.window = []


PEERS = {
    "adwin": lambda seed: drift.ADWIN(),
    "page_hinkley": lambda seed: drift.PageHinkley(),
    "kswin": lambda seed: drift.KSWIN(seed=seed),
    "ks_window": lambda seed: KsWindow(),
}
# Images that a peer only collects before its first verdict.
SILENT = {"adwin": 0, "page_hinkley": 0, "kswin": WINDOW, "ks_window": REFERENCE}


def read(path):
    """Rows of the four numbers by condition, in the order of the file."""
    rows = defaultdict(list)
    with open(path, newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                condition = row["corruption"], int(row["severity"])
                rows[condition].append([float(row[stream]) for stream in STREAMS])
            except (KeyError, TypeError, ValueError) as error:
                sys.exit(f"{path}, line {number}: {error!r}; expected a CSV of model-server simulate-drift")
    if CLEAN not in rows:
        sys.exit(f"{path}: no rows of the corruption none, expected clean images")
    return {condition: np.array(values) for condition, values in rows.items()}


def draw(rows, count, seed, condition):
    """`count` rows with replacement; the same seed and condition draw the same ones."""
    generator = np.random.default_rng([seed, *condition[0].encode(), condition[1]])
    return rows[condition][generator.integers(len(rows[condition]), size=count)]


def first_alarm(detector, values):
    for count, value in enumerate(values, 1):
        detector.update(value)
        if detector.drift_detected:
            return count
    return None


def run(job):
    """One repeat of one peer: per watched number its clean images, false alarms, and delay by condition."""
    rows, peer, seed, clean, after, conditions = job
    before = draw(rows, clean, seed, CLEAN)
    if peer == "kswin":
        before, after = before[-KSWIN_CLEAN:], min(after, KSWIN_AFTER)
    changed = {condition: draw(rows, after, seed, condition).T.tolist() for condition in conditions}
    results = []
    for column, stream in enumerate(before.T.tolist()):
        detector, alarms = PEERS[peer](seed), 0
        for value in stream:
            detector.update(value)
            alarms += bool(detector.drift_detected)
        delays = {c: first_alarm(copy.deepcopy(detector), changed[c][column]) for c in conditions}
        results.append((len(stream) - SILENT[peer], alarms, delays))
    return peer, results


def lines(peer, repeats):
    """The results of all repeats of a peer, one dictionary per condition and watched number."""
    groups = [[name, [column]] for column, name in enumerate(STREAMS)] + [["any", range(len(STREAMS))]]
    for condition in repeats[0][0][2]:
        for name, columns in groups:
            alarms = sum(repeat[column][1] for repeat in repeats for column in columns)
            images = sum(repeat[columns[0]][0] for repeat in repeats)
            found = [[repeat[c][2][condition] for c in columns if repeat[c][2][condition]] for repeat in repeats]
            delays = [min(delays) if delays else float("inf") for delays in found]
            median = statistics.median(delays)
            yield {
                "peer": peer,
                "corruption": condition[0],
                "severity": condition[1],
                "watched": name,
                "median_delay": None if median == float("inf") else median,
                "found_share": round(sum(map(bool, found)) / len(repeats), 4),
                "false_alarms_before_change": alarms,
                "images_per_false_alarm": round(images / alarms, 1) if alarms else None,
            }


def arguments():
    summary, details = __doc__.split("\n", 1)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=details, formatter_class=raw)
    parser.add_argument("csv", help="what model-server simulate-drift wrote")
    parser.add_argument("--repeats", type=int, default=30, help="streams per peer (default 30)")
    parser.add_argument("--clean", type=int, default=5000, help="images before the change (default 5000)")
    parser.add_argument("--after", type=int, default=500, help="images after it (default 500)")
    parser.add_argument("--kswin-severities", default="3,5", help="severities for KSWIN (default 3,5)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first stream (default 1)")
    parsed = parser.parse_args()
    if parsed.repeats < 1 or parsed.after < 1 or parsed.clean <= REFERENCE + WINDOW:
        parser.error(f"--repeats and --after are at least 1, --clean above {REFERENCE + WINDOW}")
    return parsed


def main():
    args = arguments()
    began = time.monotonic()
    rows = read(args.csv)
    corrupted = [condition for condition in rows if condition != CLEAN]
    # Grey images are no other images when red and blue change places.
    same = [c for c in corrupted if np.array_equal(rows[c], rows[CLEAN])]
    conditions = [c for c in corrupted if c not in same]
    few = {int(severity) for severity in args.kswin_severities.split(",")}
    versions = {name: version(name) for name in ("river", "scipy", "numpy")}
    skipped = {"skipped_as_unchanged": [f"{name} {severity}" for name, severity in same]}
    print(json.dumps({"versions": versions, "settings": vars(args), "clean_rows": len(rows[CLEAN]), **skipped}))
    jobs = []
    # The slow one first, so that no core waits for it at the end.
    for peer in sorted(PEERS, key="kswin".__ne__):
        of_peer = [c for c in conditions if peer != "kswin" or c[1] in few]
        jobs += [(rows, peer, args.seed + i, args.clean, args.after, of_peer) for i in range(args.repeats)]
    repeats = defaultdict(list)
    with multiprocessing.Pool(initializer=warnings.simplefilter, initargs=("ignore",)) as pool:
        for done, (peer, results) in enumerate(pool.imap(run, jobs), 1):
            repeats[peer].append(results)
            if done % 10 == 0:
                print(f"{done} of {len(jobs)} streams, {time.monotonic() - began:.0f} s", file=sys.stderr)
    for peer, of_peer in repeats.items():
        for line in lines(peer, of_peer):
            print(json.dumps(line))


if __name__ == "__main__":
    main()
