"""A coordinator under load: how long Lease and Report take for 1,000 workers at 1,000 calls a second, how much memory that takes,
and what a call costs with 10 to 10,000 stored trials (against Optuna's ask and tell in the same minutes).

bench_load.py --bin bin --drivers build/release/bench [--seconds 60] [--peer-python PYTHON]
Prints one JSON line per figure, times in ms; exit 1 where a bar is missed. A real rungd with its store fsynced; workers connect as
from another host: TLS with the directory's CA shows the coordinator, a token the worker. The driver runs on the same machine.
The peer is Optuna with its journal storage, with PYTHON's Optuna, one process that asks and tells without a pause.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from bench_service import Service  # noqa: E402
from figure_line import print_figure  # noqa: E402

WORKERS, CALLS_PER_SECOND = 1000, 1000
STORED_TRIALS, CALLS_EACH = (10, 100, 1000, 10000), 200
BAR_P99_MS = 25
BAR_MEMORY_MB = 300
BAR_GROWTH_MB = 10  # beyond what a coordinator needs that starts with the same store
BAR_CURVE = 1.25  # "the same" of two means of 400 calls
ENDLESS_TRIALS = 10000000
SECURITY = "TLS, the worker by its token"
PEER_CALLS = {"lease": "ask", "report": "tell"}


def run(command):
    """What it printed, a JSON object a line."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def start_coordinator(service):
    """Its memory in MB (1e6 bytes), once it has read its store."""
    process = service.start_coordinator("--listen", "127.0.0.1:0", "--advertise", "localhost")
    endpoint = os.path.join(service.state, "endpoint.json")
    while json.load(open(endpoint))["pid"] != process.pid:
        time.sleep(0.01)
    with open("/proc/%d/status" % process.pid) as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    return process, kib * 1024 / 1e6


def create_study(service):
    """A random search of the documented space that does not end, and whose results are known again."""
    with open(os.path.join(HERE, "../../spaces/text-classification.json")) as file:
        space = json.load(file)
    study = {"name": "load", "trainer": {"type": "command", "argv": ["./noop_trainer.py"], "deterministic": True},
             "objective": {"metric": "validation/accuracy", "goal": "maximize"}, "budget": {"min": 1, "max": 1},
             "algorithm": {"type": "random"}, "space": space, "stop": {"trials": ENDLESS_TRIALS}}
    with open(os.path.join(service.directory, "study.json"), "w") as file:
        json.dump(study, file)
    subprocess.run([os.path.join(service.programs, "rung"), "study", "create", "study.json", "--dir", service.state],
                   cwd=service.directory, check=True, stdout=subprocess.DEVNULL)


def drive(arguments, driver, *words):
    """The driver's figures, and by how much the coordinator's memory differs between an empty store and, after a restart, this one."""
    with Service(arguments.bin, "noop_trainer.py") as service:
        process, empty_mb = start_coordinator(service)
        create_study(service)
        figures = run([os.path.join(arguments.drivers, driver), service.state, *map(str, words)])
        process.kill()
        process.wait()
        return figures, start_coordinator(service)[1] - empty_mb


def run_optuna(python):
    with tempfile.TemporaryDirectory(prefix="rung-bench-") as directory:
        return run([python, os.path.join(HERE, "peer_optuna.py"), "curve", directory, str(CALLS_EACH), *map(str, STORED_TRIALS)])


def rounded(value):
    return None if value is None else round(value, 3)


def print_curve(ours, peers):
    """The number of bars that were missed. Times include the disk's; what the coordinator's processor does for a call is its own."""
    for call in ("lease", "report"):
        name = "optuna_journal_" + PEER_CALLS[call] if peers else None
        for mine, peer in zip(ours, peers or [None] * len(ours)):
            p50, peer_p50 = mine[call]["p50_ms"], peer and peer[call]["p50_ms"]
            print_figure("service", "%s_ms_at_%d_trials" % (call, mine["stored_trials"]), rounded(p50), rounded(peer_p50), name,
                         peer and round(peer_p50 / p50, 2), stored_trials=mine["stored_trials"], p50_ms=rounded(p50),
                         p99_ms=rounded(mine[call]["p99_ms"]), peer_p99_ms=rounded(peer and peer[call]["p99_ms"]),
                         processor_ms=rounded(mine["processor_ms"]), workers=1, security=SECURITY)
        slower = [curve[-1][call]["p50_ms"] / curve[0][call]["p50_ms"] if curve else None for curve in (ours, peers)]
        print_figure("service", "%s_slower_at_%d_trials" % (call, STORED_TRIALS[-1]), rounded(slower[0]), rounded(slower[1]), name,
                     round(slower[1] / slower[0], 2) if peers else None)
    costlier = ours[-1]["processor_ms"] / ours[0]["processor_ms"]
    print_figure("service", "processor_ms_grown_at_%d_trials" % STORED_TRIALS[-1], rounded(costlier), BAR_CURVE, "promised",
                 round(BAR_CURVE / costlier, 2))
    return int(costlier > BAR_CURVE)


def print_load(load, peers, store_mb):
    """The number of bars that were missed."""
    missed = 0
    more = {key: load[key] for key in ("workers", "operations_per_second", "seconds")}
    for call in ("lease", "report"):
        p99 = load[call]["p99_ms"]
        print_figure("service", "load_%s_p99_ms" % call, rounded(p99), BAR_P99_MS, "promised", round(BAR_P99_MS / p99, 2),
                     p50_ms=rounded(load[call]["p50_ms"]), p99_ms=rounded(p99), max_ms=rounded(load[call]["max_ms"]),
                     count=load[call]["count"], peer_p99_ms=rounded(peers[-1][call]["p99_ms"]) if peers else None,
                     sent_late_p99_ms=rounded(load["sent_late"]["p99_ms"]),
                     coordinator_processors=rounded(load["coordinator_processors"]),
                     driver_processors=rounded(load["driver_processors"]), security=SECURITY, **more)
        missed += p99 >= BAR_P99_MS
    begin, middle, end = load["rss_mb"]
    print_figure("service", "load_memory_mb", round(load["peak_mb"], 1), BAR_MEMORY_MB, "promised",
                 round(BAR_MEMORY_MB / load["peak_mb"], 2), begin_mb=round(begin, 1), middle_mb=round(middle, 1), end_mb=round(end, 1),
                 stored_trials=load["report"]["count"], **more)
    growth = end - begin - store_mb
    print_figure("service", "load_growth_mb", round(growth, 1), BAR_GROWTH_MB, "promised", None, grown_mb=round(end - begin, 1),
                 store_mb=round(store_mb, 1), **more)
    return missed + (load["peak_mb"] >= BAR_MEMORY_MB) + (growth >= BAR_GROWTH_MB)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=os.path.abspath, help="directory of rung and rungd")
    parser.add_argument("--drivers", required=True, help="directory of load_driver and curve_driver")
    parser.add_argument("--seconds", type=float, default=60, help="of the load")
    parser.add_argument("--peer-python", default="", help="an interpreter with Optuna")
    arguments = parser.parse_args()
    peers = run_optuna(arguments.peer_python) if arguments.peer_python else []
    curve, _ = drive(arguments, "curve_driver", CALLS_EACH, *STORED_TRIALS)
    missed = print_curve(curve, peers)
    [load], store_mb = drive(arguments, "load_driver", WORKERS, CALLS_PER_SECOND, arguments.seconds)
    if load["error"]:
        raise SystemExit("bench_load: a call failed: " + load["error"])
    missed += print_load(load, peers, store_mb)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
