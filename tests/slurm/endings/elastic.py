"""How the jobs of an elastic study end: one with its coordinator, arrays with its workers."""
import collections
import glob
import json
import os
import signal
import time

from endings import case


class ElasticTest(case.Ending):
    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=case.PRE_EMPTION)

    def test_time_limits_of_an_elastic_study(self):
        """Workers leave before their limit; the coordinator, which has no such margin, is warned by Slurm."""
        coordinator, workers = self.begin("--elastic", "--time", "5", pace=7)
        self.cluster.wait("all start again", lambda: self.alive(coordinator) and {task["Restarts"] for task in self.tasks(workers)} ==
                          {self.cluster.job(coordinator)["Restarts"]} == {"1"}, 300, self.logs)
        at = time.time()
        self.finish("time limit, or its warning (elastic)", coordinator, at)
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})
        self.check_all_given_back("".join(map(case.read, glob.glob(f"{self.state}/logs/slurm-*.log"))))

    def test_scancel_of_the_workers_of_an_elastic_study(self):
        coordinator, workers = self.begin("--elastic")
        self.cluster.run("scancel", str(workers))
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        at = time.time()
        self.rung("slurm", "scale", "logistic", "--workers", "2")
        self.finish("`scancel` of an elastic study's workers, or coordinator (workers)", coordinator, at)

    def test_scancel_of_the_coordinator_of_an_elastic_study(self):
        coordinator, workers = self.begin("--elastic")
        self.cluster.run("scancel", str(coordinator))
        self.state_of(coordinator, "CANCELLED")
        self.rung("slurm", "cancel", "logistic")  # the workers, which wait for another one
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.nothing_left(killed=True)
        at = time.time()
        self.finish("`scancel` of an elastic study's workers, or coordinator (the coordinator)", self.again(), at)

    def test_pre_emption_of_an_elastic_study(self):
        self.pre_empt("low", "pre-emption without grace (elastic)", "--elastic")

    def test_pre_emption_with_grace_of_an_elastic_study(self):
        """Nobody tells these jobs: they train on, so the study must be longer than the time of grace."""
        self.pre_empt("grace", "pre-emption with grace, elastic", "--elastic", pace=3)

    def test_the_study_is_done(self):
        coordinator, workers = self.begin("--elastic")
        self.assertEqual(self.wait_for_end(coordinator, 150), "COMPLETED", self.logs())
        self.all_end("the study is done (elastic)")
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())

    def test_a_worker_is_killed_on_another_node(self):
        """Nobody sees the end of its process: it is silent for three lease times, of 5 s."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator = self.begin("--elastic", "--cpus-per-worker", "3", pace=1)[0]
        host = "node1" if self.cluster.job(coordinator)["BatchHost"] == "node2" else "node2"
        self.kill_worker("a worker is killed, or leaves (killed on another node)", coordinator, host)

    def test_a_worker_is_sent_home(self):
        coordinator = self.begin("--elastic", pace=1)[0]
        self.cluster.wait("a worker at work", lambda: self.alive(coordinator) and self.at_work(), 60, self.logs)
        at = time.time()
        self.rung("slurm", "scale", "logistic", "--workers", "1")
        self.finish("a worker is killed, or leaves (leaves)", coordinator, at)
        self.assertEqual(self.trained()[1], 0, "with a checkpoint")

    def test_requeue_of_an_elastic_study(self):
        jobs = self.begin("--elastic")
        at = time.time()
        for job in jobs:
            self.cluster.run("scontrol", "requeue", str(job))
        self.all_restart(jobs)
        self.finish("`scontrol requeue` (elastic)", jobs[0], at)

    def test_the_coordinators_node_dies(self):
        self.node_dies(True, "the coordinator's node dies")

    def test_a_workers_node_dies(self):
        self.node_dies(False, "a worker's node dies, elastic")

    def node_dies(self, coordinators, ending):
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator = self.begin("--elastic", "--cpus-per-worker", "3")[0]
        node = int(self.cluster.job(coordinator)["BatchHost"][4:])
        if not coordinators:
            node = 3 - node
        at = time.time()
        self.cluster.kill_node(node)
        try:
            self.finish(ending, coordinator, at)
        finally:
            self.cluster.start_node(node)

    def test_the_coordinator_of_an_elastic_study_is_killed(self):
        coordinator, workers = self.begin("--elastic")
        killed = self.endpoint()["pid"]
        at = time.time()
        os.kill(killed, signal.SIGKILL)
        self.cluster.wait("another coordinator", lambda: self.alive(coordinator) and self.endpoint().get("pid") != killed, 60, self.logs)
        self.finish("the coordinator dies (killed, elastic)", coordinator, at)
        self.assertEqual(self.cluster.job(coordinator)["Restarts"], "0")
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})

    def test_the_batch_scripts_are_killed(self):
        """What they had started ends with them, also where Slurm loses sight of it."""
        jobs = self.begin("--elastic")
        for job in jobs:
            self.cluster.run("scancel", "--batch", "--signal=KILL", str(job))
        self.state_of(jobs[0], "FAILED", "CANCELLED")
        self.cluster.wait("the end of the array", lambda: self.exit_codes(jobs[1]), 60, self.logs)
        self.nothing_left(killed=True)
        at = time.time()
        self.finish("the batch script is killed (elastic)", self.again(), at)

    def test_the_coordinator_is_told_to_end(self):
        """By somebody who does not end its job: the study is not over, and nobody says that it is."""
        coordinator, workers = self.begin("--elastic", pace=1)
        os.kill(self.endpoint()["pid"], signal.SIGTERM)
        self.assertEqual(self.wait_for_end(coordinator, 60), "FAILED", self.logs())
        self.assertEqual(self.accounted(coordinator), ("FAILED", "143:0"))
        self.assertIn("told to end before the study was done", case.read(f"{self.state}/logs/slurm-{coordinator}.log"))
        self.rung("slurm", "cancel", "logistic")
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)

    def test_the_coordinators_job_is_warned_and_its_workers_stay(self):
        coordinator, workers = self.begin("--elastic")
        at = time.time()
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(coordinator))
        self.cluster.wait("the second start", lambda: self.cluster.job(coordinator)["Restarts"] == "1", 90, self.logs)
        self.assertEqual({row["state"] for row in self.status("logistic")["jobs"] if row["role"] == "workers"}, {"RUNNING"},
                         "the workers wait for the coordinator at work")
        self.finish("the coordinator dies (warned)", coordinator, at)
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())

    def test_a_paused_study_gives_its_allocation_back(self):
        coordinator, workers = self.begin("--elastic", site="IDLE_MINUTES=1\n")
        self.rung("study", "pause", "logistic")
        self.cluster.wait("the workers leave", lambda: self.exit_codes(workers), 120, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})
        self.assertEqual(self.wait_for_end(coordinator, 120), "FAILED", self.logs())
        self.assertEqual(self.accounted(coordinator), ("FAILED", "8:0"))
        self.nothing_left()
        at = time.time()
        self.rung("study", "resume", "logistic")
        self.finish("the study is paused for `IDLE_MINUTES` (elastic)", self.again(), at)

    def test_tasks_that_never_start(self):
        job, workers = self.begin("--elastic", "--cpus-per-worker", "3")
        at = time.time()
        self.rung("slurm", "scale", "logistic", "--workers", "5")  # two nodes have room for two
        self.finish("an array task never starts", job, at)
        self.cluster.wait("an empty queue", lambda: not self.status("logistic")["jobs"], 60, self.logs)

    def test_two_elastic_studies_share_a_node(self):
        self.two_studies_share_a_node("--elastic")

    def test_elastic_jobs_load_their_modules_and_run_in_their_image(self):
        coordinator, workers = self.begin("--elastic", site=self.site_with_an_image())
        self.assertEqual(self.wait_for_end(coordinator, 120), "COMPLETED", self.logs())
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})
        self.check_asked(3, {("rungd", ""): 1, ("rung-worker", ""): 2})


class WarnedPreEmptionTest(case.Ending):
    """Where Slurm sends its warning at a pre-emption too."""

    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=case.PRE_EMPTION, scheduler=",preempt_send_user_signal")

    def test_pre_emption_with_grace_and_a_warning_of_an_elastic_study(self):
        self.pre_empt("grace", "pre-emption with grace, elastic (warned)", "--elastic", pace=3)


class ManyWorkersTest(case.Ending):
    """As many as the manual's example has, on a few real cores: they wait most of the time."""

    CLUSTER = dict(nodes=2, cpus=40, gpus=1)

    def test_sixty_four_workers(self):
        study = self.write_study(budget_max=9, brackets=15, PACE="0.5", ROWS="20")  # 75 trials, each with a first attempt at once
        self.hold()
        at = time.time()
        submitted = self.rung("slurm", "submit", study, "--workers", "64", "--elastic", "--gpus-per-worker", "0",
                              "--memory-per-worker", "100M", "--time", "60", "-o", "json")
        coordinator, workers = json.loads(submitted.stdout)["jobs"]
        self.cluster.wait("a trial of each worker", lambda: self.alive(coordinator) and len(self.journal_lines()) >= 64, 120, self.logs)
        full = time.time() - at
        self.assertEqual(self.show("logistic")["running_attempts"], 64)
        rows = collections.Counter((row["role"], row["state"]) for row in self.status("logistic")["jobs"])
        self.assertEqual(rows, {("coordinator", "RUNNING"): 1, ("workers", "RUNNING"): 64})
        self.let_go()
        self.assertEqual(self.wait_for_end(coordinator, 120), "COMPLETED", self.logs())
        self.all_end("the study is done (64 workers)", also=f", each had a trial after {full:.0f} s")
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())
        attempts = self.check_store("logistic")
        self.assertEqual(len({trial for trial, _ in attempts}), 75)
        self.assertEqual(set(attempts.values()), {1}, "none was lost, or given back")
        self.assertEqual({(l["trial"], l["rung"]) for l in self.done()}, set(attempts))
        self.assertEqual(self.trained()[1], 0)
