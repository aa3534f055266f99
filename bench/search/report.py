"""What the curves of protocol.py say: tables for people, JSON lines for machines."""
import collections
import json
import math
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from figure_line import print_figure  # noqa: E402

POINTS = (10, 50, 100)  # full budgets
RESAMPLES = 1000


def read(paths):
    runs = []
    for path in paths:
        with open(path) as file:
            runs += [json.loads(line) for line in file]
    return runs


def regret_at(run, spent):
    """None before the first result."""
    value = None
    for at, _, regret in run["curve"]:
        if at > spent + 1e-6:
            break
        value = regret
    return value


class Regrets:
    """Of each (searcher, workers, function, at): the seeds' regrets."""

    def __init__(self, runs):
        self.by_seed = collections.defaultdict(dict)
        for run in runs:
            for at in POINTS:
                value = regret_at(run, at)
                if value is not None:
                    self.by_seed[run["searcher"], run["workers"], run["function"], at][run["seed"]] = value
        keys = list(self.by_seed)
        self.searchers = sorted({key[0] for key in keys})
        self.workers = sorted({key[1] for key in keys})
        self.functions = sorted({key[2] for key in keys})

    def values(self, *key):
        return np.array([value for _, value in sorted(self.by_seed.get(key, {}).items())])

    def floor(self, function):
        """Below it two regrets are the same in ranks and geometric means: 1 % of random's mean at 10 full budgets."""
        values = self.values("random", 1, function, 10)
        return .01 * float(values.mean()) if len(values) else 1e-9

    def ranks(self, workers, at, names):
        """Of each searcher: its ranks over all (function, seed) that all of them ran; ties share theirs."""
        ranks = {name: [] for name in names}
        for function in self.functions:
            found = [self.by_seed.get((name, workers, function, at), {}) for name in names]
            for seed in sorted(set.intersection(*map(set, found))):
                values = [max(each[seed], self.floor(function)) for each in found]
                for name, value in zip(names, values):
                    below = sum(other < value for other in values)
                    ranks[name].append(below + (1 + sum(other == value for other in values)) / 2)
        return ranks


def interquartile_mean(values):
    low, high = len(values) // 4, len(values) - len(values) // 4
    return float(np.sort(values)[low:high].mean())


def interval(values):
    """95 %, of the mean, by bootstrap."""
    dice = np.random.default_rng(1)
    means = dice.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    return [float(np.percentile(means, share)) for share in (2.5, 97.5)]


def present(regrets, workers, at):
    """Searchers with results at this point on every function that any of them has."""
    names = {name for name in regrets.searchers for function in regrets.functions
             if (name, workers, function, at) in regrets.by_seed}
    return [name for name in regrets.searchers if name in names]


def print_tables(runs):
    regrets = Regrets(runs)
    for workers in regrets.workers:
        for at in POINTS:
            names = present(regrets, workers, at)
            if not names:
                continue
            print("\n%d worker%s, regret at %d full budgets: mean ± standard error (seeds)" % (workers, "s" if workers > 1 else "", at))
            width = max(map(len, names))
            print(" " * 14 + "".join("%*s" % (max(width, 20) + 2, name) for name in names))
            for function in regrets.functions:
                cells = []
                for name in names:
                    v = regrets.values(name, workers, function, at)
                    cells.append("-" if not len(v) else "%.3g ± %.1g (%d)" % (
                        v.mean(), v.std(ddof=1) / math.sqrt(len(v)) if len(v) > 1 else math.nan, len(v)))
                print("%-14s" % function + "".join("%*s" % (max(width, 20) + 2, cell) for cell in cells))
            ranks = regrets.ranks(workers, at, names)
            print("%-14s" % "mean rank" + "".join("%*s" % (max(width, 20) + 2, "%.2f" % np.mean(ranks[name]) if ranks[name] else "-")
                                                  for name in names))
    print_ask_times(runs)


def print_ask_times(runs):
    times = collections.defaultdict(list)
    for run in runs:
        times[run["searcher"], run["workers"]].append(run["ask_ms"])
    print("\nask, ms: median of p50, worst p99")
    for (name, workers), found in sorted(times.items()):
        print("%-24s %3d workers  %8.3g  %8.3g" % (name, workers, np.median([p50 for p50, _ in found]), max(p99 for _, p99 in found)))


def rounded(value):
    return None if value is None else float("%.4g" % value)


def print_figures(own_runs, peer_runs):
    """`rung` and `peer` are regrets, or ranks among all; of `regret`, `peer` is the best peer of that function."""
    own, both = Regrets(own_runs), Regrets(own_runs + peer_runs)
    all_ranks = collections.defaultdict(list)
    for workers in own.workers:
        for at in POINTS:
            names = present(both, workers, at)
            peers = [name for name in names if name not in own.searchers]
            for searcher in own.searchers:
                logs = collections.defaultdict(list)
                for function in own.functions:
                    mine = own.values(searcher, workers, function, at)
                    if len(mine):
                        compare(both, searcher, mine, peers, (workers, function, at), logs)
                for peer_name, pairs in logs.items():
                    ours, theirs = (math.exp(np.mean(column)) for column in zip(*pairs))
                    print_figure("search", "geomean_regret", rounded(ours), rounded(theirs), peer_name, rounded(theirs / ours),
                                 searcher=searcher, workers=workers, at=at, functions=len(pairs))
            ranks = both.ranks(workers, at, names)
            print_ranks("mean_rank", ranks, own.searchers, workers=workers, at=at, of=len(names))
            for name in names:
                all_ranks[name] += ranks[name]
    print_ranks("mean_rank_all", all_ranks, own.searchers)


def print_ranks(figure, ranks, searchers, **more):
    """Of each of `searchers` against each other that has ranks; against nobody where it stands alone."""
    means = {name: float(np.mean(found)) for name, found in sorted(ranks.items()) if found}
    for searcher in (name for name in searchers if name in means):
        for peer in [name for name in means if name not in searchers] or [None]:
            theirs = means.get(peer)
            print_figure("search", figure, rounded(means[searcher]), rounded(theirs), peer,
                         None if theirs is None else rounded(theirs / means[searcher]), searcher=searcher, **more,
                         pairs=len(ranks[searcher]))


def compare(both, searcher, mine, peers, key, logs):
    """Prints one function's line; adds the logarithms of both regrets, floored, to logs[peer] and to logs["best_peer"]."""
    workers, function, at = key
    floor = both.floor(function)
    ours, means = max(float(mine.mean()), floor), {}
    for peer in peers:
        values = both.values(peer, workers, function, at)
        if len(values):
            means[peer] = float(values.mean())
            logs[peer].append((math.log(ours), math.log(max(means[peer], floor))))
    best = min(means, key=means.get) if means else None
    ratio = None
    if best is not None:
        ratio = max(means[best], floor) / ours
        logs["best_peer"].append((math.log(ours), math.log(max(means[best], floor))))
    print_figure("search", "regret", rounded(float(mine.mean())), rounded(means.get(best)), best, rounded(ratio), function=function,
                 searcher=searcher, workers=workers, at=at, interquartile_mean=rounded(interquartile_mean(mine)),
                 interval=[rounded(end) for end in interval(mine)], seeds=len(mine))
