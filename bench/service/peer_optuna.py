"""The same no-op trials in Optuna with its journal storage: one process per worker, random sampling.

peer_optuna.py main DIRECTORY WORKERS TRIALS        peer_optuna.py worker DIRECTORY TRIALS
peer_optuna.py curve DIRECTORY CALLS TRIALS...      as curve_driver.cc: ask and tell for Lease and Report
"""
import json
import math
import os
import subprocess
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import optuna  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage(directory):
    path = os.path.join(directory, "journal")
    try:
        backend = optuna.storages.journal.JournalFileBackend(path)
    except AttributeError:  # before Optuna 4
        backend = optuna.storages.JournalFileStorage(path)
    return optuna.storages.JournalStorage(backend)


def work(directory, trials):
    study = optuna.load_study(study_name="noop", storage=storage(directory), sampler=optuna.samplers.RandomSampler())
    with open(os.path.join(directory, "trace-%d" % os.getpid()), "w", buffering=1) as trace:
        def objective(trial):
            x = trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)
            started = time.monotonic()  # the config is known: until here it was the service's time
            trace.write("%.9f %.9f\n" % (started, time.monotonic()))
            return x
        study.optimize(objective, n_trials=trials)


def curve(directory, calls, depths):
    study = optuna.create_study(study_name="noop", storage=storage(directory), sampler=optuna.samplers.RandomSampler())
    leases, reports = [], []
    for _ in range(depths[-1] + calls):
        asked = time.monotonic()
        trial = study.ask()
        x = trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)
        told = time.monotonic()
        study.tell(trial, x)
        leases.append(1e3 * (told - asked))
        reports.append(1e3 * (time.monotonic() - told))
    for depth in depths:
        line = {"stored_trials": depth}
        for call, took in (("lease", leases), ("report", reports)):
            ordered = sorted(took[depth:depth + calls])
            line[call] = {"p50_ms": ordered[math.ceil(.5 * calls) - 1], "p99_ms": ordered[math.ceil(.99 * calls) - 1]}
        print(json.dumps(line))


if sys.argv[1] == "worker":
    work(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "curve":
    curve(sys.argv[2], int(sys.argv[3]), [int(word) for word in sys.argv[4:]])
else:
    directory, workers, trials = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    optuna.create_study(study_name="noop", storage=storage(directory))
    started = [subprocess.Popen([sys.executable, __file__, "worker", directory, str(trials // workers)])
               for _ in range(workers)]
    sys.exit(max(process.wait() for process in started))
