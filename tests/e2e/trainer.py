"""A deterministic trainer for the process tests: few numbers, a checkpoint after every step, a trace of what it did.

Every step changes the weight in a way that depends on all steps before: a step that is lost or done twice changes the result.
E2E_TRACE: file for the trace. E2E_STEP_SECONDS: how long a step takes. E2E_OOM_FILE: where it exists, the first to see it
takes memory until it is killed. E2E_FREEZE_FILE: where it holds the name of a moment ("start": nothing is done yet;
"checkpoint": one is half written) and a trial, the first to come to it in that trial or a later one removes the file and
stops itself until SIGCONT.
"""
import json
import os
import signal
import sys
import time

STEPS_PER_UNIT = 4
trial = json.load(open(os.environ["RUNG_TRIAL_FILE"]))
metrics = os.fdopen(int(os.environ["RUNG_METRICS_FD"]), "w", buffering=1)
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))


def say(**message):
    metrics.write(json.dumps(message) + "\n")


def trace(event, step):
    line = {"event": event, "step": step, "at": time.time(), "pid": os.getpid(), "parent": os.getppid(),
            "kind": trial["kind"], **{key: trial[key] for key in ("trial", "rung", "attempt")}}
    descriptor = os.open(os.environ["E2E_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)


def freeze_at(moment, step):
    path = os.environ.get("E2E_FREEZE_FILE", "")
    if not path or not os.path.exists(path):
        return
    with open(path) as file:
        wanted, first_trial = file.read().split()
    if wanted != moment or trial["trial"] < int(first_trial):
        return
    os.unlink(path)
    trace("frozen", step)
    os.kill(os.getpid(), signal.SIGSTOP)


def save(state):
    name = "update-%08d" % state["step"]
    path = os.path.join(trial["checkpoint_dir"], name)
    with open(path + ".tmp", "w") as file:
        text = json.dumps(state)
        file.write(text[:len(text) // 2])
        file.flush()
        freeze_at("checkpoint", state["step"])
        file.write(text[len(text) // 2:])
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".tmp", path)
    say(type="checkpoint", budget=state["step"] / STEPS_PER_UNIT, path=name)


def load():
    directory = trial["resume_dir"]
    names = sorted(n for n in os.listdir(directory) if not n.endswith(".tmp")) if directory else []
    if not names:
        return {"step": 0, "weight": 0.0}
    with open(os.path.join(directory, names[-1])) as file:
        return json.load(file)


def take_memory():
    taken = []
    while True:
        taken.append(bytearray(b"x" * (16 << 20)))


freeze_at("start", 0)
state = load()
trace("start", state["step"])
last = round(trial["budget"]["to"] * STEPS_PER_UNIT)
while trial["kind"] == "train" and state["step"] < last:
    time.sleep(float(os.environ["E2E_STEP_SECONDS"]))
    oom_file = os.environ.get("E2E_OOM_FILE", "")
    if oom_file and os.path.exists(oom_file):
        os.unlink(oom_file)
        take_memory()
    state["step"] += 1
    state["weight"] = 0.9 * state["weight"] + trial["config"]["x"] / state["step"]
    save(state)
    say(type="metric", step=state["step"], budget=state["step"] / STEPS_PER_UNIT,
        values={"validation/accuracy": state["weight"]})
    trace("step", state["step"])
    if stopping:
        trace("released", state["step"])
        sys.exit(85)
say(type="result", values={"validation/accuracy": state["weight"], "train/budget": state["step"] / STEPS_PER_UNIT})
trace("end", state["step"])
