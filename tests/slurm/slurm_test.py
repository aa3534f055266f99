"""Rung on a real Slurm that this test starts itself: the main paths, a requeue, a node's death (endings_test.py has the rest).

Usage: slurm_test.py BIN_DIR
"""
import collections
import csv
import json
import os
import stat
import subprocess
import sys
import unittest

import cluster
import slurm_case


class JobScriptTest(unittest.TestCase):
    def test_the_end_of_a_step_is_heard_though_its_line_comes_in_parts(self):
        with open(f"{slurm_case.HERE}/../../deploy/slurm/job.sh") as stream:
            script = stream.read()
        part = script[script.index('coordinator_code=""'):script.index("# TERM to the processes of one step.")]
        shell = ('say() { :; }; ask=""; exec 3<> <(:)\n' + part + '{ printf "coordin" >&3; sleep 1.5; printf "ator 7\\nworkers 0\\n" >&3; } &\n'
                 'next_event 60; next_event 60; echo "$coordinator_code $workers_code"')
        done = subprocess.run(["bash", "-uc", shell], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "7 0\n", done.stderr)


class SlurmTest(slurm_case.SlurmCase):
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
        self.assertEqual(script, self.batch_script(job), "... byte for byte")
        self.assertEqual(stat.S_IMODE(os.stat(submitted["script"]).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.state).st_mode), 0o700)

        self.cluster.wait("three results", lambda: self.alive(job) and len(self.done()) >= 3 and len(self.stored("logistic")) >= 3, 60, self.logs)
        self.hold()
        self.nothing_secret([job])
        self.assertEqual({what.split()[0] for what in self.left_behind()}, {"process", "socket", "file"}, "what is looked for can be seen")
        before = self.stored("logistic")
        requeued = self.requeue(job)
        self.let_go()
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.assertEqual(self.accounted(job), ("COMPLETED", "0:0"))
        self.check_results(before)
        self.check_trained_after(requeued)
        with open(submitted["log"]) as stream:
            log = stream.read()
        self.assertIn("restart 0", log)
        self.assertIn("restart 1", log)

        # The same study again: found finished, nothing is submitted.
        again = self.rung("slurm", "submit", study, *flags)
        self.assertIn("nothing to submit", again.stderr)
        self.assertEqual(again.stdout, "")

    def check_results(self, before):
        attempts = self.check_store("logistic")
        self.assertGreaterEqual(len({trial for trial, _ in attempts}), 9)
        starts = collections.Counter((l["trial"], l["rung"]) for l in self.journal_lines() if l["event"] == "start")
        for key, count in starts.items():
            self.assertLessEqual(count, attempts[key], f"every start of {key} was granted")
        self.check_not_trained_again(before)
        promoted = [l for l in self.journal_lines() if l["event"] == "start" and l["rung"] > 0 and l["offered"]]
        self.assertTrue(promoted, "some trial was promoted")
        self.assertTrue(all(l["epoch"] > 0 for l in promoted), "a promoted trial goes on from its checkpoint")

    def check_not_trained_again(self, finished):
        """Each (trial, rung) that was finished then was started once, and once more whenever it was left."""
        lines = [(l["event"], (l["trial"], l["rung"])) for l in self.journal_lines()]
        for key in finished:
            self.assertEqual(lines.count(("start", key)), 1 + lines.count(("left", key)), f"{key} is not trained again")

    def write_demo_study(self, model, spam):
        """The demo's search on its first e-mails, with its default and its test: a real pretrained transformer, at most a minute."""
        with open(f"{spam}/train.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        for name, part in (("train", rows[1:97]), ("validation", rows[97:129]), ("test", rows[129:161])):
            with open(f"{self.work}/{name}.csv", "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([rows[0]] + part)
        study = {
            "name": "spam-small",
            "trainer": {"type": "text_classification", "train": "train.csv", "validation": "validation.csv",
                        "test": "test.csv", "text": rows[0][0], "label": rows[0][1],
                        "options": {"model_name_or_path": model, "max_seq_length": 24,
                                    "per_device_train_batch_size": 8}},
            "objective": {"metric": "validation/f1_macro", "goal": "maximize"},
            "budget": {"unit": "epochs", "min": 1, "max": 3, "eta": 3},
            "algorithm": {"type": "bohb"},
            "space": {"learning_rate": {"low": 2e-5, "high": 7e-5, "log": True},
                      "optimizer_name": ["Adam", "AdamW", "SGD", "RAdam"],
                      "sgd_momentum": {"low": 0, "high": 0.99, "if": "optimizer_name = SGD"}},
            "stop": {"brackets": 2},
            "enqueue": [{"config": "default", "to": "max"}],
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
        requeued = self.requeue(job)
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.assertEqual(self.cluster.job(job)["ExitCode"], "0:0")
        self.check_store("spam-small")
        self.check_trained_after(requeued)
        outcome = json.loads(self.rung("run", study, "-o", "json").stdout)
        for side in ("incumbent", "default"):
            self.assertIsNotNone(outcome[side]["score"])
            self.assertEqual(outcome[side]["score_rung"], 1)
            self.assertEqual(outcome[side]["evaluation"]["values"]["test/rows"], 32)

    def test_a_job_loads_its_modules_and_runs_in_its_image(self):
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write(self.site_with_an_image())
        study = self.write_study(budget_max=3, brackets=1)
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "-o", "json").stdout)["job"]
        self.assertEqual(self.wait_for_end(job, 90), "COMPLETED", self.logs())
        self.check_store("logistic")
        self.check_asked(1, {("rungd", " --nv"): 1, ("rung-worker", " --nv"): 2})

    def test_two_studies_share_a_node(self):
        self.two_studies_share_a_node()

    def test_workers_of_arrays_join_and_leave(self):
        """A coordinator's job and an elastic array; scaled up and down; the study ends all of it."""
        study = self.write_study(budget_max=9, brackets=2)
        flags = ["--gpus-per-worker", "0"]
        self.hold()
        dry = self.rung("slurm", "submit", study, "--workers", "1", "--elastic", *flags, "--dry-run").stdout
        submitted = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--elastic", *flags, "-o", "json").stdout)
        coordinator, workers = submitted["jobs"]
        self.assertEqual([script for _, script in self.planned(dry)], [self.batch_script(coordinator), self.batch_script(workers)],
                         "--dry-run prints what is submitted")
        refused = self.rung("slurm", "submit", study, "--workers", "1", "-o", "json", check=False)
        self.assertEqual(json.loads(refused.stderr)["error"]["code"], "E0808", "one set of jobs for a study")
        other = self.write_study(changes={"name": "other"})
        for shape in ([], ["--elastic"]):
            refused = self.rung("slurm", "submit", other, "--workers", "1", *shape, "-o", "json", check=False)
            self.assertEqual(json.loads(refused.stderr)["error"]["code"], "E0808", "one study's jobs for a directory")
        self.cluster.wait("a trial at work", lambda: self.alive(coordinator) and self.journal_lines(), 60, self.logs)

        self.nothing_secret([coordinator, workers])

        dry = self.rung("slurm", "scale", "logistic", "--workers", "3", *flags, "--dry-run").stdout
        more = json.loads(self.rung("slurm", "scale", "logistic", "--workers", "3", *flags, "-o", "json").stdout)
        self.assertEqual(dry, self.batch_script(more["job"]))
        self.assertEqual(more["workers_before"], 1)
        present = lambda: [w for w in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"] if w["state"] in ("idle", "busy")]
        # A worker tells when its job ends with its first heartbeat, a little after it came.
        three = self.cluster.wait("three workers", lambda: self.alive(coordinator) and len(rows := present()) == 3 and
                                  all(row["job_seconds_left"] for row in rows) and rows, 60, self.logs)
        for worker in three:
            self.assertTrue(0 < worker["job_seconds_left"] <= 600, worker)  # DefaultTime of the partition
        status = self.answered_status()
        self.assertEqual(sorted(row["role"] for row in status["jobs"]), ["coordinator", "workers", "workers", "workers"])

        self.rung("slurm", "scale", "logistic", "--workers", "1", *flags)
        self.cluster.wait("one worker", lambda: self.alive(coordinator) and len(present()) == 1, 60, self.logs)
        self.let_go()
        self.assertEqual(self.wait_for_end(coordinator, 150), "COMPLETED", self.logs())
        self.cluster.wait("no job is left", lambda: not self.status("logistic")["jobs"], 60, self.logs)
        for job in (workers, more["job"]):
            self.cluster.wait("the end of the array", lambda: self.exit_codes(job), 60, self.logs)
            self.assertEqual(self.exit_codes(job), {"0:0"}, self.logs())
        self.check_store("logistic")

        # An array that starts when all is over has nothing to do, and says so.
        self.assertIn("is over", self.rung("slurm", "scale", "logistic", "--workers", "2", *flags).stderr)
        late = self.sbatch(f"{self.state}/slurm/logistic-workers.sh")
        self.cluster.wait("the end of the late array", lambda: self.exit_codes(late), 60, self.logs)
        self.assertEqual(self.exit_codes(late), {"0:0"}, self.logs())

    def test_a_node_dies_and_the_others_go_on(self):
        """A worker's node is gone at once: another worker takes its trial from the last checkpoint; nothing is lost or done twice."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        study = self.write_study(budget_max=9, brackets=3)
        os.mkdir(self.state, 0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("GPUS_PER_WORKER=0\nLEASE_TTL=5s\n")
        # One worker a node: each takes all four cores but the coordinator's.
        coordinator, workers = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "--elastic",
                                                    "--cpus-per-worker", "3", "-o", "json").stdout)["jobs"]
        host = lambda: self.cluster.job(coordinator).get("BatchHost")
        self.cluster.wait("the coordinator's node", host, 30, self.logs)
        victim = 1 if host() == "node2" else 2
        busy = lambda: [w for w in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"]
                        if w["host"] == f"node{victim}" and w["trial"]]
        self.cluster.wait("a worker at work on the other node", lambda: self.alive(coordinator) and self.done() and self.stored("logistic") and busy(),
                          90, self.logs)
        before = self.stored("logistic")
        self.cluster.kill_node(victim)
        try:
            self.assertEqual(self.wait_for_end(coordinator, 200), "COMPLETED", self.logs())
        finally:
            self.cluster.start_node(victim)
        self.check_store("logistic")
        self.check_not_trained_again(before)
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed for the node")

    def test_status_is_known_while_no_coordinator_lives(self):
        """The job waits in the queue; then its coordinator is killed: what it wrote last is shown, and nothing is started."""
        study = self.write_study(budget_max=9, brackets=3)
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=DRAIN", "Reason=test")
        self.addCleanup(self.cluster.run, "scontrol", "update", "NodeName=node1,node2", "State=RESUME", check=False)
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "-o", "json").stdout)["job"]
        waiting = self.status("logistic")
        self.assertFalse(waiting["coordinator_answers"])
        self.assertGreaterEqual(waiting["age_seconds"], 0)
        self.assertEqual([row["state"] for row in waiting["jobs"]], ["PENDING"])
        self.assertTrue(waiting["jobs"][0]["reason"])
        self.assertFalse(os.path.exists(f"{self.state}/endpoint.json"), "no coordinator was started to answer")
        text = self.rung("slurm", "status").stdout
        self.assertIn("No coordinator answers; this was written", text)
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=RESUME")
        self.cluster.wait("a result", lambda: self.alive(job) and len(self.done()) >= 1, 60, self.logs)
        self.answered_status()
        self.rung("slurm", "cancel", "logistic")
        self.assertNotEqual(self.wait_for_end(job, 60), "COMPLETED", self.logs())
        self.assertEqual(self.status("logistic")["jobs"], [])

    def test_the_doctor_knows_the_cluster(self):
        os.mkdir(self.state, 0o700)
        found = self.rung("slurm", "doctor", "--gpus-per-worker", "1", "-o", "json", check=False)
        findings = {f["check"]: f for f in json.loads(found.stdout)["findings"]}
        self.assertIn("rungtest", findings["controller"]["what"])
        self.assertIn("gpu:1", findings["partition main"]["what"])
        self.assertEqual(findings["cluster.env"]["verdict"], "ok")
        self.assertEqual(found.returncode, 9, "the state directory is below /tmp, which nodes do not share")
        self.assertEqual(findings["state directory"]["verdict"], "warn")
        self.assertRegex(findings["state directory"]["what"], rf"^{self.state}, on [a-z0-9.]+: other nodes do not see it")
        self.assertIn("PARTITION=main", json.loads(found.stdout)["cluster_env"])
        wrong = self.rung("slurm", "doctor", "--partition", "nowhere", "-o", "json", check=False)
        self.assertEqual(wrong.returncode, 9)
        broken = {f["check"]: f for f in json.loads(wrong.stdout)["findings"]}["cluster.env"]
        self.assertEqual(broken["verdict"], "fail")
        self.assertIn("main", broken["mend"])

    def test_an_elastic_study_has_no_chain(self):
        for chain in (["--chain", "2"], ["--until-done"]):
            refused = self.rung("slurm", "submit", self.write_study(), "--workers", "1", "--elastic", *chain, "-o", "json", check=False)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            error = json.loads(refused.stderr)["error"]
            self.assertEqual((error["code"], error["where"]), ("E0107", "command line"))
            self.assertIn("they need no chain", error["message"])
            self.assertIn("--elastic", error["mend"])
        self.assertFalse(os.path.exists(self.state), "what is refused is not stored")
        self.assertEqual(self.cluster.run("squeue", "--noheader").stdout, "")

    def test_what_slurm_refuses_is_said_with_a_mend(self):
        study = self.write_study()
        refused = self.rung("slurm", "submit", study, "--partition", "nowhere", "-o", "json", check=False)
        self.assertEqual(refused.returncode, 5, refused.stderr)
        error = json.loads(refused.stderr)["error"]
        self.assertEqual(error["code"], "E0804")
        self.assertIn("partition", error["message"])
        self.assertTrue(error["mend"])
        dry = self.rung("slurm", "submit", study, "--partition", "nowhere", "--dry-run")
        self.assertIn("#SBATCH --partition=nowhere\n", dry.stdout)
        self.assertRegex(dry.stderr, "`submit` would fail: sbatch refused: .*partition")
        self.assertFalse(os.path.exists(self.state), "what is refused is not stored")


if __name__ == "__main__":
    slurm_case.BIN = os.path.abspath(sys.argv.pop(1))
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
