"""How a job with coordinator and workers ends."""
import datetime
import json
import os
import signal
import time

from endings import case


class OneJobTest(case.Ending):
    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=case.PRE_EMPTION)

    def test_time_limit(self):
        """As users set it: --time, and nothing else."""
        job = self.begin("--time", "5", pace=4)[0]
        self.cluster.wait("the second start", lambda: self.alive(job) and self.cluster.job(job)["Restarts"] == "1", 300, self.logs)
        log = case.read(f"{self.state}/logs/slurm-{job}.log")
        self.assertIn("workers ended with 85", log)
        self.finish("time limit, or its warning", job, time.time())
        self.check_all_given_back(log + case.read(f"{self.state}/logs/slurm-{job}-coordinator.log"))

    def test_a_time_limit_before_the_first_checkpoint(self):
        """An epoch takes longer than the job has: it is tried once, and then somebody is told."""
        self.write_site("WARNING_SECONDS=30\n")
        study = self.write_study(PACE="600")
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--time", "3", "-o", "json").stdout)["job"]
        self.assertEqual(self.wait_for_end(job, 400), "FAILED", self.logs())
        self.assertEqual(self.cluster.job(job)["Restarts"], "1")
        self.assertIn("the time limit is too short for one attempt", case.read(f"{self.state}/logs/slurm-{job}.log"))
        self.assertEqual(len([line for line in self.journal_lines() if line["event"] == "start"]), 1)

    def test_scancel_of_the_job(self):
        job = self.begin()[0]
        self.cluster.run("scancel", str(job))
        self.state_of(job, "CANCELLED")
        self.nothing_left()
        at = time.time()
        self.finish("`scancel` of the job", self.again(), at)

    def test_scancel_of_the_workers_step(self):
        job = self.begin()[0]
        steps = self.cluster.run("squeue", "--steps", "--noheader", f"--jobs={job}", "--format=%i %j").stdout.split("\n")
        step = next(line.split()[0] for line in steps if line.endswith("rung-worker"))
        self.cluster.run("scancel", step)
        self.state_of(job, "FAILED")
        self.nothing_left()
        at = time.time()
        self.finish("`scancel` of the workers' step", self.again(), at)

    def test_scancel_of_the_batch_script(self):
        job = self.begin()[0]
        self.cluster.run("scancel", "--batch", "--signal=KILL", str(job))
        self.state_of(job, "FAILED", "CANCELLED")
        self.nothing_left(killed=True)
        at = time.time()
        self.finish("the batch script is killed", self.again(), at)

    def test_pre_emption(self):
        self.pre_empt("low", "pre-emption without grace")

    def test_pre_emption_with_grace(self):
        self.pre_empt("grace", "pre-emption with grace, one job")

    def test_requeue_by_an_administrator(self):
        job = self.begin()[0]
        at = time.time()
        self.cluster.run("scontrol", "requeue", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1", 60, self.logs)
        self.finish("`scontrol requeue`", job, at)

    def test_a_job_is_cancelled_while_it_is_requeued(self):
        """Its last start still ends, or the next one waits: either is ended, and does not come back."""
        job = self.begin(pace=1)[0]
        self.cluster.run("scontrol", "requeue", str(job))
        self.assertEqual(json.loads(self.rung("slurm", "cancel", "logistic", "-o", "json").stdout)["cancelled"], [str(job)])
        self.assertEqual(self.wait_for_end(job, 60), "CANCELLED", self.logs())
        self.assertNotIn("restart 1", case.read(f"{self.state}/logs/slurm-{job}.log"))

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

    def test_the_study_failed(self):
        """What each job says then is in accounting_test.py."""
        for shape in ([], ["--elastic"]):
            self.state = f"{self.work}/state{len(shape)}"
            jobs = json.loads(self.rung("slurm", "submit", self.write_hopeless_study(), "--workers", "2", "--gpus-per-worker", "0",
                                        *shape, "-o", "json").stdout)["jobs"]
            self.assertEqual(self.wait_for_end(jobs[0], 90), "FAILED", self.logs())
            self.all_end("the study failed" + (" (elastic)" if shape else ""))
            self.assertEqual(self.show("logistic")["state"], "failed")
            self.nothing_left()

    def test_a_worker_is_killed(self):
        """On the coordinator's own node, which sees the process end; its task goes with it."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        job = self.begin(pace=1)[0]
        self.kill_worker("a worker is killed, or leaves (killed)", job, self.cluster.job(job)["BatchHost"])

    def test_the_coordinator_is_killed(self):
        job = self.begin()[0]
        os.kill(self.endpoint()["pid"], signal.SIGKILL)
        self.assertEqual(self.wait_for_end(job, 60), "FAILED", self.logs())
        self.assertEqual(self.accounted(job), ("FAILED", "137:0"))
        self.nothing_left(killed=True)
        at = time.time()

        # What it wrote last is known, and how old it is; nobody is started to tell it.
        status = self.status("logistic")
        self.assertEqual((status["coordinator_answers"], status["study"]["state"], status["jobs"]), (False, "running", []))
        with open(f"{self.state}/status.json") as stream:
            written = datetime.datetime.fromisoformat(json.load(stream)["written_at"].replace("Z", "+00:00")).timestamp()
        self.assertAlmostEqual(time.time() - status["age_seconds"], written, delta=5)
        self.assertRegex(self.rung("slurm", "status").stdout, r"No coordinator answers; this was written [0-9].* ago")
        self.assertEqual(list(self.ours()), [])

        self.finish("the coordinator dies (killed)", self.again(), at)

    def test_the_controller_restarts(self):
        job = self.begin()[0]
        at = time.time()
        self.cluster.restart_controller()
        self.finish("the Slurm controller restarts", job, at)

    def test_a_job_starts_while_another_one_serves_the_study(self):
        """As a successor that Slurm starts too early: both jobs are alive, and one coordinator serves."""
        job = self.begin("--chain", "2", pace=1, ROWS="300")[0]
        first = self.endpoint()
        second = self.sbatch(f"{self.state}/slurm/logistic.sh")
        self.assertEqual(self.wait_for_end(second, 60), "FAILED", self.logs())
        self.assertEqual(self.accounted(second), ("FAILED", "75:0"))
        self.assertTrue(self.alive(job))
        self.assertEqual(self.endpoint(), first)
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.assertEqual(self.served_terms(), [str(first["term"])])
        self.check_store("logistic")
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed")

    def test_a_job_that_starts_after_the_study_is_over(self):
        job = self.begin(pace=0)[0]
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        self.all_end("the study is done")
        at = time.time()
        late = self.sbatch(f"{self.state}/slurm/logistic.sh")
        self.assertEqual(self.wait_for_end(late, 60), "COMPLETED", self.logs())
        self.assertEqual([l for l in self.journal_lines() if l["at"] > at], [], "nothing is trained")
        case.measure("a job starts after the study is over", f"0; ended after {time.time() - at:.0f} s")


class WarnedPreEmptionTest(case.Ending):
    """Where Slurm sends its warning at a pre-emption too."""

    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=case.PRE_EMPTION, scheduler=",preempt_send_user_signal")

    def test_pre_emption_with_grace_and_a_warning(self):
        self.pre_empt("grace", "pre-emption with grace, one job (warned)")


class NodesOfAJobTest(case.Ending):
    """One job on two nodes, a worker on each, and a third node to go on with."""

    CLUSTER = dict(nodes=3, cpus=4, gpus=1)

    def test_the_node_of_a_worker_dies(self):
        self.node_dies(False, "a worker's node dies, one job")

    def test_the_node_of_the_coordinator_dies(self):
        self.node_dies(True, "the coordinator's node dies (one job)")

    def node_dies(self, coordinators, ending):
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        job = self.begin("--cpus-per-worker", "3")[0]
        before = self.cluster.job(job)
        nodes = self.cluster.run("scontrol", "show", "hostnames", before["NodeList"]).stdout.split()
        self.assertEqual(len(nodes), 2)
        victim = next(node for node in nodes if (node == before["BatchHost"]) == coordinators)
        at = time.time()
        self.cluster.kill_node(int(victim[4:]))
        self.addCleanup(self.cluster.start_node, int(victim[4:]))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1", 60, self.logs)
        self.finish(ending, job, at)
        self.assertNotIn(victim, self.cluster.run("scontrol", "show", "hostnames", self.cluster.job(job)["NodeList"]).stdout.split())
