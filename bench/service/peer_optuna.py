"""The same no-op trials in Optuna with its journal storage: one process per worker, random sampling.

peer_optuna.py main DIRECTORY WORKERS TRIALS        peer_optuna.py worker DIRECTORY TRIALS
"""
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


if sys.argv[1] == "worker":
    work(sys.argv[2], int(sys.argv[3]))
else:
    directory, workers, trials = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    optuna.create_study(study_name="noop", storage=storage(directory))
    started = [subprocess.Popen([sys.executable, __file__, "worker", directory, str(trials // workers)])
               for _ in range(workers)]
    sys.exit(max(process.wait() for process in started))
