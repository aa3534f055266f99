"""Judges searchers on functions: simulated workers, paired seeds, the true regret of the incumbent over the budget spent.

protocol.py rung --driver STUDY_DRIVER [--algorithm '{"type": "bohb"}' | @FILE] [--name NAME] ... --out OUT.jsonl
protocol.py peer NAME[,NAME] ... --out OUT.jsonl     (with a Python that has the peer's package; names: random, hpbandster_bohb, ...)
    --functions F[,F] | all    --seeds 0-29    --workers 1,8,32    --budget 100 (full budgets)    --jobs 2
protocol.py table FILE...                            a table for each number of workers and point, for people
protocol.py report RUNG.jsonl PEERS.jsonl...         one JSON line per figure
protocol.py picture DIRECTORY FILE...                one SVG per function and number of workers

One line of OUT is one run: {"searcher", "function", "seed", "workers", "curve": [[spent, clock, regret], ...], "ask_ms": [p50, p99],
"evaluations", "utilisation", "versions"}; the curve has a point where the incumbent's regret changes. A run that is there already is
not made again. The incumbent is the best *observed* value at the highest budget seen so far; regret is its true one, which no
searcher sees. Cost: the budget really trained, in units of b_max; a searcher that resumes pays the difference.
"""
import argparse
import heapq
import importlib.metadata
import json
import math
import multiprocessing
import os
import sys
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402

import functions  # noqa: E402
import picture  # noqa: E402
import report  # noqa: E402
import searchers  # noqa: E402

PACKAGES = ("optuna", "hpbandster", "ConfigSpace", "statsmodels", "numpy", "dehb", "smac", "syne-tune")


def simulate(searcher, function, seed, workers, budget):
    """Runs until `budget` b_max are spent. A job takes as long as it costs; a worker without one waits for the next result."""
    dice = np.random.default_rng(10_000 + seed)
    clock = spent = committed = busy = 0.
    running, asks, curve = [], [], []
    best, best_budget, count = math.inf, -1., 0
    while True:
        while len(running) < workers and committed < budget - 1e-9:
            start = time.perf_counter()
            job = searcher.ask()
            asks.append((time.perf_counter() - start) * 1000 if job is None or job.ask_ms is None else job.ask_ms)
            if job is None:
                break
            cost = job.paid / function.b_max
            committed += cost
            busy += cost
            count += 1
            heapq.heappush(running, (clock + cost, count, cost, job, function.value(job.config, job.budget, dice)))
        if not running:
            break
        clock, _, cost, job, value = heapq.heappop(running)
        spent += cost
        searcher.tell(job, value)
        higher = job.budget > best_budget * (1 + 1e-9)
        if value is not None and (higher or (job.budget > best_budget * (1 - 1e-9) and value < best)):
            best, best_budget = value, max(best_budget, job.budget)
            regret = float("%.4g" % function.regret(job.config))
            if not curve or curve[-1][2] != regret:
                curve.append([round(spent, 3), round(clock, 3), regret])
    return {"curve": curve, "evaluations": count, "utilisation": round(busy / (workers * clock), 4) if clock else None,
            "ask_ms": [float("%.3g" % np.percentile(asks, share)) for share in (50, 99)]}


def run(task):
    arguments, searcher_name, function_name, seed, workers = task
    function = functions.FUNCTIONS[function_name]()
    begin = time.time()
    with searchers.make(searcher_name, function, seed, arguments) as searcher:
        figures = simulate(searcher, function, seed, workers, arguments.budget)
    return {"searcher": searcher_name, "function": function_name, "seed": seed, "workers": workers, **figures,
            "seconds": round(time.time() - begin, 2)}


def versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def done_already(path):
    if not os.path.exists(path):
        return set()
    with open(path) as file:
        return {(r["searcher"], r["function"], r["seed"], r["workers"]) for r in map(json.loads, file)}


def run_all(arguments, names):
    chosen = list(functions.FUNCTIONS) if arguments.functions == "all" else arguments.functions.split(",")
    first, _, last = arguments.seeds.partition("-")
    done = done_already(arguments.out)
    tasks = [(arguments, name, function, seed, workers) for seed in range(int(first), int(last or first) + 1)
             for workers in map(int, arguments.workers.split(",")) for function in chosen for name in names
             if (name, function, seed, workers) not in done]
    about = {} if arguments.command == "rung" else {"versions": versions()}
    with multiprocessing.Pool(arguments.jobs, maxtasksperchild=20) as pool, open(arguments.out, "a", buffering=1) as out:
        for line in pool.imap_unordered(run, tasks):
            out.write(json.dumps({**line, **about}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("rung", "peer"):
        sub = commands.add_parser(command)
        if command == "rung":
            sub.add_argument("--driver", required=True)
            sub.add_argument("--algorithm", default='{"type": "bohb"}', help='JSON of "algorithm", or @FILE')
            sub.add_argument("--on-promotion", default="resume", choices=("resume", "restart"))
            sub.add_argument("--name", default="rung")
        else:
            sub.add_argument("names")
        sub.add_argument("--functions", default="all")
        sub.add_argument("--seeds", default="0-29")
        sub.add_argument("--workers", default="1")
        sub.add_argument("--budget", type=float, default=100)
        sub.add_argument("--jobs", type=int, default=os.cpu_count())
        sub.add_argument("--out", required=True)
    for command in ("table", "report"):
        commands.add_parser(command).add_argument("files", nargs="+")
    sub = commands.add_parser("picture")
    sub.add_argument("directory")
    sub.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "table":
        report.print_tables(report.read(arguments.files))
    elif arguments.command == "picture":
        picture.write(report.read(arguments.files), arguments.directory)
    elif arguments.command == "report":
        report.print_figures(report.read(arguments.files[:1]), report.read(arguments.files[1:]))
    else:
        run_all(arguments, [arguments.name] if arguments.command == "rung" else arguments.names.split(","))


if __name__ == "__main__":
    sys.exit(main())
