"""A trainer for Rung in Python's standard library: logistic regression on hashed n-grams, by stochastic gradient descent.

Rung starts it once per attempt (trainer "command"; docs/trainer-messages.md). It reads the trial file, goes on from
the checkpoint of the lower rung, trains to the attempt's budget (training epochs), writes a checkpoint and its metrics.
"""
import array
import csv
import json
import math
import os
import random
import signal
import sys
import zlib

RELEASED = 85  # exit code: checkpointed and released
stop_asked = False


def ask_to_stop(_signal, _frame):
    global stop_asked
    stop_asked = True


def send(message):
    os.write(METRICS, (json.dumps(message) + "\n").encode())


def read_data(trial):
    """The trainer's data keys, or those of the data description that the config names."""
    data, directory = trial["trainer"], ""
    name = trial["config"].get("data", data.get("data"))
    if name is not None:
        path = trial["inputs"][name]
        directory = os.path.dirname(path)
        with open(path, encoding="utf-8") as file:
            data = json.load(file)

    def rows(key):
        with open(os.path.join(directory, data[key]), encoding="utf-8", newline="") as file:
            return [(row[data.get("text", "text")], row[data.get("label", "label")]) for row in csv.DictReader(file)]

    return {key: rows(key) for key in ("train", "validation", "test") if key in data}


def features(text, config):
    """Indices of the hashed n-grams of words or of characters."""
    units = text.lower().split()
    joint = " "
    if config["features"] == "characters":
        units, joint = list(" ".join(units)), ""
    mask = (1 << config["hash_bits"]) - 1
    longest = config.get("characters.n", config.get("words.n", 1))
    shortest = longest if joint == "" else 1
    return sorted({zlib.crc32(joint.join(units[i:i + n]).encode()) & mask
                   for n in range(shortest, longest + 1) for i in range(len(units) - n + 1)})


class Model:
    def __init__(self, labels, config):
        self.labels = labels
        self.size = 1 << config["hash_bits"]
        self.weights = array.array("d", bytes(8 * self.size * len(labels)))
        self.rows_read = 0

    def probabilities(self, indices):
        scale = 1 / math.sqrt(max(1, len(indices)))
        scores = [scale * sum(self.weights[c * self.size + i] for i in indices) for c in range(len(self.labels))]
        top = max(scores)
        exponentials = [math.exp(score - top) for score in scores]
        total = sum(exponentials)
        return [value / total for value in exponentials], scale

    def learn(self, indices, label, rate, decay):
        probabilities, scale = self.probabilities(indices)
        for c, probability in enumerate(probabilities):
            step = rate * scale * ((c == label) - probability)
            for i in indices:
                at = c * self.size + i
                self.weights[at] += step - rate * decay * self.weights[at]
        return -math.log(max(probabilities[label], 1e-300)), probabilities.index(max(probabilities)) == label

    def save(self, directory):
        """Complete or absent: written beside, then renamed."""
        name = f"rows-{self.rows_read:012d}"
        temporary = os.path.join(directory, name + ".new")
        os.makedirs(temporary, exist_ok=True)
        with open(os.path.join(temporary, "weights"), "wb") as file:
            self.weights.tofile(file)
            file.flush()
            os.fsync(file.fileno())
        with open(os.path.join(temporary, "model.json"), "w", encoding="utf-8") as file:
            json.dump({"labels": self.labels, "rows_read": self.rows_read}, file)
        if not os.path.exists(os.path.join(directory, name)):
            os.rename(temporary, os.path.join(directory, name))
        return name

    def load(self, directory):
        saved = sorted(name for name in os.listdir(directory) if name.startswith("rows-") and not name.endswith(".new"))
        if not saved:
            print(f"no checkpoint in {directory}: training from the start", flush=True)
            return
        path = os.path.join(directory, saved[-1])
        with open(os.path.join(path, "model.json"), encoding="utf-8") as file:
            self.rows_read = json.load(file)["rows_read"]
        self.weights = array.array("d")
        with open(os.path.join(path, "weights"), "rb") as file:
            self.weights.fromfile(file, self.size * len(self.labels))
        print(f"resumed after {self.rows_read} rows from {path}", flush=True)


def judged(model, examples, part):
    loss, right = 0.0, 0
    counts = [[0, 0, 0] for _ in model.labels]  # right, predicted, there
    for indices, label in examples:
        probabilities, _ = model.probabilities(indices)
        guess = probabilities.index(max(probabilities))
        loss -= math.log(max(probabilities[label], 1e-300))
        right += guess == label
        counts[label][0] += guess == label
        counts[guess][1] += 1
        counts[label][2] += 1
    f1 = [2 * hit / max(1, predicted + there) for hit, predicted, there in counts]
    return {f"{part}/loss": loss / len(examples), f"{part}/accuracy": right / len(examples),
            f"{part}/f1_macro": sum(f1) / len(f1)}


def order_of(epoch, rows, seed):
    """A function of (seed, epoch) alone: a resumed training sees the rows of an uninterrupted one."""
    order = list(range(rows))
    random.Random(seed * 1_000_003 + epoch).shuffle(order)
    return order


def train(model, examples, trial, prepared):
    rows = len(examples)
    target = round(trial["budget"]["to"] * rows)
    config, losses, right, read = trial["config"], 0.0, 0, 0
    while model.rows_read < target:
        epoch, start = divmod(model.rows_read, rows)
        end = min(rows, start + target - model.rows_read)
        rate = config["learning_rate"] / (1 + epoch) ** config["rate_decay"]
        for row in order_of(epoch, rows, trial["seed"])[start:end]:
            loss, hit = model.learn(*examples[row], rate, config["l2"])
            losses, right, read = losses + loss, right + hit, read + 1
            model.rows_read += 1
            if stop_asked:
                budget = model.rows_read / rows
                send({"type": "checkpoint", "budget": budget, "path": model.save(trial["checkpoint_dir"])})
                sys.exit(RELEASED)
        if not math.isfinite(losses):
            send({"type": "failed", "cause": "diverged", "message": f"the loss is {losses} in epoch {epoch}"})
            sys.exit(0)
        values = judged(model, prepared["validation"], "validation")
        values |= {"train/loss": losses / read, "train/accuracy": right / read}
        send({"type": "metric", "step": model.rows_read, "budget": model.rows_read / rows, "values": values})
    return {"train/loss": losses / max(1, read), "train/accuracy": right / max(1, read), "train/budget": model.rows_read / rows}


def main():
    signal.signal(signal.SIGTERM, ask_to_stop)
    with open(os.environ["RUNG_TRIAL_FILE"], encoding="utf-8") as file:
        trial = json.load(file)
    trial["config"] = {**trial["trainer"].get("options", {}), **trial["config"]}
    data = read_data(trial)
    labels = sorted({label for _, label in data["train"]})
    prepared = {part: [(features(text, trial["config"]), labels.index(label)) for text, label in rows]
                for part, rows in data.items()}
    model = Model(labels, trial["config"])
    if trial["resume_dir"]:
        model.load(trial["resume_dir"])
    if trial["kind"] == "evaluate":
        send({"type": "result", "values": judged(model, prepared["test"], "test")})
        return
    values = train(model, prepared["train"], trial, prepared)
    values |= judged(model, prepared["validation"], "validation")
    send({"type": "checkpoint", "budget": values["train/budget"], "path": model.save(trial["checkpoint_dir"])})
    send({"type": "result", "values": values})


if __name__ == "__main__":
    METRICS = int(os.environ["RUNG_METRICS_FD"])
    main()
