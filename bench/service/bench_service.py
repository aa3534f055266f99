"""What a trial costs besides its training: no-op trials a second, and the idle time of a worker between two trials.

bench_service.py --bin bin [--peer-python PYTHON] [--trials 400]
Prints one JSON line per figure. Real rungd and rung-worker (store fsynced, answers after COMMIT); the trainer answers at
once. The peer is Optuna with its journal storage, in the same minutes, with PYTHON's Optuna; without it peer is null.
"""
import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_SECONDS = 300


def figures(directory):
    """(trials a second, median and 99th percentile of the idle time in ms) from the traces."""
    spans, gaps = [], []
    for path in glob.glob(os.path.join(directory, "trace-*")):
        times = [tuple(map(float, line.split())) for line in open(path)]
        spans += times
        gaps += [after[0] - before[1] for before, after in zip(times, times[1:])]
    if len(spans) < 2:
        raise SystemExit("bench_service: no trials ran in " + directory)
    length = max(end for _, end in spans) - min(start for start, _ in spans)
    return (len(spans) / length, 1e3 * statistics.median(gaps), 1e3 * statistics.quantiles(gaps, n=100)[98])


def write_study(directory, trials):
    with open(os.path.join(directory, "train.csv"), "w") as file:
        file.write("sentence,label\n" + "".join("text %d,%s\n" % (i, "ab"[i % 2]) for i in range(40)))
    study = {"name": "noop",
             "trainer": {"type": "text_classification", "train": "train.csv", "validation": 0.5, "text": "sentence",
                         "label": "label", "options": {"model_name_or_path": "none"}},
             "objective": {"metric": "validation/accuracy", "goal": "maximize"},
             "budget": {"unit": "epochs", "min": 1, "max": 1, "eta": 3},
             "algorithm": {"type": "random"},
             "space": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}},
             "stop": {"trials": trials}, "seed": 1}
    with open(os.path.join(directory, "study.json"), "w") as file:
        json.dump(study, file)


def wait_for(path):
    for _ in range(1000):
        if os.path.exists(path):
            return
        time.sleep(0.01)
    raise SystemExit("bench_service: there is no " + path)


def run_rung(programs, workers, trials):
    with tempfile.TemporaryDirectory(prefix="rung-bench-") as directory:
        write_study(directory, trials)
        trainer = shutil.copy(os.path.join(HERE, "noop_trainer.py"), directory)
        os.chmod(trainer, 0o700)
        state = os.path.join(directory, ".rung")
        rung, rungd, worker = (os.path.join(programs, name) for name in ("rung", "rungd", "rung-worker"))
        os.mkdir(state, 0o700)
        processes = [subprocess.Popen([rungd, "--dir", state, "--exit-when-done"], stderr=subprocess.DEVNULL)]
        try:
            wait_for(os.path.join(state, "endpoint.json"))
            subprocess.run([rung, "study", "create", "study.json", "--no-check", "--dir", state], cwd=directory,
                           check=True, stdout=subprocess.DEVNULL)
            processes += [subprocess.Popen([worker, "--dir", state, "--slot", str(slot), "--trainer", trainer,
                                            "--exit-when-done"]) for slot in range(workers)]
            for process in processes[1:] + processes[:1]:
                process.wait(PATIENCE_SECONDS)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
        return figures(directory)


def run_optuna(python, workers, trials):
    with tempfile.TemporaryDirectory(prefix="rung-bench-") as directory:
        subprocess.run([python, os.path.join(HERE, "peer_optuna.py"), "main", directory, str(workers), str(trials)],
                       check=True, timeout=PATIENCE_SECONDS)
        return figures(directory)


def line(figure, ours, peer, more_is_better):
    ratio = None
    if peer is not None:
        ratio = round(ours / peer if more_is_better else peer / ours, 2)
    print(json.dumps({"bench": "service", "figure": figure, "rung": round(ours, 3),
                      "peer": None if peer is None else round(peer, 3),
                      "peer_name": None if peer is None else "optuna_journal", "ratio": ratio}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="directory of rung, rungd and rung-worker")
    parser.add_argument("--peer-python", default="", help="an interpreter with Optuna")
    parser.add_argument("--trials", type=int, default=400)
    arguments = parser.parse_args()
    for workers in (1, 2):
        ours = run_rung(os.path.abspath(arguments.bin), workers, arguments.trials)
        peer = run_optuna(arguments.peer_python, workers, arguments.trials) if arguments.peer_python else (None,) * 3
        name = "%d_worker%s" % (workers, "s" if workers > 1 else "")
        line("noop_trials_per_second_" + name, ours[0], peer[0], True)
        line("idle_ms_median_" + name, ours[1], peer[1], False)
        line("idle_ms_p99_" + name, ours[2], peer[2], False)


if __name__ == "__main__":
    sys.exit(main())
