"""Trains the learning curves beside this file anew, on scikit-learn's bundled or generated data: make_tables.py [NAME ...]

Needs numpy and scikit-learn; minutes on one core. NAME.space: one parameter a line (../tables.py reads it). NAME.csv.gz: one random
config a row: its parameters (empty: inactive), then for each budget the validation loss, the test loss and the seconds since the
start. Losses are 1 - accuracy, or squared error over the variance in training. Each row has a training seed of its own, so that the
values carry real noise.
"""
import gzip
import math
import os
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from sklearn.datasets import load_diabetes, load_digits, make_classification  # noqa: E402
from sklearn.ensemble import GradientBoostingRegressor  # noqa: E402
from sklearn.linear_model import SGDClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from parameters import draw, parameters  # noqa: E402
from tables import read_space  # noqa: E402

BUDGETS = [1, 3, 9, 27, 81]
SHARES = [1, 3, 9, 27]
FAILED = (math.nan, math.nan, math.nan)


def split(features, targets, training, validation):
    order = np.random.default_rng(0).permutation(len(features))
    parts = np.split(order, [training, training + validation])
    mean, deviation = features[parts[0]].mean(0), features[parts[0]].std(0) + 1e-9
    scaled = (features - mean) / deviation
    return [(scaled[part], targets[part]) for part in parts]


def errors(model, parts):
    return [1 - float(np.mean(model.predict(features) == targets)) for features, targets in parts[1:]]


def by_epochs(model, parts, classes):
    rows, start = [], time.perf_counter()
    try:
        for epoch in range(1, BUDGETS[-1] + 1):
            model.partial_fit(*parts[0], classes=classes)
            if epoch in BUDGETS:
                seconds = time.perf_counter() - start
                rows.append((*errors(model, parts), seconds))
                start = time.perf_counter() - seconds
    except (ValueError, FloatingPointError, OverflowError):
        pass
    return rows + [FAILED] * (len(BUDGETS) - len(rows))


def mlp_digits():
    parts = split(*load_digits(return_X_y=True), 300, 500)

    def train(c, seed):
        model = MLPClassifier([c["width"]] * c["layers"], activation=c["act"], solver=c["solver"], alpha=c["alpha"],
                              batch_size=c["batch"], learning_rate_init=c["lr"], momentum=c.get("momentum", 0), random_state=seed)
        return by_epochs(model, parts, np.arange(10))

    return BUDGETS, train


def sgd_noisy():
    parts = split(*make_classification(9000, 40, n_informative=8, n_redundant=8, n_classes=3, n_clusters_per_class=2, flip_y=.15,
                                       class_sep=1.2, random_state=3), 400, 800)

    def train(c, seed):
        model = SGDClassifier(loss=c["loss"], penalty=c["penalty"], alpha=c["alpha"], l1_ratio=c.get("l1_ratio", 0),
                              learning_rate=c["schedule"], eta0=c["eta0"], power_t=c.get("power_t", .5), average=c["average"] == "yes",
                              random_state=seed)
        return by_epochs(model, parts, np.arange(3))

    return BUDGETS, train


def gbt_diabetes():
    parts = split(*load_diabetes(return_X_y=True), 180, 110)
    scale = float(np.var(parts[0][1]))

    def train(c, seed):
        start = time.perf_counter()
        model = GradientBoostingRegressor(loss=c["loss"], alpha=c.get("huber_alpha", .9), learning_rate=c["lr"],
                                          n_estimators=BUDGETS[-1], max_depth=c["depth"], subsample=c["subsample"],
                                          min_samples_leaf=c["leaf"], max_features=c["features"], random_state=seed).fit(*parts[0])
        seconds = time.perf_counter() - start
        curves = [[float(np.mean((said - part[1]) ** 2)) / scale for said in model.staged_predict(part[0])] for part in parts[1:]]
        return [(curves[0][b - 1], curves[1][b - 1], seconds * b / BUDGETS[-1]) for b in BUDGETS]

    return BUDGETS, train


def svc_digits():
    features, targets = load_digits(return_X_y=True)
    parts = split(features + np.random.default_rng(5).normal(0, 4, features.shape), targets, 810, 400)

    def train(c, seed):
        order, rows = np.random.default_rng(seed).permutation(810), []
        for share in SHARES:
            start, used = time.perf_counter(), order[:810 * share // 27]
            model = SVC(C=c["C"], kernel=c["kernel"], gamma=c.get("gamma", 1.), degree=c.get("degree", 3), coef0=c.get("coef0", 0.),
                        tol=c["tol"], max_iter=20000)
            try:
                model.fit(parts[0][0][used], parts[0][1][used])
                rows.append((*errors(model, parts), time.perf_counter() - start))
            except ValueError:
                rows.append(FAILED)
        return rows

    return SHARES, train


def write(name, budgets, train, count):
    space = read_space(os.path.join(HERE, name + ".space"))
    names, dice = [parameter.name for parameter in parameters(space)], np.random.default_rng(1)

    def text(value):
        if value is None or value != value:
            return ""
        return "%.5g" % value if isinstance(value, float) else str(value)

    lines = [names + [kind + str(budget) for kind in ("val", "test", "sec") for budget in budgets]]
    for _ in range(count):
        config = draw(space, dice)
        rows = train(config, int(dice.integers(1 << 30)))
        lines.append([text(config.get(each)) for each in names] + [text(row[kind]) for kind in range(3) for row in rows])
    with gzip.GzipFile(os.path.join(HERE, name + ".csv.gz"), "wb", mtime=0) as file:
        file.write(("\n".join(",".join(line) for line in lines) + "\n").encode())


ROWS = {"gbt_diabetes": 640, "sgd_noisy": 640, "mlp_digits": 640, "svc_digits": 1000}

for chosen in sys.argv[1:] or ROWS:
    write(chosen, *globals()[chosen](), ROWS[chosen])
