"""The functions that searchers are judged on. None needs a download; every optimum is known.

A function has `space` (as a study file writes it), `b_min`, `b_max`, `value(config, budget, dice)`: what a training would report,
and `regret(config)`: how far the config truly is from the best, at b_max and without noise. A value of None is a training that failed.
`dice` is a numpy Generator; everything is minimised.
"""
import math

import numpy as np

from tables import Table

ETA = 3


def unit(names):
    return {name: {"low": 0.0, "high": 1.0} for name in names}


def names_of(letter, count):
    return ["%s%02d" % (letter, i) for i in range(count)]


class CountingOnes:
    """Falkner et al. 2018, section 5.1: categories count themselves, numbers are probabilities of coins thrown `budget` times."""
    b_min, b_max = 9, 729

    def __init__(self, categories, numbers):
        self.categories, self.numbers = names_of("c", categories), names_of("x", numbers)
        self.space = {**{name: ["no", "yes"] for name in self.categories}, **unit(self.numbers)}

    def value(self, config, budget, dice):
        throws = max(int(round(budget)), 1)
        ones = sum(config[name] == "yes" for name in self.categories)
        coins = dice.binomial(throws, [min(max(config[name], 0.), 1.) for name in self.numbers]).sum() / throws
        return -float(ones + coins) / len(self.space)

    def regret(self, config):
        ones = sum(config[name] == "yes" for name in self.categories) + sum(config[name] for name in self.numbers)
        return 1 - ones / len(self.space)


class Hartmann:
    """Hartmann 3 and 6 with a bias and noise that fade with the budget (Kandasamy et al. 2017; constants of MFPBench)."""
    b_min, b_max = 1, 100
    ALPHA = np.array([1., 1.2, 3., 3.2])
    A = {3: np.array([[3., 10, 30], [.1, 10, 35], [3., 10, 30], [.1, 10, 35]]),
         6: np.array([[10, 3, 17, 3.5, 1.7, 8], [.05, 10, 17, .1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, .05, 10, .1, 14]])}
    P = {3: 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
         6: 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                             [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])}
    OPTIMUM = {3: -3.86278, 6: -3.32237}

    def __init__(self, dimensions, bias=.5, noise=.1, noise_at_top=0.):
        self.dimensions, self.bias, self.noise, self.noise_at_top = dimensions, bias, noise, noise_at_top
        self.names = names_of("x", dimensions)
        self.space = unit(self.names)

    def at(self, config, z):
        x = np.array([config[name] for name in self.names])
        bumps = np.exp(-np.sum(self.A[self.dimensions] * (x - self.P[self.dimensions]) ** 2, axis=1))
        return -float(np.dot(self.ALPHA - self.bias * (1 - z), bumps))

    def value(self, config, budget, dice):
        z = math.log(max(int(budget + 1e-9), 1)) / math.log(self.b_max)
        noise = abs(dice.normal()) * self.noise * (1 - z) + dice.normal() * self.noise_at_top
        return self.at(config, z) + noise

    def regret(self, config):
        return self.at(config, 1.) - self.OPTIMUM[self.dimensions]


class Smooth:
    """A function of a config and z in [0, 1], the logarithm of the budget's share."""
    b_min, b_max, optimum = 1, 81, 0.

    def value(self, config, budget, dice):
        return self.at(config, math.log(budget / self.b_min) / math.log(self.b_max / self.b_min))

    def regret(self, config):
        return self.at(config, 1.) - self.optimum


class Branin(Smooth):
    optimum = 0.397887
    space = unit(["x0", "x1"])

    def at(self, config, z):
        x, y = 15 * config["x0"] - 5, 15 * config["x1"]
        b, c, t = 5.1 / (4 * math.pi ** 2) - .01 * (1 - z), 5 / math.pi - .1 * (1 - z), 1 / (8 * math.pi) + .05 * (1 - z)
        return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


class Currin(Smooth):
    optimum = -13.798722
    space = unit(["x0", "x1"])

    def at(self, config, z):
        x, y = config["x0"], max(config["x1"], 1e-9)
        ratio = (2300 * x ** 3 + 1900 * x ** 2 + 2092 * x + 60) / (100 * x ** 3 + 500 * x ** 2 + 4 * x + 20)
        return -(1 - (1 - .1 * (1 - z)) * math.exp(-1 / (2 * y))) * ratio


class Tables(Smooth):
    """Shuffled tables, one per category; the loss is their mean, noisy at small budgets."""

    def __init__(self, parameters, levels, noise=.3):
        dice = np.random.default_rng(7)
        self.noise = noise
        self.tables = {name: dict(zip(self.level_names(levels), dice.permutation(np.linspace(0, 1, levels)).tolist()))
                       for name in names_of("c", parameters)}
        self.space = {name: self.level_names(levels) for name in self.tables}

    @staticmethod
    def level_names(levels):
        return ["v%d" % i for i in range(levels)]

    def at(self, config, z):
        return sum(table[config[name]] for name, table in self.tables.items()) / len(self.tables)

    def value(self, config, budget, dice):
        z = math.log(budget) / math.log(self.b_max)
        return self.at(config, z) + dice.normal() * self.noise * (1 - z) / math.sqrt(len(self.tables))


class Branches(Smooth):
    """Conditional: each branch has parameters of its own, and the best branch looks worst at small budgets."""
    BRANCHES = {"quick": (.25, .0, 2), "middle": (.1, .15, 3), "slow": (.0, .45, 4)}  # floor, handicap at z = 0, parameters

    def __init__(self):
        self.space = {"branch": list(self.BRANCHES)}
        for name, (_, _, count) in self.BRANCHES.items():
            for i in range(count):
                self.space["%s_x%d" % (name, i)] = {"low": 0.0, "high": 1.0, "if": "branch = %s" % name}

    def at(self, config, z):
        floor, handicap, count = self.BRANCHES[config["branch"]]
        off = sum((config["%s_x%d" % (config["branch"], i)] - .2 - .15 * i) ** 2 for i in range(count)) / count
        return floor + handicap * (1 - z) + off


class Crossing(Smooth):
    """Learning curves that cross: what learns fast ends high, as a high learning rate does."""
    space = {"rate": {"low": 1e-4, "high": 1.0, "log": True}, "size": {"low": 0.0, "high": 1.0}, "drop": {"low": 0.0, "high": 1.0}}

    def at(self, config, z):
        speed = (math.log10(config["rate"]) + 4) / 4
        floor = .4 * (speed - .35) ** 2 + .3 * (config["size"] - .8) ** 2 + .2 * (config["drop"] - .3) ** 2
        steps = self.b_max ** z
        left = math.exp(-steps * (.02 + .6 * speed ** 2) / (1 + 2 * config["size"]))
        last = math.exp(-self.b_max * (.02 + .6 * speed ** 2) / (1 + 2 * config["size"]))
        return floor + left if z < 1 else floor + last

    optimum = 0.0  # set below

    def value(self, config, budget, dice):
        return super().value(config, budget, dice) + dice.normal() * .01


class Wide(Smooth):
    """50 numbers of which 8 matter."""
    space = unit(names_of("x", 50))

    def at(self, config, z):
        off = sum((config["x%02d" % i] - (.15 + .1 * i)) ** 2 / (1 + i / 4) for i in range(8))
        return off + .3 * (1 - z) * abs(config["x40"] - .5)


class Failing:
    """Another function of which three configs in ten fail: those in one part of the space, at any budget."""

    def __init__(self, inner):
        self.inner, self.space, self.b_min, self.b_max = inner, inner.space, inner.b_min, inner.b_max
        self.first = next(iter(inner.space))

    def value(self, config, budget, dice):
        return None if config[self.first] > .7 else self.inner.value(config, budget, dice)

    def regret(self, config):
        return self.inner.regret(config)


def _best_of_crossing():
    """By a fine grid and shrinking steps around its best: a function of one computation, equal everywhere."""
    function = Crossing()
    best = min(((function.at({"rate": 10 ** (-4 + 4 * i / 80), "size": s / 20, "drop": .3}, 1.), i / 80, s / 20)
                for i in range(81) for s in range(21)))
    _, speed, size = best
    step = 1 / 40
    for _ in range(40):
        best = min((function.at({"rate": 10 ** (-4 + 4 * min(max(speed + a * step, 0), 1)),
                                 "size": min(max(size + b * step, 0), 1), "drop": .3}, 1.),
                    speed + a * step, size + b * step) for a in (-1, 0, 1) for b in (-1, 0, 1))
        _, speed, size = best
        step *= .75
    return best[0]


Crossing.optimum = _best_of_crossing()

# The first ten are those of the literature, on which the constants of search/ may be chosen; the others are held back.
FUNCTIONS = {
    "counting8+8": lambda: CountingOnes(8, 8), "counting16+16": lambda: CountingOnes(16, 16),
    "mfh3": lambda: Hartmann(3), "mfh6": lambda: Hartmann(6),
    "mfh6good": lambda: Hartmann(6, 2.5, 2), "mfh6terrible": lambda: Hartmann(6, 4, 5),
    "branin": Branin, "currin": Currin, "cat8x10": lambda: Tables(8, 10), "cat8x3": lambda: Tables(8, 3),
    "branches": Branches, "crossing": Crossing, "noisy-mfh6": lambda: Hartmann(6, .5, .1, .3),
    "failing-mfh3": lambda: Failing(Hartmann(3)), "wide": Wide, "cat4x5": lambda: Tables(4, 5),
    "mlp_digits": lambda: Table("mlp_digits"), "sgd_noisy": lambda: Table("sgd_noisy"),
    "gbt_diabetes": lambda: Table("gbt_diabetes"), "svc_digits": lambda: Table("svc_digits")}
