"""Rung on a real Slurm that this test starts itself: `rung slurm submit` runs a study to its end through a requeue.

Usage: slurm_test.py BIN_DIR
"""
import collections
import csv
import glob
import json
import os
import stat
import sys
import unittest

import cluster

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = ""
PLANTED = "planted-secret-of-the-submitting-shell"
FINISHED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


def command_lines():
    """The arguments of every process, as anyone on the node can read them."""
    text = b""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                text += stream.read().replace(b"\0", b" ") + b"\n"
        except OSError:
            continue
    return text.decode(errors="replace")


class SlurmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(nodes=2, cpus=4, gpus=1)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.env["HF_TOKEN"] = PLANTED
        cls.cluster.env["SBATCH_TIMELIMIT"] = "not-a-time"  # of another submission: must not reach ours
        # The studies use the host's own sockets and temporary files, not those of a caller's session.
        cls.cluster.env.pop("XDG_RUNTIME_DIR", None)

    def setUp(self):
        self.work = f"{self.cluster.dir}/{self._testMethodName}"
        os.mkdir(self.work)
        self.state = f"{self.work}/state"
        self.journal = f"{self.work}/journal"

    def rung(self, *arguments, check=True):
        result = self.cluster.run(f"{BIN}/rung", *arguments, "--dir", self.state, check=False, timeout=90)
        if check and result.returncode != 0:
            self.fail(f"rung {arguments} -> {result.returncode}\n{result.stdout}\n{result.stderr}\n{self.logs()}")
        return result

    def logs(self):
        text = ""
        for path in sorted(glob.glob(f"{self.state}/logs/*")):
            with open(path, errors="replace") as stream:
                text += f"--- {path}\n" + "".join(stream.readlines()[-25:])
        return text

    def write_study(self, budget_max=9, brackets=3):
        study = {
            "name": "logistic",
            "trainer": {"type": "command", "argv": [sys.executable, f"{HERE}/trainer.py"], "cwd": self.work,
                        "env": {"JOURNAL": self.journal}, "deterministic": True},
            "objective": {"metric": "validation/accuracy", "goal": "maximize"},
            "budget": {"unit": "epochs", "min": 1, "max": budget_max, "eta": 3},
            "algorithm": {"type": "bohb"},
            "space": {"learning_rate": {"low": 1e-4, "high": 0.5, "log": True}, "l2": {"low": 1e-6, "high": 0.1, "log": True}},
            "stop": {"brackets": brackets},
            "seed": 7,
        }
        path = f"{self.work}/study.json"
        with open(path, "w") as stream:
            json.dump(study, stream)
        return path

    def journal_lines(self):
        if not os.path.exists(self.journal):
            return []
        with open(self.journal) as stream:
            return [json.loads(line) for line in stream]

    def done(self):
        return [line for line in self.journal_lines() if line["event"] == "done"]

    def wait_for_end(self, job, seconds):
        return self.cluster.wait(f"the end of job {job}",
                                 lambda: (s := self.cluster.job(job)["JobState"]) in FINISHED and s, seconds, self.logs)

    def alive(self, job):
        state = self.cluster.job(job)["JobState"]
        if state in FINISHED:
            self.fail(f"job {job} is {state} already\n{self.logs()}")
        return True

    def test_a_study_survives_a_requeue_and_ends_the_job(self):
        study = self.write_study()
        flags = ["--workers", "2", "--gpus-per-worker", "1", "--time", "10"]

        dry = self.rung("slurm", "submit", study, *flags, "--dry-run")
        self.assertFalse(os.path.exists(self.state), "--dry-run leaves no trace")

        submitted = json.loads(self.rung("slurm", "submit", study, *flags, "-o", "json").stdout)
        job = submitted["job"]
        with open(submitted["script"]) as stream:
            script = stream.read()
        self.assertEqual(script, dry.stdout, "--dry-run prints what is submitted")
        self.assertEqual(stat.S_IMODE(os.stat(submitted["script"]).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.state).st_mode), 0o700)

        self.cluster.wait("three results", lambda: self.alive(job) and len(self.done()) >= 3, 60, self.logs)
        seen = self.nothing_secret(job, script)
        self.assertIn("rung-worker", seen, "the processes that were looked at include ours")
        before = {(line["trial"], line["rung"]) for line in self.done()}
        self.requeue(job)
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.assertEqual(self.cluster.job(job)["ExitCode"], "0:0")
        self.check_results(before)
        with open(submitted["log"]) as stream:
            log = stream.read()
        self.assertIn("restart 0", log)
        self.assertIn("restart 1", log)

        # The same study again: found finished, nothing is submitted.
        again = self.rung("slurm", "submit", study, *flags)
        self.assertIn("nothing to submit", again.stderr)
        self.assertEqual(again.stdout, "")

    def check_store(self, name):
        """The study is done and every (trial, rung) was reported once, last of all; (trial, rung) -> attempts."""
        shown = self.show(name)
        self.assertEqual(shown["state"], "done", shown)
        attempts = collections.Counter()
        for trial in json.loads(self.rung("trial", "list", name, "-o", "json").stdout)["trials"]:
            detail = json.loads(self.rung("trial", "show", f"{name}/{trial['trial']}", "-o", "json").stdout)
            states = collections.defaultdict(list)
            for attempt in detail["attempts"]:
                if attempt["kind"] == "train":
                    states[attempt["rung"]].append(attempt["state"])
                    attempts[trial["trial"], attempt["rung"]] += 1
            for rung, seen in states.items():
                self.assertEqual([s for s in seen if s == "reported"], ["reported"],
                                 f"trial {trial['trial']} rung {rung} is reported once: {seen}")
                self.assertEqual(seen[-1], "reported", "nothing runs after the result is stored")
        return attempts

    def show(self, name):
        return json.loads(self.rung("study", "show", name, "-o", "json").stdout)

    def requeue(self, job):
        self.cluster.run("scontrol", "requeue", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1" and
                          self.cluster.job(job)["JobState"] == "RUNNING", 60)

    def check_results(self, before):
        attempts = self.check_store("logistic")
        self.assertGreaterEqual(len({trial for trial, _ in attempts}), 9)
        starts = collections.Counter((l["trial"], l["rung"]) for l in self.journal_lines() if l["event"] == "start")
        for key, count in starts.items():
            self.assertLessEqual(count, attempts[key], f"every start of {key} was granted")
        for key in before:
            self.assertEqual(starts[key], 1 + sum(1 for l in self.journal_lines()
                                                 if l["event"] == "left" and (l["trial"], l["rung"]) == key),
                             f"{key} was finished before the requeue and is not trained again")
        promoted = [l for l in self.journal_lines() if l["event"] == "start" and l["rung"] > 0 and l["offered"]]
        self.assertTrue(promoted, "some trial was promoted")
        self.assertTrue(all(l["epoch"] > 0 for l in promoted), "a promoted trial goes on from its checkpoint")

    def nothing_secret(self, job, script):
        """Tokens and the caller's secrets are in no place that others, or Slurm's records, can see."""
        secrets = [PLANTED]
        for path in glob.glob(f"{self.state}/tokens/*"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            with open(path) as stream:
                secrets.append(stream.read().strip())
        self.assertGreaterEqual(len(secrets), 4, "three tokens and the planted one")
        shown = self.cluster.run("scontrol", "-dd", "show", "job", str(job)).stdout
        shown += self.cluster.run("scontrol", "write", "batch_script", str(job), "-").stdout
        shown += command_lines() + script
        for path in glob.glob(f"{self.cluster.dir}/state/hash.*/job.{job}/*"):
            with open(path, "rb") as stream:
                shown += stream.read().decode(errors="replace")
        self.assertIn("SLURM_CONF=", shown, "the job's stored environment was looked at")
        for secret in secrets:
            self.assertNotIn(secret, shown)
        return shown

    def write_demo_study(self, model, spam):
        """The demo's search on its first e-mails: a real pretrained transformer, at most a minute of training."""
        with open(f"{spam}/train.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        for name, part in (("train", rows[1:97]), ("validation", rows[97:129])):
            with open(f"{self.work}/{name}.csv", "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([rows[0]] + part)
        study = {
            "name": "spam-small",
            "trainer": {"type": "text_classification", "train": "train.csv", "validation": "validation.csv",
                        "text": rows[0][0], "label": rows[0][1],
                        "options": {"model_name_or_path": model, "max_seq_length": 24,
                                    "per_device_train_batch_size": 8}},
            "objective": {"metric": "validation/f1_macro", "goal": "maximize"},
            "budget": {"unit": "epochs", "min": 1, "max": 3, "eta": 3},
            "algorithm": {"type": "bohb"},
            "space": {"learning_rate": {"low": 2e-5, "high": 7e-5, "log": True},
                      "optimizer_name": ["Adam", "AdamW", "SGD", "RAdam"],
                      "sgd_momentum": {"low": 0, "high": 0.99, "if": "optimizer_name = SGD"}},
            "stop": {"brackets": 2},
            "seed": 3,
        }
        path = f"{self.work}/study.json"
        with open(path, "w") as stream:
            json.dump(study, stream)
        return path

    @unittest.skipUnless(os.environ.get("RUNG_TEST_MODEL") and os.environ.get("RUNG_TEST_SPAM"),
                         "RUNG_TEST_MODEL and RUNG_TEST_SPAM are not set (make test sets them)")
    def test_a_transformer_is_tuned_across_a_requeue(self):
        study = self.write_demo_study(os.environ["RUNG_TEST_MODEL"], os.environ["RUNG_TEST_SPAM"])
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "--gpus-per-worker", "0",
                                   "-o", "json").stdout)["job"]
        finished = lambda: sum(row["state"] in ("waiting", "completed", "stopped")
                               for row in json.loads(self.rung("trial", "list", "-o", "json").stdout)["trials"])
        self.cluster.wait("the coordinator", lambda: self.rung("study", "show", "-o", "json", check=False).returncode == 0, 30)
        self.cluster.wait("two results", lambda: self.alive(job) and finished() >= 2, 90, self.logs)
        self.requeue(job)
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.check_store("spam-small")
        self.assertIsNotNone(self.show("spam-small")["incumbent"]["score"])

    def test_the_warning_drains_and_requeues_the_job(self):
        study = self.write_study(budget_max=3, brackets=2)
        submitted = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "--gpus-per-worker", "0", "-o", "json").stdout)
        job = submitted["job"]
        self.cluster.wait("a result", lambda: self.alive(job) and len(self.done()) >= 1, 60, self.logs)
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1" and
                          self.cluster.job(job)["JobState"] == "RUNNING", 90)
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        with open(submitted["log"]) as stream:
            log = stream.read()
        self.assertLess(log.index("workers ended with 0"), log.index("restart 1"), "the workers left before the requeue")
        self.assertEqual(self.show("logistic")["state"], "done")

    def test_a_dead_coordinator_fails_the_job(self):
        study = self.write_study(budget_max=9, brackets=3)
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "-o", "json").stdout)["job"]
        self.cluster.wait("a result", lambda: self.alive(job) and len(self.done()) >= 1, 60, self.logs)
        with open(f"{self.state}/endpoint.json") as stream:
            os.kill(json.load(stream)["pid"], 9)
        self.assertEqual(self.wait_for_end(job, 60), "FAILED", self.logs())
        self.assertNotEqual(self.cluster.job(job)["ExitCode"], "0:0")

    def test_what_slurm_refuses_is_said_with_a_mend(self):
        study = self.write_study()
        refused = self.rung("slurm", "submit", study, "--partition", "nowhere", "-o", "json", check=False)
        self.assertEqual(refused.returncode, 5, refused.stderr)
        error = json.loads(refused.stderr)["error"]
        self.assertEqual(error["code"], "E0804")
        self.assertIn("partition", error["message"])
        self.assertTrue(error["mend"])


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv.pop(1))
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
