"""Shares of importance, Rung's against those of Optuna's fANOVA from the same results: one JSON line a parameter, and the time.

importance.py IMPORTANCE_DRIVER      (run with a Python that has optuna and scikit-learn; without them its figures are null)

Three functions whose shares are known, 100 random results each, five data sets. `deviation` is that of the peer's share over the data sets:
shares that differ by less are the same. Numbers on linear scales alone: Optuna counts logarithmic ones on the linear scale, and of a
category combinations that no config has.
"""
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from figure_line import print_figure  # noqa: E402

RESULTS, DATA_SETS = 100, 5
UNIT = {"low": 0.0, "high": 1.0}
ANGLE = {"low": -math.pi, "high": math.pi}

# name: (space, function, the true shares)
FUNCTIONS = {
    "sum": ({"x": UNIT, "y": UNIT, "n": {"int": [1, 4]}}, lambda c: 2 * c["x"] + c["y"] + .5 * c["n"],
            {"x": 16 / 35, "y": 4 / 35, "n": 15 / 35}),
    "product": ({"x": UNIT, "y": UNIT, "unread": UNIT}, lambda c: c["x"] * c["y"], {"x": 3 / 7, "y": 3 / 7, "unread": 0}),
    "ishigami": ({"x": ANGLE, "y": ANGLE, "z": ANGLE},
                 lambda c: math.sin(c["x"]) * (1 + .1 * c["z"] ** 4) + 7 * math.sin(c["y"]) ** 2, {"x": .314, "y": .442, "z": 0}),
}


def drawn(space, dice):
    return {name: dice.randint(*kind["int"]) if "int" in kind else dice.uniform(kind["low"], kind["high"]) for name, kind in space.items()}


def optuna_fanova(space, results, seed):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = {name: optuna.distributions.IntDistribution(*kind["int"]) if "int" in kind
             else optuna.distributions.FloatDistribution(kind["low"], kind["high"]) for name, kind in space.items()}
    study = optuna.create_study()
    for result in results:
        study.add_trial(optuna.trial.create_trial(params=result["config"], distributions=kinds, value=result["value"]))
    start = time.perf_counter()
    shares = optuna.importance.FanovaImportanceEvaluator(seed=seed).evaluate(study)
    return shares, (time.perf_counter() - start) * 1000


def rung_importance(driver, space, results, seed):
    request = json.dumps({"space": space, "seed": seed, "results": results})
    answer = json.loads(subprocess.run([driver], check=True, input=request + "\n", capture_output=True, text=True).stdout)
    return answer["shares"], answer["ms"]


def main():
    for name, (space, function, true) in FUNCTIONS.items():
        own, peer = [], []
        for seed in range(1, DATA_SETS + 1):
            dice = random.Random(seed)
            configs = [drawn(space, dice) for _ in range(RESULTS)]
            results = [{"config": config, "value": function(config)} for config in configs]
            own.append(rung_importance(sys.argv[1], space, results, seed))
            try:
                peer.append(optuna_fanova(space, results, seed))
            except ImportError as error:
                print("no peer: %s" % error, file=sys.stderr)
        for parameter in space:
            values = [shares[parameter] for shares, _ in own]
            others = [shares[parameter] for shares, _ in peer]
            print_figure("search", "importance_%s_%s" % (name, parameter), round(statistics.mean(values), 4),
                         round(statistics.mean(others), 4) if others else None, "optuna_fanova", None, true=round(true[parameter], 4),
                         deviation=round(statistics.stdev(others), 4) if others else None)
        value = statistics.median(ms for _, ms in own)
        other = statistics.median(ms for _, ms in peer) if peer else None
        print_figure("search", "importance_%s_ms" % name, round(value, 2), None if other is None else round(other, 2), "optuna_fanova",
                     None if other is None else round(other / value, 2))


if __name__ == "__main__":
    main()
