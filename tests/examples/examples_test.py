"""The scripts of examples/: the data they make, and the trainer in plain Python as the worker runs it."""
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")


def run(*arguments):
    subprocess.run([sys.executable, "-B", *arguments], check=True, stdout=subprocess.DEVNULL)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class SpamData(unittest.TestCase):
    def write_mails(self, package):
        def write(folder, number, text):
            directory = os.path.join(package, "data", folder)
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, f"{number:05d}.x.json"), "w", encoding="utf-8") as file:
                json.dump({"text": text}, file)

        for i in range(60):
            write("easy-ham-1", i, f"Subject: meeting {i}\n\nLet us meet, number {i}.\n")
            write("spam-2", i, f"Subject: =?iso-8859-1?q?caf=E9_{i}?=\nContent-Type: text/html\n\n"
                               f"<html><style>p {{}}</style><p>Free &amp; easy<br>money {i}</p></html>\n")
            write("hard-ham-1", i, f"Subject: news {i}\nContent-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\n"
                                   "bsOkY2hzdGU=\n")
        write("easy-ham-2", 1, "Subject: meeting 1\nX-Other: header\n\nLet us   meet, number 1.\n")  # an exact copy of its text

    def test_copies_are_dropped_and_texts_stand_in_one_file(self):
        with tempfile.TemporaryDirectory() as directory:
            self.write_mails(os.path.join(directory, "package"))
            script = os.path.join(EXAMPLES, "spam", "make_data.py")
            for out in ("one", "two"):
                run(script, os.path.join(directory, "package"), os.path.join(directory, out))
            parts = {part: rows_of(os.path.join(directory, "one", part + ".csv")) for part in ("train", "validation", "test", "rest")}
            texts = [row["sentence"] for rows in parts.values() for row in rows]
            self.assertEqual(len(texts), 180)
            self.assertEqual(len(set(texts)), 180)
            for part in ("validation", "test"):
                self.assertEqual({row["label"] for row in parts[part]}, {"easy-ham", "hard-ham", "spam"})
            self.assertIn("café 7. Free & easy money 7", texts)
            self.assertIn("news 7. nächste", texts)
            for part in parts:
                with open(os.path.join(directory, "one", part + ".csv"), "rb") as one, open(os.path.join(directory, "two", part + ".csv"), "rb") as two:
                    self.assertEqual(one.read(), two.read())


class CommandTrainer(unittest.TestCase):
    CONFIG = {"data": "package", "features": "words", "words.n": 2, "hash_bits": 12, "learning_rate": 1.0, "rate_decay": 0.5, "l2": 1e-5}

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name
        run(os.path.join(EXAMPLES, "command", "make_data.py"), os.path.join(self.directory, "data"))

    def start(self, name, budget, resume=None, config=None, kind="train"):
        paths = {key: os.path.join(self.directory, name, key) for key in ("checkpoint_dir", "output_dir")}
        for path in paths.values():
            os.makedirs(path)
        trial = {"protocol": 1, "kind": kind, "study": 1, "trial": 1, "rung": 0, "replicate": 0, "attempt": 1, "seed": 7, "fold": None,
                 "config": config or self.CONFIG, "trainer": {"type": "command"}, "on_promotion": "resume",
                 "budget": {"unit": "epochs", "from": 0, "to": budget, "max": 9}, "resume_dir": resume,
                 "inputs": {"package": os.path.join(self.directory, "data", "package.json")}, "deadline_seconds": None, **paths}
        path = os.path.join(self.directory, name, "trial.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trial, file)
        reader, writer = os.pipe()
        child = subprocess.Popen([sys.executable, "-B", os.path.join(EXAMPLES, "command", "train.py")], pass_fds=[writer], stdout=subprocess.DEVNULL,
                                 env={**os.environ, "RUNG_TRIAL_FILE": path, "RUNG_METRICS_FD": str(writer)})
        os.close(writer)
        return child, os.fdopen(reader), paths["checkpoint_dir"]

    def train(self, *arguments, **keywords):
        child, lines, checkpoints = self.start(*arguments, **keywords)
        with lines:
            messages = [json.loads(line) for line in lines]
        return child.wait(), messages, checkpoints

    def test_resumed_training_equals_uninterrupted_training(self):
        code, messages, first = self.train("first", 1)
        self.assertEqual((code, messages[-1]["type"]), (0, "result"))
        self.assertGreater(messages[-1]["values"]["validation/accuracy"], 0.5)  # eight packages
        resumed = self.train("second", 2.5, resume=first)[1][-1]["values"]
        whole = self.train("whole", 2.5)[1][-1]["values"]
        for name in ("validation/loss", "validation/accuracy", "train/budget"):
            self.assertEqual(resumed[name], whole[name])

    def test_a_stop_leaves_a_checkpoint_to_go_on_from(self):
        child, lines, checkpoints = self.start("stopped", 500)
        with lines:
            self.assertEqual(json.loads(lines.readline())["type"], "metric")
            child.send_signal(signal.SIGTERM)
            messages = [json.loads(line) for line in lines]
        self.assertEqual(child.wait(), 85)
        self.assertEqual(messages[-1]["type"], "checkpoint")
        self.assertTrue(os.path.exists(os.path.join(checkpoints, messages[-1]["path"], "model.json")))
        self.assertEqual(self.train("again", messages[-1]["budget"], resume=checkpoints)[0], 0)

    def test_a_loss_that_is_not_finite_is_a_failure(self):
        code, messages, _ = self.train("wild", 3, config={**self.CONFIG, "learning_rate": 1e308, "l2": 1e-2})
        self.assertEqual(code, 0)
        self.assertEqual((messages[-1]["type"], messages[-1]["cause"]), ("failed", "diverged"))


if __name__ == "__main__":
    unittest.main()
