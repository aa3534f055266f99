"""Learning curves of real training as functions: tables/NAME.csv.gz holds one random config a row with its validation loss at each
budget (make_tables.py trained them; an empty value is a training that failed). A config stands for the nearest row that no other config
of the run stands for; regret is judged on the validation loss at the highest budget."""
import csv
import gzip
import os

import numpy as np

from parameters import parameters

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tables")


def read_space(path):
    """`name float|int LO HI [log]` or `name cat A,B`, then `if PARENT=V[,V]`: as a study file writes it."""
    space = {}
    with open(path) as file:
        for line in file:
            words, _, condition = line.strip().partition(" if ")
            name, kind, *rest = words.split()
            if kind == "cat":
                written = {"values": rest[0].split(",")}
            elif kind == "int":
                written = {"int": [int(rest[0]), int(rest[1])]}
            else:
                written = {"low": float(rest[0]), "high": float(rest[1])}
            if "log" in rest:
                written["log"] = True
            if condition:
                parent, values = condition.split("=")
                written["if"] = "%s in (%s)" % (parent, ", ".join(values.split(",")))
            space[name] = written
    return space


class Table:
    _read = {}  # by name: what the file holds; never changed

    def __init__(self, name):
        self.space = read_space(os.path.join(HERE, name + ".space"))
        self.parameters = parameters(self.space)
        if name not in self._read:
            self._read[name] = self.load(name)
        self.budgets, self.losses, self.points = self._read[name]
        self.b_min, self.b_max = self.budgets[0], self.budgets[-1]
        self.best = np.nanmin(self.losses[:, -1])
        self.row_of, self.free = {}, np.ones(len(self.losses), bool)

    def load(self, name):
        with gzip.open(os.path.join(HERE, name + ".csv.gz"), "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        budgets = sorted(int(column[3:]) for column in rows[0] if column.startswith("val"))
        losses = np.array([[float(row["val%d" % budget] or "nan") for budget in budgets] for row in rows])
        points = {parameter.name: np.array([self.place(parameter, row[parameter.name]) for row in rows])
                  for parameter in self.parameters}
        return budgets, losses, points

    @staticmethod
    def place(parameter, value):
        """A category's number, or where a number lies in its range; of an inactive one -1 and .5."""
        if parameter.kind == "category":
            return parameter.values.index(value) if value not in ("", None) else -1
        return parameter.share(float(value)) if value not in ("", None) else .5

    def row(self, config):
        key = tuple(sorted(config.items()))
        if key not in self.row_of:
            distance = np.zeros(len(self.losses))
            for parameter in self.parameters:
                off = self.points[parameter.name] - self.place(parameter, config.get(parameter.name))
                distance += (off != 0) if parameter.kind == "category" else off ** 2
            if self.free.any():
                distance[~self.free] = np.inf
            self.row_of[key] = int(np.argmin(distance))
            self.free[self.row_of[key]] = False
        return self.row_of[key]

    def value(self, config, budget, dice):
        rung = int(np.argmin([abs(budget - each) for each in self.budgets]))
        loss = float(self.losses[self.row(config), rung])
        return None if np.isnan(loss) else loss

    def regret(self, config):
        loss = self.losses[self.row(config), -1]
        return float((np.nanmax(self.losses[:, -1]) if np.isnan(loss) else loss) - self.best)
