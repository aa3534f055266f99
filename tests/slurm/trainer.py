"""A trainer for trainer type `command` (docs/trainer-messages.md): logistic regression by stochastic gradient descent on
generated points, in the standard library. It checkpoints, resumes, and leaves when asked.

Writes what it does to $JOURNAL, one JSON object a line, so that a test has a witness beside the store. $PACE: seconds that
an epoch takes at least, $DEEP_PACE those after the third. $HOLD: while this file is there no epoch begins. $ROWS: with few of them an epoch takes no time.
$GREEDY_TRIAL: the trial that takes more memory than there is. $GREEDY_WORKER: a file with the number of the process whose trials do.
"""
import json
import math
import os
import random
import signal
import sys
import time

FEATURES, PASSES = 8, 4
ROWS = int(os.environ.get("ROWS", "1500"))  # PASSES over these make one epoch: about half a second

asked_to_leave = False


def leave(*unused):
    global asked_to_leave
    asked_to_leave = True


def greedy(trial):
    if str(trial) == os.environ.get("GREEDY_TRIAL"):
        return True
    try:
        with open(os.environ.get("GREEDY_WORKER", ""), encoding="utf-8") as stream:
            return stream.read() == str(os.getppid())
    except FileNotFoundError:
        return False


def points(seed):
    rng = random.Random(seed)
    truth = [rng.gauss(0, 1) for _ in range(FEATURES)]
    rows = []
    for _ in range(ROWS):
        x = [rng.gauss(0, 1) for _ in range(FEATURES)]
        rows.append((x, 1 if sum(a * b for a, b in zip(truth, x)) + rng.gauss(0, 0.5) > 0 else 0))
    return rows[: ROWS * 4 // 5], rows[ROWS * 4 // 5:]


def probability(weights, x):
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, sum(w * v for w, v in zip(weights, x))))))


def train_epoch(weights, rows, config, epoch):
    order = list(rows) * PASSES
    random.Random(epoch).shuffle(order)
    for x, y in order:
        error = probability(weights, x) - y
        for j, value in enumerate(x):
            weights[j] -= config["learning_rate"] * (error * value + config["l2"] * weights[j])


def main():
    signal.signal(signal.SIGTERM, leave)
    with open(os.environ["RUNG_TRIAL_FILE"], encoding="utf-8") as stream:
        trial = json.load(stream)
    metrics = os.fdopen(int(os.environ["RUNG_METRICS_FD"]), "w", buffering=1)
    journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(event, **more):
        keys = ("kind", "trial", "rung", "replicate", "attempt")
        line = {"event": event, "at": time.time(), **{k: trial[k] for k in keys}, **more}
        os.write(journal, (json.dumps(line) + "\n").encode())

    weights, epoch = [0.0] * FEATURES, 0
    if trial["resume_dir"] and os.path.exists(trial["resume_dir"] + "/state.json"):
        with open(trial["resume_dir"] + "/state.json", encoding="utf-8") as stream:
            state = json.load(stream)
        weights, epoch = state["weights"], state["epoch"]
    note("start", epoch=epoch, offered=trial["resume_dir"] is not None)
    train, validation = points(trial["seed"])

    def checkpoint():
        temporary = trial["checkpoint_dir"] + "/state.json.tmp"
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump({"weights": weights, "epoch": epoch}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, trial["checkpoint_dir"] + "/state.json")
        metrics.write(json.dumps({"type": "checkpoint", "budget": epoch, "path": "state.json"}) + "\n")

    while epoch < round(trial["budget"]["to"]):
        if greedy(trial["trial"]):
            taken = [os.urandom(1 << 20) * 16 for _ in range(256)]  # 4 GiB
            note("sated", bytes=sum(map(len, taken)))
        while os.path.exists(os.environ.get("HOLD", "")) and not asked_to_leave:
            time.sleep(0.1)
        time.sleep(float(os.environ.get("DEEP_PACE" if epoch >= 3 and "DEEP_PACE" in os.environ else "PACE", "0")))
        train_epoch(weights, train, trial["config"], epoch)
        epoch += 1
        note("epoch", epoch=epoch)
        checkpoint()
        if asked_to_leave:
            note("left", epoch=epoch)
            return 85
    correct = sum((probability(weights, x) > 0.5) == (y == 1) for x, y in validation)
    note("done", epoch=epoch)
    metrics.write(json.dumps({"type": "result", "values": {"validation/accuracy": correct / len(validation),
                                                           "train/budget": epoch}}) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(74)  # the disk, not the config
