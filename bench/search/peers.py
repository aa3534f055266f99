"""Ask time of Rung's BOHB against Optuna's TPE: one JSON line per figure, ratio > 1 = Rung is better.

peers.py ASK_BENCH      (run with a Python that has optuna; without it the peer's figures are null)
"""
import json
import subprocess
import sys
import time

PEER_RESULTS = (100, 1000)
ASKS = 50


def loss(params):
    return sum((v - .3) ** 2 if isinstance(v, float) else (0 if v == "a" else .2) for v in params.values())


def ask_times(results):
    """Sorted milliseconds of one ask with all its suggestions, after `results` finished trials."""
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {"x%d" % i: optuna.distributions.FloatDistribution(0, 1) for i in range(8)}
    space.update({"c%d" % i: optuna.distributions.CategoricalDistribution(list("abcde")) for i in range(4)})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(results):
        trial = study.ask(space)
        study.tell(trial, loss(trial.params))
    study.sampler = optuna.samplers.TPESampler(seed=2, multivariate=True)
    times = []
    for _ in range(ASKS):
        start = time.perf_counter()
        trial = study.ask(space)
        times.append((time.perf_counter() - start) * 1000)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return sorted(times)


def main():
    own = subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout
    for line in own.splitlines():
        figures = json.loads(line)
        peer = None
        if figures["results"] in PEER_RESULTS:
            try:
                peer = ask_times(figures["results"])
            except ImportError as error:
                print("no peer: %s" % error, file=sys.stderr)
        for name, share in (("p50", .5), ("p99", .99)):
            value = figures[name + "_ms"]
            other = None if peer is None else round(peer[int(len(peer) * share)], 4)
            print(json.dumps({"bench": "search", "figure": "ask_%s_ms_at_%d" % (name, figures["results"]), "rung": value,
                              "peer": other, "peer_name": "optuna_tpe",
                              "ratio": None if other is None else round(other / value, 2)}))


if __name__ == "__main__":
    main()
