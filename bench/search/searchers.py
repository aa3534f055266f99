"""Rung and its peers behind one face: ask() gives a Job or None (nothing to do until a result comes), tell(job, value) reports one;
value None is a training that failed. make(name, function, seed, arguments) is a context manager.
"""
import contextlib
import json
import logging
import math
import os
import subprocess
import tempfile

import numpy as np

from functions import ETA
from parameters import draw, parameters

FAILED = 1e6  # what a searcher without a word for failures is told


class Job:
    """One training: of `config` up to `budget`, of which `paid` is new."""
    __slots__ = ("config", "budget", "paid", "key", "ask_ms")

    def __init__(self, config, budget, paid, key, ask_ms=None):
        self.config, self.budget, self.paid, self.key, self.ask_ms = config, budget, paid, key, ask_ms

    def __lt__(self, other):
        return False


class Rung:
    """The product's own search, through study_driver."""

    def __init__(self, function, seed, arguments):
        algorithm = arguments.algorithm
        if algorithm.startswith("@"):
            with open(algorithm[1:]) as file:
                algorithm = file.read()
        study = {"name": "protocol", "trainer": {"type": "command"}, "objective": {"metric": "loss", "goal": "minimize"},
                 "budget": {"unit": "steps", "min": function.b_min, "max": function.b_max, "eta": ETA,
                            "on_promotion": arguments.on_promotion},
                 "algorithm": json.loads(algorithm), "space": function.space, "stop": {"trials": 1000000}, "seed": seed}
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(study, file)
        self.path = file.name
        self.process = subprocess.Popen([arguments.driver, file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answer(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("study_driver ended at " + json.dumps(request))
        return json.loads(line)

    def ask(self):
        job = self.answer({"ask": True})
        return Job(job["config"], job["budget"], job["paid"], job["job"], job["ms"]) if "job" in job else None

    def tell(self, job, value):
        if value is None or not math.isfinite(value):
            self.answer({"fail": job.key})
        else:
            self.answer({"tell": job.key, "value": value})

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        os.unlink(self.path)


class Random:
    def __init__(self, function, seed, _):
        self.function, self.dice = function, np.random.default_rng(seed)

    def ask(self):
        return Job(draw(self.function.space, self.dice), self.function.b_max, self.function.b_max, None)

    def tell(self, job, value):
        pass

    def close(self):
        pass


class HpBandSter:
    """The package's own config generator, iterations and bracket arithmetic, called in the order of its Master.run."""

    def __init__(self, function, seed, kind):
        import hpbandster_today
        hpbandster_today.give_back()
        logging.disable(logging.CRITICAL)
        from hpbandster.core.dispatcher import Job as Result
        from hpbandster.optimizers import config_generators
        from hpbandster.optimizers.bohb import BOHB
        from hpbandster.optimizers.config_generators.bohb import BOHB as Generator
        from hpbandster.optimizers.config_generators.random_sampling import RandomSampling
        from hpbandster.optimizers.hyperband import HyperBand
        hpbandster_today.same_densities_sooner(config_generators.bohb)
        np.random.seed(seed)
        space = config_space(function.space, seed)
        self.function, self.result = function, Result
        self.master = (BOHB if kind == "bohb" else HyperBand).__new__(BOHB if kind == "bohb" else HyperBand)
        master = self.master  # without its network: what its constructor sets of the plan
        master.config_generator = Generator(configspace=space) if kind == "bohb" else RandomSampling(configspace=space)
        master.eta, master.min_budget, master.max_budget = ETA, function.b_min, function.b_max
        master.max_SH_iter = -int(np.log(master.min_budget / master.max_budget) / np.log(ETA)) + 1
        master.budgets = master.max_budget * np.power(ETA, -np.linspace(master.max_SH_iter - 1, 0, master.max_SH_iter))
        self.iterations, self.opened = [], 0

    def ask(self):
        while True:
            for iteration in self.iterations:
                if iteration.is_finished:
                    continue
                found = iteration.get_next_run()
                if found is not None:
                    key, config, budget = found
                    return Job(config, float(budget), float(budget), key)
            self.iterations = [each for each in self.iterations if not each.is_finished]
            self.iterations.append(self.master.get_next_iteration(self.opened, {}))
            self.opened += 1

    def tell(self, job, value):
        result = self.result(job.key, config=job.config, budget=job.budget, working_directory=".")
        result.result = {"loss": FAILED if value is None else value, "info": {}}
        next(each for each in self.iterations if each.HPB_iter == job.key[0]).register_result(result)
        self.master.config_generator.new_result(result)

    def close(self):
        pass


def config_space(space, seed):
    import ConfigSpace
    made = ConfigSpace.ConfigurationSpace(seed=seed)
    for p in parameters(space):
        if p.kind == "category":
            made.add(ConfigSpace.CategoricalHyperparameter(p.name, p.values))
        else:
            kind = ConfigSpace.UniformFloatHyperparameter if p.kind == "float" else ConfigSpace.UniformIntegerHyperparameter
            made.add(kind(p.name, p.low, p.high, log=p.log))
    for p in parameters(space):
        if p.parent is not None:
            made.add(ConfigSpace.InCondition(made[p.name], made[p.parent], list(p.parent_values)))
    return made


class Optuna:
    """A sampler with Hyperband's pruner: a trial goes on until it is pruned. Or without one: each trial at the full budget."""

    def __init__(self, function, seed, sampler, pruned=True):
        import optuna
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.parameters = optuna, parameters(function.space)
        pruner = optuna.pruners.HyperbandPruner(min_resource=function.b_min, max_resource=function.b_max, reduction_factor=ETA) \
            if pruned else optuna.pruners.NopPruner()
        self.study = optuna.create_study(sampler=sampler(optuna, seed), pruner=pruner)
        self.rungs = [function.b_max]
        if pruned:
            self.rungs = [function.b_min * ETA ** i for i in range(64) if function.b_min * ETA ** i < function.b_max * (1 - 1e-9)]
            self.rungs.append(function.b_max)
        self.goes_on = []

    def suggest(self, trial):
        config = {}
        for p in self.parameters:
            if not p.active(config):
                continue
            if p.kind == "category":
                config[p.name] = trial.suggest_categorical(p.name, p.values)
            else:
                suggest = trial.suggest_float if p.kind == "float" else trial.suggest_int
                config[p.name] = suggest(p.name, p.low, p.high, log=p.log)
        return config

    def ask(self):
        if self.goes_on:
            return self.goes_on.pop()
        trial = self.study.ask()
        return Job(self.suggest(trial), self.rungs[0], self.rungs[0], (trial, 0))

    def tell(self, job, value):
        trial, rung = job.key
        state = self.optuna.trial.TrialState
        if value is None:
            self.study.tell(trial, state=state.FAIL)
            return
        if len(self.rungs) > 1:
            trial.report(value, int(job.budget))
        if rung + 1 == len(self.rungs):
            self.study.tell(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=state.PRUNED)
        else:
            budget = self.rungs[rung + 1]
            self.goes_on.append(Job(job.config, budget, budget - job.budget, (trial, rung + 1)))

    def close(self):
        pass


def tpe(optuna, seed):
    return optuna.samplers.TPESampler(seed=seed)


def gp(optuna, seed):
    import torch
    torch.set_num_threads(1)
    return optuna.samplers.GPSampler(seed=seed)


PEERS = {
    "random": Random,
    "hpbandster_hyperband": lambda function, seed, _: HpBandSter(function, seed, "hyperband"),
    "hpbandster_bohb": lambda function, seed, _: HpBandSter(function, seed, "bohb"),
    "optuna_tpe_hyperband": lambda function, seed, _: Optuna(function, seed, tpe),
    "optuna_gp": lambda function, seed, _: Optuna(function, seed, gp, pruned=False),
}


@contextlib.contextmanager
def make(name, function, seed, arguments):
    made = PEERS[name](function, seed, arguments) if arguments.command == "peer" else Rung(function, seed, arguments)
    try:
        yield made
    finally:
        made.close()
