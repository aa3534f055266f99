"""The scripts of examples/: the data they make, and the trainer in plain Python as the worker runs it."""
import copy
import csv
import importlib.util
import itertools
import json
import math
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


    @unittest.skipUnless(os.environ.get("RUNG_TEST_MAILS"), "RUNG_TEST_MAILS does not name the unpacked package of the mails")
    def test_the_real_mails_without_their_copies(self):
        script = os.path.join(EXAMPLES, "spam", "make_data.py")
        with tempfile.TemporaryDirectory() as directory:
            made = subprocess.run([sys.executable, "-B", script, os.environ["RUNG_TEST_MAILS"], directory], check=True,
                                  capture_output=True, text=True).stdout
            rows = {part: len(rows_of(os.path.join(directory, part + ".csv"))) for part in ("train", "validation", "test", "rest")}
        self.assertIn("6046 e-mails, 131 copies", made)
        self.assertEqual(sum(rows.values()), 6046 - 131)
        self.assertEqual(rows, {"train": 1211, "validation": 295, "test": 592, "rest": 3817})  # examples/spam/README.md


def json_of(*path):
    with open(os.path.join(EXAMPLES, "..", *path), encoding="utf-8") as file:
        return json.load(file)


class SpamSpace(unittest.TestCase):
    NARROWED = ["max_seq_length", "per_device_train_batch_size", "gradient_accumulation_steps", "warmup_steps"]

    def test_only_the_model_and_the_ordinals_differ_from_the_documented_space(self):
        spam, documented = json_of("examples", "spam", "space.json"), json_of("spaces", "text-classification.json")
        self.assertEqual(set(spam), set(documented))
        for name in spam:
            if name == "model_name_or_path":
                self.assertIsInstance(spam[name], str)
            elif name in self.NARROWED:
                self.assertEqual((list(spam[name]), list(documented[name])), (["ordinal"], ["ordinal"]))
                self.assertLess(max(spam[name]["ordinal"]), max(documented[name]["ordinal"]))
            elif isinstance(spam[name], list):  # the order says which is the default
                self.assertEqual(sorted(spam[name]), sorted(documented[name]))
            else:
                self.assertEqual(spam[name], documented[name])

    def test_every_config_makes_four_updates_at_the_first_rung(self):
        space, study = json_of("examples", "spam", "space.json"), json_of("examples", "spam", "study.json")
        self.assertEqual(study["budget"]["unit"], "samples")
        rows = 1211  # of train.csv; examples/spam/README.md
        for batch, accumulation in itertools.product(space["per_device_train_batch_size"]["ordinal"],
                                                     space["gradient_accumulation_steps"]["ordinal"]):
            an_epoch = math.ceil(math.ceil(rows / batch) / accumulation)
            self.assertGreaterEqual(math.floor(study["budget"]["min"] / rows * an_epoch + 0.5), 4)


class CheckDemo(unittest.TestCase):
    GOOD = {"state": "done", "model_proposals": 14, "resumed_at_top": 5,
            "incumbent": {"trial": 30, "score": 0.83, "score_rung": 3, "confusion_matrix": {"counts": [[3, 1], [0, 2]]},
                          "evaluation": {"values": {"test/f1_macro": 0.84, "test/rows": 6.0}}},
            "default": {"trial": 1, "score": 0.81, "score_rung": 3, "confusion_matrix": {"counts": [[2, 2], [0, 2]]},
                        "evaluation": {"values": {"test/f1_macro": 0.81, "test/rows": 6.0}}}}

    @classmethod
    def setUpClass(cls):
        spec = importlib.util.spec_from_file_location("check_demo", os.path.join(EXAMPLES, "spam", "check_demo.py"))
        cls.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(cls.module)

    def complaints(self, *path_and_value):
        outcome = copy.deepcopy(self.GOOD)
        if path_and_value:
            *path, last, value = path_and_value
            part = outcome
            for key in path:
                part = part[key]
            part[last] = value
        return list(self.module.complaints(outcome))

    def test_a_good_outcome_has_no_complaint(self):
        self.assertEqual(self.complaints(), [])

    def test_each_fault_is_one_complaint(self):
        for words, *change in [("the study is failed", "state", "failed"), ("has no incumbent", "incumbent", None),
                               ("no default", "default", None), ("the model proposed 9", "model_proposals", 9),
                               ("resuming", "resumed_at_top", 1), ("same rung", "default", "score_rung", 2),
                               ("same rung", "default", "score", None), ("below the default's", "incumbent", "score", 0.8),
                               ("is 0.7;", "incumbent", "evaluation", "values", "test/f1_macro", 0.7),
                               ("the incumbent was not evaluated", "incumbent", "evaluation", None),
                               ("the default was not evaluated", "default", "evaluation", None),
                               ("the incumbent's confusion matrix", "incumbent", "confusion_matrix", None),
                               ("count the 6 rows", "default", "confusion_matrix", "counts", [[2, 1], [0, 2]]),
                               ("is trial 2", "default", "trial", 2)]:
            with self.subTest(change):
                found = self.complaints(*change)
                self.assertEqual(len(found), 1)
                self.assertIn(words, found[0])


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
