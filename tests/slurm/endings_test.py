"""Every way in which Slurm ends a job, on a real Slurm that this test starts itself. Prints what each ending cost.

Usage: endings_test.py BIN_DIR      (`make soak-slurm`; the endings that `make test` runs are in slurm_test.py)
"""
import collections
import datetime
import glob
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import unittest

import cluster
import slurm_case

TABLE = {}  # ending, as docs/slurm.md names it -> case -> what it cost

PRE_EMPTION = """
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=low Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=1000
PartitionName=grace Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=30 MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=1000
PartitionName=high Nodes=ALL PriorityTier=9 PreemptMode=OFF MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=1000
"""

# Fails before it trains, always with the same word.
HOPELESS = """
import sys
print("no such column: label", file=sys.stderr)
sys.exit(1)
"""


def read(path):
    with open(path) as stream:
        return stream.read()


def measure(ending, cost):
    """ending: as docs/slurm.md names it; "(CASE)" behind it tells one of several. cost: epochs trained twice, and what took how long."""
    name, _, case = ending.removesuffix(")").partition(" (")
    TABLE.setdefault(name, {})[case] = cost


class Ending(slurm_case.SlurmCase):
    """Each test ends a job in the middle of the study's training, lets the study finish, and looks what was done twice."""

    def begin(self, *flags, site="", pace=0.1, **environment):
        study = self.write_study(budget_max=9, brackets=3, PACE=str(pace), **environment)
        self.write_site(site)
        self.flags = [study, "--workers", "2", *flags]
        jobs = json.loads(self.rung("slurm", "submit", *self.flags, "-o", "json").stdout)["jobs"]
        self.cluster.wait("two results", lambda: self.alive(jobs[0]) and len(self.done()) >= 2, 60, self.logs)
        return jobs

    def write_site(self, more):
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("GPUS_PER_WORKER=0\nLEASE_TTL=5s\n" + more)

    def setup(self, text):
        """A line of cluster.env: the jobs source this text before they start anything."""
        path = f"{self.work}/setup.sh"
        with open(path, "w") as stream:
            stream.write(text)
        return f"SETUP={path}\n"

    def program(self, name, text):
        """An executable of this test; its directory."""
        directory = f"{self.work}/programs"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{name}", "w") as stream:
            stream.write(text)
        os.chmod(f"{directory}/{name}", 0o755)
        return directory

    def write_hopeless_study(self):
        script = f"{self.work}/hopeless.py"
        with open(script, "w") as stream:
            stream.write(HOPELESS)
        return self.write_study(changes={"trainer.argv": [sys.executable, script]})

    def again(self):
        """The study is submitted again, by hand."""
        return json.loads(self.rung("slurm", "submit", *self.flags, "-o", "json").stdout)["jobs"][0]

    def trained(self):
        """Epochs of the journal's attempts, and how many of them had been trained before."""
        seen = collections.Counter((l["trial"], l["epoch"]) for l in self.journal_lines() if l["event"] == "epoch")
        return sum(seen.values()), sum(count - 1 for count in seen.values())

    def finish(self, ending, job, at, also=""):
        """The study ends in `job`; what it cost. also: what else was measured."""
        self.cluster.wait("training again", lambda: self.alive(job) and self.trains_since(at), 120, self.logs)
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.finished(ending, at, also)

    def trains_since(self, at):
        return any(line["event"] == "start" and line["at"] > at for line in self.journal_lines())

    def finished(self, ending, at, also=""):
        self.check_store("logistic")
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed")
        twice = self.trained()[1]
        # Two workers: each loses at most the epoch that it had not checkpointed.
        self.assertLessEqual(twice, 2, f"{ending}: at most one checkpoint interval of each worker is trained again")
        shown = self.show("logistic")
        self.assertGreater(shown["trained_seconds"], shown["lost_seconds"])
        instants = [at] + [l["at"] for l in self.journal_lines() if l["at"] > at]
        pause = max(later - earlier for earlier, later in zip(instants, instants[1:]))
        measure(ending, f"{twice}; {pause:.0f} s{also}")

    def all_end(self, ending, also=""):
        """The study is over; how soon its jobs are."""
        self.cluster.wait("an empty queue", lambda: not self.cluster.run("squeue", "--noheader").stdout, 60, self.logs)
        finished = int(json.loads(read(f"{self.state}/status.json"))["studies"][0]["finished_at_ms"]) / 1000
        measure(ending, f"0; all had ended after {time.time() - finished:.0f} s{also}")

    def check_all_given_back(self, log):
        self.assertNotIn("DUE TO TIME LIMIT", log, "no limit was reached")
        attempts = [attempt for trial in json.loads(self.rung("trial", "list", "-o", "json").stdout)["trials"]
                    for attempt in json.loads(self.rung("trial", "show", str(trial["trial"]), "-o", "json").stdout)["attempts"]]
        self.assertEqual([attempt for attempt in attempts if attempt["state"] == "lost"], [], "every attempt was released, none lost")
        self.assertEqual(self.trained()[1], 0, "with a checkpoint")

    def served_terms(self):
        """Of the coordinators that workers could reach."""
        log = [json.loads(line) for line in read(f"{self.state}/logs/rungd.log").splitlines()]
        return [line["term"] for line in log if line["event"] == "started" and line["tcp"]]

    def at_work(self, host=None):
        """A worker (of `rung worker list`) in an attempt of which at least two epochs are to come."""
        epochs = {(l["trial"], l["rung"], l["attempt"]): l["epoch"] for l in self.journal_lines() if l["event"] in ("start", "epoch")}
        for worker in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"]:
            reached = epochs.get((worker["trial"], worker["rung"], worker["attempt"]))
            if reached is not None and worker["host"] == (host or worker["host"]) and 3 ** worker["rung"] - reached >= 2:
                return worker
        return None

    def wait_until_lost(self, worker):
        """Until its attempt is there for others; that instant."""
        def lost():
            shown = json.loads(self.rung("trial", "show", f"logistic/{worker['trial']}", "-o", "json").stdout)
            return [a for a in shown["attempts"] if (a["rung"], a["attempt"], a["state"]) == (worker["rung"], worker["attempt"], "lost")]
        self.cluster.wait("the attempt is lost", lost, 60, self.logs)
        return time.time()

    def wait_until_taken(self, worker):
        """Until another process goes on with what this one trained; that instant."""
        key = (worker["trial"], worker["rung"])
        again = lambda: [l for l in self.journal_lines() if l["event"] == "start" and (l["trial"], l["rung"]) == key and
                         l["attempt"] > worker["attempt"]]
        return self.cluster.wait("the trial, taken by another worker", again, 60, self.logs)[0]["at"]

    def all_restart(self, jobs):
        self.cluster.wait("the second starts", lambda: self.alive(jobs[0]) and
                          {task["Restarts"] for job in jobs for task in self.tasks(job)} == {"1"}, 120, self.logs)

    def pre_empt(self, partition, ending, *flags, pace=0.1):
        jobs = self.begin("--partition", partition, *flags, pace=pace)
        at = time.time()
        other = self.sbatch("--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 5")
        self.all_restart(jobs)
        self.state_of(other, "COMPLETED")
        self.finish(ending, jobs[0], at)
        for array in jobs[1:]:
            self.cluster.wait("the end of the array", lambda: self.exit_codes(array), 60, self.logs)
            self.assertEqual(self.exit_codes(array), {"0:0"}, self.logs())

    def state_of(self, job, *states):
        return self.cluster.wait(f"{states} of job {job}", lambda: (s := self.cluster.job(job)["JobState"]) in states and s, 90,
                                 self.logs)


class EndingsTest(Ending):
    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=PRE_EMPTION)

    def test_time_limit(self):
        """As users set it: --time, and nothing else."""
        job = self.begin("--time", "5", pace=4)[0]
        self.cluster.wait("the second start", lambda: self.alive(job) and self.cluster.job(job)["Restarts"] == "1", 300, self.logs)
        log = read(f"{self.state}/logs/slurm-{job}.log")
        self.assertIn("workers ended with 85", log)
        self.finish("time limit, or its warning", job, time.time())
        self.check_all_given_back(log + read(f"{self.state}/logs/slurm-{job}-coordinator.log"))

    def test_time_limits_of_an_elastic_study(self):
        """Workers leave before their limit; the coordinator, which has no such margin, is warned by Slurm."""
        coordinator, workers = self.begin("--elastic", "--time", "5", pace=7)
        self.cluster.wait("all start again", lambda: self.alive(coordinator) and {task["Restarts"] for task in self.tasks(workers)} ==
                          {self.cluster.job(coordinator)["Restarts"]} == {"1"}, 300, self.logs)
        at = time.time()
        self.finish("time limit, or its warning (elastic)", coordinator, at)
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})
        self.check_all_given_back("".join(map(read, glob.glob(f"{self.state}/logs/slurm-*.log"))))

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
        host = self.cluster.job(job)["BatchHost"]
        worker = self.cluster.wait("a worker at work", lambda: self.alive(job) and self.at_work(host), 60, self.logs)
        at = time.time()
        os.kill(worker["pid"], signal.SIGKILL)
        known = self.wait_until_lost(worker) - at
        self.finish("a worker is killed, or leaves (killed)", job, at, also=f", known after {known:.0f} s")

    def test_a_worker_is_killed_on_another_node(self):
        """Nobody sees the end of its process: it is silent for three lease times, of 5 s."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator = self.begin("--elastic", "--cpus-per-worker", "3", pace=1)[0]
        host = "node1" if self.cluster.job(coordinator)["BatchHost"] == "node2" else "node2"
        worker = self.cluster.wait("a worker at work", lambda: self.alive(coordinator) and self.at_work(host), 60, self.logs)
        at = time.time()
        os.kill(worker["pid"], signal.SIGKILL)
        known = self.wait_until_lost(worker) - at
        self.finish("a worker is killed, or leaves (killed on another node)", coordinator, at, also=f", known after {known:.0f} s")

    def test_a_worker_is_sent_home(self):
        coordinator = self.begin("--elastic", pace=1)[0]
        self.cluster.wait("a worker at work", lambda: self.alive(coordinator) and self.at_work(), 60, self.logs)
        at = time.time()
        self.rung("slurm", "scale", "logistic", "--workers", "1")
        self.finish("a worker is killed, or leaves (leaves)", coordinator, at)
        self.assertEqual(self.trained()[1], 0, "with a checkpoint")

    def test_requeue_by_an_administrator(self):
        job = self.begin()[0]
        at = time.time()
        self.cluster.run("scontrol", "requeue", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1", 60, self.logs)
        self.finish("`scontrol requeue`", job, at)

    def test_requeue_of_an_elastic_study(self):
        jobs = self.begin("--elastic")
        at = time.time()
        for job in jobs:
            self.cluster.run("scontrol", "requeue", str(job))
        self.all_restart(jobs)
        self.finish("`scontrol requeue` (elastic)", jobs[0], at)

    def test_the_coordinators_node_dies(self):
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator = self.begin("--elastic", "--cpus-per-worker", "3")[0]
        node = int(self.cluster.job(coordinator)["BatchHost"][4:])
        at = time.time()
        self.cluster.kill_node(node)
        try:
            self.finish("the coordinator's node dies", coordinator, at)
        finally:
            self.cluster.start_node(node)

    def test_a_workers_node_dies(self):
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator = self.begin("--elastic", "--cpus-per-worker", "3")[0]
        node = 3 - int(self.cluster.job(coordinator)["BatchHost"][4:])
        at = time.time()
        self.cluster.kill_node(node)
        try:
            self.finish("a worker's node dies, elastic", coordinator, at)
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

    def test_a_paused_study_ends_its_chain(self):
        jobs = self.begin("--chain", "2", site="IDLE_MINUTES=1\n")
        self.rung("study", "pause", "logistic")
        self.assertEqual(self.wait_for_end(jobs[0], 120), "FAILED", self.logs())
        self.assertEqual(self.accounted(jobs[0]), ("FAILED", "1:0"))
        self.assertEqual(self.wait_for_end(jobs[1], 60), "CANCELLED", self.logs())
        self.nothing_left()
        at = time.time()
        self.rung("study", "resume", "logistic")
        self.finish("the study is paused for `IDLE_MINUTES`", self.again(), at)

    def test_the_controller_restarts(self):
        job = self.begin()[0]
        at = time.time()
        self.cluster.restart_controller()
        self.finish("the Slurm controller restarts", job, at)

    def test_tasks_that_never_start(self):
        job, workers = self.begin("--elastic", "--cpus-per-worker", "3")
        at = time.time()
        self.rung("slurm", "scale", "logistic", "--workers", "5")  # two nodes have room for two
        self.finish("an array task never starts", job, at)
        self.cluster.wait("an empty queue", lambda: not self.status("logistic")["jobs"], 60, self.logs)

    def test_a_chain_that_submits_itself(self):
        job = self.begin("--until-done")[0]
        waiting = [row for row in self.status("logistic")["jobs"] if row["state"] == "PENDING"]
        self.assertEqual(len(waiting), 1, "the successor was submitted at the start")
        at = time.time()
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.assertEqual(self.wait_for_end(job, 60), "COMPLETED", self.logs())
        self.finish("time limit, or its warning (chain, warned)", waiting[0]["job"], at)
        self.assertEqual(self.status("logistic")["jobs"], [], "no successor is left over")

    def test_a_chain_where_nodes_may_not_submit(self):
        refuses = self.program("sbatch", "#!/bin/bash\necho 'sbatch: error: Access/permission denied' >&2\nexit 1\n")
        job = self.begin("--until-done", site=self.setup(f"PATH={refuses}:$PATH\n"))[0]
        self.assertEqual([row["job"] for row in self.status("logistic")["jobs"]], [job])
        at = time.time()
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1", 90, self.logs)
        self.finish("time limit, or its warning (chain, nodes may not submit)", job, at)
        self.assertIn("no job can be submitted from here", read(f"{self.state}/logs/slurm-{job}.log"))

    def test_a_chain_reaches_its_time_limits(self):
        """Nobody ends these jobs but time."""
        self.begin("--until-done", "--time", "3", site="WARNING_SECONDS=30\n", pace=4)
        self.cluster.wait("the end of the chain", lambda: not self.status("logistic")["jobs"], 300, self.logs)
        jobs = [int(line.split()[0]) for line in read(f"{self.state}/slurm/logistic.jobs").splitlines()]
        ends = [self.cluster.job(job)["JobState"] for job in jobs]
        self.assertGreaterEqual(len(jobs), 3, "two jobs that trained, and one that was not needed any more")
        self.assertEqual(ends, ["COMPLETED"] * (len(jobs) - 1) + ["CANCELLED"], self.logs())
        for job, following in zip(jobs[:-2], jobs[1:]):
            self.assertIn(f"job {following} goes on\n", read(f"{self.state}/logs/slurm-{job}.log"))
        self.check_store("logistic")
        twice = self.trained()[1]
        self.assertEqual(twice, 0, "each worker checkpointed before its limit")
        pause = max(later["at"] - earlier["at"] for earlier, later in zip(self.journal_lines(), self.journal_lines()[1:]))
        measure("time limit, or its warning (chain)", f"{twice}; {pause:.0f} s")

    def test_workers_that_cannot_start_end_the_chain(self):
        log = self.chain_without_workers("#!/nowhere\n", "--gpus-per-worker", "0")
        self.assertIn("no worker is left", log)

    def test_workers_with_wrong_gpus_end_the_chain(self):
        log = self.chain_without_workers(f'#!/bin/bash\nCUDA_VISIBLE_DEVICES=0,1 exec {slurm_case.BIN}/rung-worker "$@"\n',
                                         "--gpus-per-worker", "1")
        self.assertIn("a worker cannot work here", log)

    def chain_without_workers(self, worker, *flags):
        """Three jobs with this text as rung-worker; the log of the first."""
        programs = self.program("rung-worker", worker)
        for program in ("rung", "rungd"):
            os.symlink(f"{slurm_case.BIN}/{program}", f"{programs}/{program}")
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write(self.setup(f"programs={programs}\n"))
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=DRAIN", "Reason=test")  # until all three are queued
        submitted = json.loads(self.rung("slurm", "submit", self.write_study(), "--workers", "1", "--chain", "3", *flags, "-o", "json").stdout)
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=RESUME")
        jobs = submitted["jobs"]
        self.assertEqual(self.wait_for_end(jobs[0], 60), "FAILED", self.logs())
        self.assertEqual(self.accounted(jobs[0]), ("FAILED", "1:0"))
        for job in jobs[1:]:
            self.assertEqual(self.wait_for_end(job, 30), "CANCELLED", "it would fail as well")
            self.assertEqual(self.cluster.job(job)["StartTime"], self.cluster.job(job)["EndTime"], "it never ran")
        self.assertEqual(self.journal_lines(), [])
        return read(submitted["log"])

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

    def test_status_where_there_is_no_squeue(self):
        job = self.begin()[0]
        without = ["env", f"PATH={self.work}", f"{slurm_case.BIN}/rung", "slurm", "status", "logistic", "--dir", self.state]
        status = json.loads(self.cluster.run(*without, "-o", "json").stdout)["studies"][0]
        self.assertEqual((status["coordinator_answers"], status["study"]["state"], status["jobs"]), (True, "running", None))
        text = self.cluster.run(*without)
        self.assertIn("logistic is running", text.stdout)
        self.assertRegex(text.stderr, "the queue cannot be read: .*squeue")
        self.rung("slurm", "cancel", "logistic")
        self.wait_for_end(job, 60)

    def test_status_says_when_a_waiting_job_starts(self):
        first = self.sbatch("--nodes=2", "--exclusive", "--time=5", "--output=/dev/null", "--wrap=sleep 300")
        self.state_of(first, "RUNNING")
        study = self.write_study()
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "-o", "json").stdout)["job"]
        row = self.cluster.wait("an estimate", lambda: (row := self.status("logistic")["jobs"][0])["start"] and row, 60, self.logs)
        self.assertEqual((row["job"], row["state"]), (job, "PENDING"))
        self.assertIn(row["reason"], ("(Resources)", "(Priority)"))
        self.assertEqual(row["priority"], int(self.cluster.job(job)["Priority"]))
        self.assertGreater(row["priority"], 0)
        instant = datetime.datetime.fromisoformat
        wait = instant(row["start"]) - instant(self.cluster.job(first)["EndTime"])
        self.assertLess(abs(wait.total_seconds()), 120, "when the job before it reaches its limit")
        self.assertIn(row["start"], self.rung("slurm", "status", "logistic").stdout)
        self.rung("slurm", "cancel", "logistic")
        self.cluster.run("scancel", str(first))
        self.assertEqual(self.wait_for_end(job, 30), "CANCELLED")

    def test_the_documented_line_watches_a_job(self):
        """As over ssh -t: the same words, in a terminal."""
        manual = read(f"{slurm_case.HERE}/../../docs/slurm.md")
        line = re.search(r"^ssh -t LOGIN-NODE (rung study watch S --dir DIR)\b", manual, re.MULTILINE).group(1)
        job = self.begin()[0]
        master, terminal = pty.openpty()
        watch = subprocess.Popen(line.replace(" S ", " logistic ").replace("DIR", self.state).split(), stdin=terminal, stdout=terminal,
                                 stderr=terminal, env={**self.cluster.env, "PATH": f"{slurm_case.BIN}:{self.cluster.env['PATH']}", "TERM": "xterm"})
        self.addCleanup(watch.kill)
        os.close(terminal)
        seen = b""
        try:
            while data := os.read(master, 1 << 16):
                seen += data
        except OSError:
            pass  # the watching ended
        os.close(master)
        self.assertEqual(watch.wait(), 0, seen)
        self.assertEqual(self.wait_for_end(job, 60), "COMPLETED", self.logs())
        for word in (b"logistic", b"done", b"\x1b["):
            self.assertIn(word, seen, "it was drawn anew until the study was done")

    def test_a_chain_outlives_its_time_limits(self):
        """Three jobs, each ended by its warning; the next goes on, and what is not needed any more is cancelled."""
        flags = [self.write_study(budget_max=9, brackets=2), "--workers", "2", "--gpus-per-worker", "0", "--chain", "3"]
        planned = self.planned(self.rung("slurm", "submit", *flags, "--dry-run").stdout)
        jobs = json.loads(self.rung("slurm", "submit", *flags, "-o", "json").stdout)["jobs"]
        self.assertEqual([script for _, script in planned], [self.batch_script(job) for job in jobs], "byte for byte")
        for before, (command, _), job in zip(jobs, planned[1:], jobs[1:]):
            self.assertRegex(command, r"^sbatch .*--dependency=afterany:JOB[12] ")
            self.assertEqual(self.cluster.job(job)["Dependency"], f"afterany:{before}(unfulfilled)")
        self.cluster.wait("a result", lambda: self.alive(jobs[0]) and len(self.done()) >= 1, 60, self.logs)
        self.assertEqual({row["state"] for row in self.status("logistic")["jobs"]}, {"RUNNING", "PENDING"})
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(jobs[0]))
        self.assertEqual(self.wait_for_end(jobs[0], 60), "COMPLETED", self.logs())
        self.assertEqual(self.wait_for_end(jobs[1], 150), "COMPLETED", self.logs())
        self.assertEqual(self.wait_for_end(jobs[2], 60), "CANCELLED", self.logs())
        self.check_store("logistic")

    def test_two_elastic_studies_share_a_node(self):
        self.two_studies_share_a_node("--elastic")

    def test_elastic_jobs_load_their_modules_and_run_in_their_image(self):
        coordinator, workers = self.begin("--elastic", site=self.site_with_an_image())
        self.assertEqual(self.wait_for_end(coordinator, 120), "COMPLETED", self.logs())
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})
        self.check_asked(3, {("rungd", ""): 1, ("rung-worker", ""): 2})

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
        measure("a job starts after the study is over", f"0; ended after {time.time() - at:.0f} s")


class CoordinatorElsewhereTest(Ending):
    """The coordinator runs outside Slurm, as on a login node; only the workers are jobs."""

    def serve(self):
        log = open(f"{self.work}/serve.log", "a")
        self.addCleanup(log.close)
        serve = subprocess.Popen([f"{slurm_case.BIN}/rung", "serve", "--listen", "auto", "--lease-ttl", "5s", "--exit-when-done",
                                  "--dir", self.state], env=self.cluster.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(serve.wait)
        self.addCleanup(serve.kill)
        self.cluster.wait("the coordinator", lambda: self.serves(serve) and self.endpoint().get("pid") == serve.pid, 30, self.logs)
        return serve

    def serves(self, serve):
        self.assertIsNone(serve.poll(), f"the coordinator ended: {read(f'{self.work}/serve.log')}")
        return True

    def begin_elsewhere(self, *flags, site="", pace=0.1):
        """The coordinator's process, and the array of its workers."""
        self.write_site(site)
        self.rung("study", "create", self.write_study(budget_max=9, brackets=3, PACE=str(pace), ROWS="300"))
        refused = self.rung("slurm", "scale", "logistic", "--workers", "1", "-o", "json", check=False)
        self.assertEqual(json.loads(refused.stderr)["error"]["code"], "E0807", "this coordinator cannot be reached from nodes")
        serve = self.serve()
        workers = json.loads(self.rung("slurm", "scale", "logistic", "--workers", "2", *flags, "-o", "json").stdout)["job"]
        self.cluster.wait("two results", lambda: self.serves(serve) and len(self.done()) >= 2, 60, self.logs)
        return serve, workers

    def finish_elsewhere(self, ending, serve, workers, at):
        """The coordinator ends with the study, and then the workers do."""
        self.cluster.wait("training again", lambda: self.serves(serve) and self.trains_since(at), 120, self.logs)
        self.cluster.wait("the end of the study", lambda: serve.poll() is not None, 240, self.logs)
        self.assertEqual(serve.returncode, 0)
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.finished(ending, at)

    def test_the_study_is_done(self):
        serve, workers = self.begin_elsewhere()
        self.hold()
        self.nothing_secret([workers], programs=("rung-worker",))
        self.let_go()
        self.cluster.wait("the end of the study", lambda: serve.poll() is not None, 120, self.logs)
        self.assertEqual(serve.returncode, 0)
        self.all_end("the study is done (coordinator elsewhere)")
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())
        self.check_store("logistic")
        self.assertEqual(self.trained()[1], 0)

    def test_the_coordinator_is_killed_and_started_again(self):
        """Its workers train on, and wait for the next one."""
        serve, workers = self.begin_elsewhere(pace=0.5)
        at = time.time()
        serve.kill()
        serve.wait()
        again = self.serve()
        self.finish_elsewhere("the coordinator dies (killed, elsewhere)", again, workers, at)
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())
        self.assertEqual({task["Restarts"] for task in self.tasks(workers)}, {"0"}, "the workers stayed")

    def test_the_workers_reach_their_time_limit(self):
        serve, workers = self.begin_elsewhere("--time", "3", site="WARNING_SECONDS=30\n", pace=4)
        self.cluster.wait("the tasks start again", lambda: self.serves(serve) and
                          {task["Restarts"] for task in self.tasks(workers)} == {"1"}, 300, self.logs)
        self.finish_elsewhere("time limit, or its warning (coordinator elsewhere)", serve, workers, time.time())
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())
        self.check_all_given_back("".join(map(read, glob.glob(f"{self.state}/logs/slurm-*.log"))))

    def test_a_workers_job_is_cancelled(self):
        serve, workers = self.begin_elsewhere(pace=0.5)
        self.cluster.run("scancel", f"{workers}_1")
        self.cluster.wait("its end", lambda: "CANCELLED" in {task["JobState"] for task in self.tasks(workers)}, 60, self.logs)
        at = time.time()
        self.finish_elsewhere("`scancel` of an elastic study's workers, or coordinator (a worker, coordinator elsewhere)", serve, workers, at)


class WarnedPreEmptionTest(Ending):
    """Where Slurm sends its warning at a pre-emption too."""

    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more=PRE_EMPTION, scheduler=",preempt_send_user_signal")

    def test_pre_emption_with_grace_and_a_warning(self):
        self.pre_empt("grace", "pre-emption with grace, one job (warned)")

    def test_pre_emption_with_grace_and_a_warning_of_an_elastic_study(self):
        self.pre_empt("grace", "pre-emption with grace, elastic (warned)", "--elastic")


class NodesOfAJobTest(Ending):
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


class ManyWorkersTest(Ending):
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


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class CutLinkTest(Ending):
    """A node that nobody reaches any more, whose processes live on: the worker there trains, and does not know."""

    CLUSTER = dict(nodes=2, cpus=4, gpus=1, silence=10, link=True)

    def test_a_nodes_link_is_cut_and_its_worker_lives_on(self):
        coordinator, workers = self.begin("--elastic", "--cpus-per-worker", "3", pace=2)
        self.assertEqual(self.cluster.job(coordinator)["BatchHost"], "node1")
        worker = self.cluster.wait("a worker at work behind the link", lambda: self.at_work("node2"), 60, self.logs)
        slurmd = self.cluster.daemons[2]
        # Slurm must not end the old worker before it has its say.
        os.kill(slurmd.pid, signal.SIGSTOP)
        self.cluster.set_link("down")
        at = time.time()
        key = (worker["trial"], worker["rung"])
        old = worker["attempt"]
        taken = self.wait_until_taken(worker)
        self.cluster.wait("Slurm gives the node up", lambda: "DOWN" in self.cluster.run(
            "sinfo", "-h", "-n", "node2", "-o", "%T").stdout.upper(), 90, self.logs)
        self.assertTrue(os.path.exists(f"/proc/{worker['pid']}"), "the old process lives on")
        self.cluster.set_link("up")
        log = f"{self.state}/logs/worker-{worker['worker']}.log"
        # Its result is refused, or it was still training.
        fenced = re.compile(f'report_refused.*attempt {old} of 1/{key[0]} |"attempt":"1/{key[0]}/{key[1]}/0/{old}","outcome":"abandoned')
        self.cluster.wait("the old worker learns that it is fenced off", lambda: fenced.search(read(log)), 60, self.logs)
        os.kill(slurmd.pid, signal.SIGCONT)
        self.assertEqual(self.wait_for_end(coordinator, 240), "COMPLETED", self.logs())
        self.check_store("logistic")
        reported = [a["attempt"] for a in json.loads(self.rung("trial", "show", f"logistic/{key[0]}", "-o", "json").stdout)["attempts"]
                    if a["rung"] == key[1] and a["state"] == "reported"]
        self.assertNotIn(old, reported, "nothing that the cut-off worker said was taken")
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed")
        before = {l["epoch"] for l in self.journal_lines() if l["event"] == "epoch" and (l["trial"], l["rung"]) == key and l["at"] <= at}
        twice = [l for l in self.journal_lines() if l["event"] == "epoch" and (l["trial"], l["rung"]) == key and
                 l["attempt"] > old and l["epoch"] in before]
        self.assertLessEqual(len(twice), 1)
        measure("a worker's link is cut, its process lives on", f"{len(twice)}; another worker took the trial after {taken - at:.0f} s")

    def test_a_coordinator_comes_back_from_the_dead(self):
        """Its node stops and is cut off; Slurm starts the next one elsewhere; then both are alive."""
        self.cluster.run("scontrol", "update", "NodeName=node1", "State=DRAIN", "Reason=test")
        coordinator, workers = self.begin("--elastic", "--cpus-per-worker", "3", pace=1.5)
        self.cluster.run("scontrol", "update", "NodeName=node1", "State=RESUME")
        first = self.endpoint()
        self.assertEqual(first["host"], "node2")
        slurmd = self.cluster.daemons[2]
        os.kill(first["pid"], signal.SIGSTOP)
        os.kill(slurmd.pid, signal.SIGSTOP)
        self.cluster.set_link("down")
        at = time.time()
        second = self.cluster.wait("another coordinator", lambda: (e := self.endpoint()).get("host") == "node1" and e, 150, self.logs)
        self.assertGreater(second["term"], first["term"])
        # The nodes of this test share /tmp: the old coordinator, when it ends, takes the new one's socket away.
        attached = f'"event":"attached","worker":"node1-slurm-{workers}_1","term":"{second["term"]}"'
        self.cluster.wait("the other worker's return", lambda: any(attached in read(log) for log in glob.glob(
            f"{self.state}/logs/worker-node1-*.log")), 60, self.logs)
        self.assertTrue(os.path.exists(f"/proc/{first['pid']}"), "both are alive")
        os.kill(first["pid"], signal.SIGCONT)
        self.cluster.set_link("up")
        self.cluster.wait("the end of the old coordinator", lambda: not os.path.exists(f"/proc/{first['pid']}"), 60, self.logs)
        os.kill(slurmd.pid, signal.SIGCONT)
        self.assertEqual(self.wait_for_end(coordinator, 240), "COMPLETED", self.logs())
        self.check_store("logistic")
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed")
        self.assertEqual(self.served_terms(), [str(first["term"]), str(second["term"])])
        instants = [at] + [l["at"] for l in self.journal_lines() if l["at"] > at]
        pause = max(later - earlier for earlier, later in zip(instants, instants[1:]))
        measure("a coordinator comes back from the dead", f"{self.trained()[1]}; {pause:.0f} s")


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class OutOfMemoryTest(Ending):
    CLUSTER = dict(nodes=1, cpus=4, gpus=1, memory=True)

    def test_a_trainer_takes_more_memory_than_its_job_has(self):
        job = self.begin("--memory-per-worker", "500M", pace=0.2, GREEDY_TRIAL="4")[0]
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.assertEqual([l for l in self.journal_lines() if l["event"] == "sated"], [], "the limit holds")
        shown = self.show("logistic")
        self.assertEqual((shown["state"], shown["failures_by_cause"]), ("done", {"out_of_memory": 1}))
        ends = [l["at"] for l in self.journal_lines() if l["event"] == "start" and l["trial"] == 4]
        self.assertEqual(len(ends), 1, "it is not tried again")
        after = min(l["at"] for l in self.journal_lines() if l["event"] == "start" and l["at"] > ends[0]) - ends[0]
        self.assertEqual(self.trained()[1], 0)
        measure("out of memory in the trainer", f"0; {after:.0f} s")

    def test_out_of_memory_kills_a_worker(self):
        """Not its trainer, which grows: the kernel is told to prefer the worker. Its task ends, and its trial goes on elsewhere."""
        greedy = f"{self.work}/greedy"
        coordinator, workers = self.begin("--elastic", "--memory-per-worker", "500M", pace=1, GREEDY_WORKER=greedy)
        worker = self.cluster.wait("a worker at work", lambda: self.alive(coordinator) and self.at_work(), 60, self.logs)
        with open(f"/proc/{worker['pid']}/oom_score_adj", "w") as stream:
            stream.write("1000")
        at = time.time()
        with open(f"{greedy}.new", "w") as stream:
            stream.write(str(worker["pid"]))
        os.rename(f"{greedy}.new", greedy)
        self.cluster.wait("the end of the worker", lambda: not os.path.exists(f"/proc/{worker['pid']}"), 60, self.logs)
        self.wait_until_taken(worker)
        self.finish("out of memory kills a worker", coordinator, at)
        self.assertEqual([l for l in self.journal_lines() if l["event"] == "sated"], [], "the limit holds")
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(sorted(task["JobState"] for task in self.tasks(workers)), ["COMPLETED", "OUT_OF_MEMORY"])


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class FullDiskTest(Ending):
    """The state directory on a disk of its own, which fills."""

    CLUSTER = dict(nodes=1, cpus=4, gpus=1)

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(**cls.CLUSTER)
        cls.small = f"{cls.cluster.dir}/small"
        os.mkdir(cls.small)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", cls.small], check=True)
        cls.addClassCleanup(cls.cluster.stop)
        cls.addClassCleanup(subprocess.run, ["umount", "--lazy", cls.small], check=False)
        cls.cluster.__enter__()
        cls.cluster.env.pop("XDG_RUNTIME_DIR", None)

    def fill(self):
        with open(f"{self.small}/filler", "wb", buffering=0) as filler:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    pass

    def test_the_temporary_directory_of_a_node_is_full(self):
        """Rung has no bytes there: not the job's script, nor a worker or a coordinator that starts."""
        os.mkdir(f"{self.small}/tmp")
        self.addCleanup(os.rmdir, f"{self.small}/tmp")  # empty
        self.fill()
        self.addCleanup(os.remove, f"{self.small}/filler")
        job = self.begin(site=self.setup(f"export TMPDIR={self.small}/tmp\n"))[0]
        at = time.time()
        self.assertIn(f"TMPDIR={self.small}/tmp", {entry for process in self.ours() for entry in process.environment})
        self.finish("a node's TMPDIR is full", job, at)

    def test_the_disk_is_full(self):
        self.state = f"{self.small}/state"
        job = self.begin(pace=0.3)[0]
        before = self.stored("logistic")
        at = time.time()
        self.fill()
        state = self.wait_for_end(job, 120)
        self.assertEqual(state, "FAILED", self.logs())
        full = time.time() - at
        self.nothing_left()
        os.remove(f"{self.small}/filler")
        at = time.time()
        again = self.again()
        self.finish("the disk is full", again, at, also=f", the job had failed after {full:.0f} s")
        for key in before:
            self.assertEqual([l for l in self.journal_lines() if l["event"] == "start" and (l["trial"], l["rung"]) == key and
                              l["at"] > at], [], "what was acknowledged is there")


def rows_of_the_manual():
    """ending -> its other cells: lost at most, who goes on, how soon, measured."""
    lines = read(f"{slurm_case.HERE}/../../docs/slurm.md").split("\n| ending |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {ending: cells for ending, *cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def measured_cell(cases):
    """"0; 7 s (chain: 0; 5 s; elastic: 1; 6 s)": what has no case comes first."""
    plain = cases.get("", "")
    others = "; ".join(f"{case}: {text}" for case, text in sorted(cases.items()) if case)
    return f"{plain} ({others})" if plain and others else plain or others


def tearDownModule():
    """Prints the table of docs/slurm.md with what was measured now; fails if that is a table of other cases."""
    manual = rows_of_the_manual()
    print("\n| ending | lost at most | who goes on | how soon | measured |\n|---|---|---|---|---|")
    for ending in [*manual, *(ending for ending in TABLE if ending not in manual)]:
        if ending in TABLE:
            print("| " + " | ".join([ending, *manual.get(ending, [""] * 4)[:3], measured_cell(TABLE[ending])]) + " |")
    unknown = set(TABLE) - set(manual)
    missing, other = set(), {}
    if sys.argv[1:] == [] and os.geteuid() == 0:  # all of it ran
        missing = set(manual) - set(TABLE)
        numberless = lambda text: re.sub(r"[0-9]+", "N", text)
        other = {ending: measured_cell(cases) for ending, cases in TABLE.items()
                 if ending in manual and numberless(manual[ending][3]) != numberless(measured_cell(cases))}
    if unknown or missing or other:
        raise AssertionError(f"docs/slurm.md has no row for {unknown}, or no test measured {missing}, or its cell `measured` is not as here: {other}")


if __name__ == "__main__":
    slurm_case.BIN = os.path.abspath(sys.argv.pop(1))
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
