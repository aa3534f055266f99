"""Scores of random predictions by scikit-learn and scipy: scores_fixture.py OUT_DIR. Writes scores.json."""
import json
import math
import os
import sys
import warnings

import numpy
import scipy.stats
from sklearn import metrics

warnings.filterwarnings("ignore")


def averages(truth, predicted, kinds):
    values = {}
    for name, score in (("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score)):
        for kind in kinds:
            values[f"{name}_{kind}"] = score(truth, predicted, average=kind, zero_division=0)
    return values


def table(truth, predicted, labels):
    return numpy.array(metrics.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)).T.tolist()


def single(dice):
    labels = int(dice.integers(2, 9))
    rows = int(dice.choice([1, 2, 5, 40, 700]))
    used = dice.choice(labels, size=int(dice.integers(1, labels + 1)), replace=False)  # some classes stay away
    truth = dice.choice(used, size=rows)
    predicted = numpy.where(dice.random(rows) < dice.random(), truth, dice.choice(dice.permutation(labels)[:max(1, labels - 1)], size=rows))
    values = averages(truth, predicted, ("macro", "weighted"))
    values |= {"accuracy": metrics.accuracy_score(truth, predicted), "f1_micro": metrics.f1_score(truth, predicted, average="micro"),
               "mcc": metrics.matthews_corrcoef(truth, predicted)}
    every = list(range(labels))
    return {"labels": labels, "truth": truth.tolist(), "predicted": predicted.tolist(), "values": values, "classes": table(truth, predicted, every),
            "matrix": metrics.confusion_matrix(truth, predicted, labels=every).tolist()}


def multiple(dice):
    labels, rows = int(dice.integers(2, 9)), int(dice.choice([1, 2, 5, 40, 700]))
    truth = dice.random((rows, labels)) < dice.random(labels)
    predicted = numpy.where(dice.random((rows, labels)) < 0.7, truth, dice.random((rows, labels)) < 0.5)
    values = averages(truth, predicted, ("macro", "weighted"))
    values |= {"accuracy": metrics.accuracy_score(truth, predicted), "f1_micro": metrics.f1_score(truth, predicted, average="micro", zero_division=0)}
    return {"truth": truth.tolist(), "predicted": predicted.tolist(), "values": values, "classes": table(truth, predicted, None)}


def correlation(dice):
    rows = int(dice.choice([2, 3, 10, 500]))
    truth = dice.normal(size=rows)
    predicted = truth * dice.normal() + dice.normal(size=rows)
    if dice.random() < 0.5:  # ties
        truth, predicted = numpy.round(truth), numpy.round(predicted)
    if dice.random() < 0.1:
        predicted = numpy.full(rows, 3.0)
    values = {"pearson": float(scipy.stats.pearsonr(truth, predicted)[0]), "spearman": float(scipy.stats.spearmanr(truth, predicted)[0])}
    return {"truth": truth.tolist(), "predicted": predicted.tolist(),
            "values": {name: None if math.isnan(value) else value for name, value in values.items()}}


def main():
    dice = numpy.random.default_rng(7)
    cases = {"single": [single(dice) for _ in range(300)], "multiple": [multiple(dice) for _ in range(200)],
             "correlation": [correlation(dice) for _ in range(200)]}
    with open(os.path.join(sys.argv[1], "scores.json"), "w") as file:
        json.dump(cases, file)


if __name__ == "__main__":
    main()
