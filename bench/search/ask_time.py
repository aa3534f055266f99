"""Time of one proposal after N results, Rung's BOHB against the peers in the same minutes: one JSON line per figure, ratio > 1 =
Rung is better.

ask_time.py ASK_BENCH      (run with a Python that has optuna and hpbandster; without one its figures are null)
"""
import json
import logging
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import hpbandster_today  # noqa: E402
from figure_line import print_figure  # noqa: E402

LEVELS = list("abcde")


def loss(params):
    return sum((v - .3) ** 2 if isinstance(v, float) else (0 if v == "a" else .2) for v in params.values())


def timed(count, ask):
    """Sorted milliseconds of `count` calls."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        told = ask()
        times.append((time.perf_counter() - start) * 1000)
        if told:
            told()
    return sorted(times)


def optuna_tpe(results):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {"x%d" % i: optuna.distributions.FloatDistribution(0, 1) for i in range(8)}
    space.update({"c%d" % i: optuna.distributions.CategoricalDistribution(LEVELS) for i in range(4)})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(results):
        trial = study.ask(space)
        study.tell(trial, loss(trial.params))
    study.sampler = optuna.samplers.TPESampler(seed=2, multivariate=True)

    def ask():
        trial = study.ask(space)
        return lambda: study.tell(trial, state=optuna.trial.TrialState.FAIL)

    return timed(50, ask)


def hpbandster(results):
    logging.disable(logging.CRITICAL)
    hpbandster_today.give_back()
    import ConfigSpace
    import numpy
    from hpbandster.core.dispatcher import Job
    from hpbandster.optimizers.config_generators.bohb import BOHB
    numpy.random.seed(1)
    space = ConfigSpace.ConfigurationSpace(seed=1)
    space.add([ConfigSpace.UniformFloatHyperparameter("x%d" % i, 0., 1.) for i in range(8)])
    space.add([ConfigSpace.CategoricalHyperparameter("c%d" % i, LEVELS) for i in range(4)])
    generator = BOHB(configspace=space, random_fraction=0)
    for i in range(results):
        config = space.sample_configuration().get_dictionary()
        job = Job((0, 0, i), config=config, budget=1.)
        job.result = {"loss": loss(config), "info": {}}
        generator.new_result(job, update_model=i == results - 1)

    def ask():
        _, info = generator.get_config(1.)
        if not info["model_based_pick"]:
            raise SystemExit("ask_time: HpBandSter proposed at random")

    return timed(20, ask)


PEERS = {"optuna_tpe": (optuna_tpe, (100, 1000)), "hpbandster": (hpbandster, (100, 1000))}


def main():
    own = subprocess.run([sys.argv[1], "bohb"], check=True, capture_output=True, text=True).stdout
    for figures in map(json.loads, own.splitlines()):
        for peer_name, (measure, sizes) in PEERS.items():
            peer = None
            if figures["results"] in sizes:
                try:
                    peer = measure(figures["results"])
                except ImportError as error:
                    print("no peer: %s" % error, file=sys.stderr)
            for name, share in (("p50", .5), ("p99", .99)):
                value = figures[name + "_ms"]
                other = None if peer is None else round(peer[int(len(peer) * share)], 4)
                print_figure("search", "ask_%s_ms_at_%d" % (name, figures["results"]), value, other, peer_name,
                             None if other is None else round(other / value, 2))


if __name__ == "__main__":
    main()
