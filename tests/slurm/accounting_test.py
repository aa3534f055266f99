"""What Slurm's own accounts (slurmdbd on MariaDB, started by this test) have of a study's jobs: their states and exit codes, and
how much of the time that they had was trained.

Usage: accounting_test.py BIN_DIR      (`make soak-slurm`)
"""
import datetime
import glob
import json
import os
import pwd
import sys
import time
import unittest

import cluster
import slurm_case
from endings import case

LEASE_SECONDS = 5  # of Ending.begin()


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class AccountingTest(case.Ending):
    CLUSTER = dict(nodes=2, cpus=4, gpus=1, accounting=True)

    def sacct(self, job, *flags, fields="State,ExitCode"):
        rows = self.cluster.run("sacct", *flags, "--duplicates", "--noheader", "--parsable2", f"--jobs={job}", f"--format={fields}").stdout
        return [tuple(row.split("|")) for row in rows.splitlines()]

    def starts(self, job, fields="State,ExitCode"):
        """The fields of each start of a job, or of each task of an array."""
        return self.sacct(job, "--allocations", fields=fields)

    def steps(self, job):
        """name -> (state, exit code) of the steps of a job that started once."""
        return {name: (state, code) for step, name, state, code in self.sacct(job, fields="JobID,JobName,State,ExitCode") if "." in step}

    def wait_for_accounts(self, job, rows):
        """Slurm's controller tells the accounting a little later. rows: of an array in the order of their letters."""
        rows_now = lambda: sorted(self.starts(job)) if len(self.tasks(job)) > 1 else self.starts(job)
        try:
            self.cluster.wait("the accounts", lambda: rows_now() == rows, 10)
        except AssertionError:
            self.assertEqual(rows_now(), rows, self.logs())

    def submit(self, *flags):
        return json.loads(self.rung("slurm", "submit", *flags, "--gpus-per-worker", "0", "-o", "json").stdout)["jobs"]

    def test_a_job_whose_study_is_done(self):
        job = self.begin()[0]
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.wait_for_accounts(job, [("COMPLETED", "0:0")])
        self.assertEqual(self.steps(job), {name: ("COMPLETED", "0:0") for name in ("batch", "rung-coordinator", "rung-worker")})

    def test_elastic_jobs_whose_study_is_done(self):
        coordinator, workers = self.begin("--elastic")
        self.assertEqual(self.wait_for_end(coordinator, 150), "COMPLETED", self.logs())
        self.wait_for_accounts(coordinator, [("COMPLETED", "0:0")])
        self.wait_for_accounts(workers, [("COMPLETED", "0:0")] * 2)

    def test_a_job_whose_study_failed(self):
        """And those that were to follow it."""
        jobs = self.submit(self.write_hopeless_study(), "--workers", "2", "--chain", "2")
        self.assertEqual(self.wait_for_end(jobs[0], 90), "FAILED", self.logs())
        self.assertEqual(self.wait_for_end(jobs[1], 60), "CANCELLED", self.logs())
        self.check_failed()
        self.wait_for_accounts(jobs[0], [("FAILED", "1:0")])
        self.assertEqual([state.split()[0] for state, _ in self.starts(jobs[1])], ["CANCELLED"])
        self.assertEqual(self.steps(jobs[0])["rung-coordinator"], ("COMPLETED", "0:0"), "which did what it was to do")
        late = self.sbatch(f"{self.state}/slurm/logistic.sh")
        self.assertEqual(self.wait_for_end(late, 60), "FAILED", self.logs())
        self.wait_for_accounts(late, [("FAILED", "1:0")])

    def test_elastic_jobs_whose_study_failed(self):
        coordinator, workers = self.submit(self.write_hopeless_study(), "--workers", "2", "--elastic")
        self.assertEqual(self.wait_for_end(coordinator, 90), "FAILED", self.logs())
        self.check_failed()
        self.wait_for_accounts(coordinator, [("FAILED", "1:0")])
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.wait_for_accounts(workers, [("COMPLETED", "0:0")] * 2)

    def check_failed(self):
        shown = self.show("logistic")
        self.assertEqual(shown["state"], "failed", shown)
        self.assertIn("failed alike", shown["message"])
        log = "".join(case.read(path) for path in glob.glob(f"{self.state}/logs/slurm-*.log"))
        self.assertIn("logistic is failed: no trial got a score", log)

    def test_a_job_that_was_requeued(self):
        """By an administrator, and then by itself at its warning."""
        job = self.begin(pace=0.5)[0]
        self.requeue(job)
        self.cluster.wait("training again", lambda: self.alive(job) and len(self.done()) >= 5, 60, self.logs)
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.assertEqual(self.cluster.job(job)["Restarts"], "2")
        self.wait_for_accounts(job, [("REQUEUED", "0:0"), ("REQUEUED", "0:0"), ("COMPLETED", "0:0")])

    def test_jobs_that_were_cancelled(self):
        """By `rung slurm cancel`, whose workers checkpoint and whose script says how it ended; then by Slurm's own command."""
        job = self.begin(pace=0.5)[0]
        self.rung("slurm", "cancel", "logistic")
        self.assertEqual(self.wait_for_end(job, 60), "FAILED", self.logs())
        self.wait_for_accounts(job, [("FAILED", "15:0")])  # 143, of which sacct takes 128 off
        self.assertEqual(self.trained()[1], 0)
        job = self.again()
        self.cluster.wait("training again", lambda: self.alive(job) and self.status("logistic")["coordinator_answers"], 60, self.logs)
        self.cluster.run("scancel", str(job))
        self.assertEqual(self.wait_for_end(job, 60), "CANCELLED", self.logs())
        self.cluster.wait("the accounts", lambda: [state.split()[0] for state, _ in self.starts(job)] == ["CANCELLED"], 10, self.logs)

    def test_a_job_without_workers(self):
        """The study is paused, so they leave."""
        job = self.begin(site="IDLE_MINUTES=1\n")[0]
        self.rung("study", "pause", "logistic")
        self.assertEqual(self.wait_for_end(job, 120), "FAILED", self.logs())
        self.wait_for_accounts(job, [("FAILED", "1:0")])

    def test_the_doctor_knows_what_a_user_may_charge(self):
        os.mkdir(self.state, 0o700)
        me = pwd.getpwuid(os.geteuid()).pw_name
        for words in (("account", "project-1"), ("qos", "fast"), ("user", me, "account=project-1", "qos=normal,fast")):
            self.cluster.run("sacctmgr", "--immediate", "add", *words)
        found = json.loads(self.rung("slurm", "doctor", "--gpus-per-worker", "1", "-o", "json", check=False).stdout)
        self.assertIn("project-1", found["cluster_env"])
        self.assertRegex(found["cluster_env"], "# QOS: one of .*fast")

    def test_time_of_workers(self):
        """All that Slurm gave to workers was trained, lost or idle, but for their start and their end."""
        coordinator, workers = self.begin("--elastic", pace=0.5)
        self.rung("study", "pause", "logistic")
        self.cluster.wait("nobody trains", lambda: self.show("logistic")["running_seconds"] == 0, 30, self.logs)
        idle = self.show("logistic")["idle_seconds"]
        self.cluster.wait("idle workers", lambda: self.show("logistic")["idle_seconds"] > idle + 10, 30, self.logs)
        self.rung("study", "resume", "logistic")
        self.assertEqual(self.wait_for_end(coordinator, 240), "COMPLETED", self.logs())
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.wait_for_accounts(workers, [("COMPLETED", "0:0")] * 2)
        self.check_time(workers)

    def test_time_of_a_requeued_job(self):
        job = self.begin(pace=0.5)[0]
        self.requeue(job)
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.wait_for_accounts(job, [("REQUEUED", "0:0"), ("COMPLETED", "0:0")])
        self.check_time(job, tasks=2)

    def test_time_of_workers_that_share_a_gpu(self):
        coordinator, workers = self.begin("--elastic", "--gpus-per-worker", "1", "--trials-per-gpu", "2", pace=0.5)
        self.assertEqual(self.wait_for_end(coordinator, 240), "COMPLETED", self.logs())
        self.wait_for_accounts(workers, [("COMPLETED", "0:0")] * 2)
        self.check_time(workers, tasks=2, shared=True)

    def test_time_of_a_job_whose_workers_share_gpus(self):
        job = self.begin("--gpus-per-worker", "1", "--trials-per-gpu", "2", pace=0.5)[0]
        self.assertEqual(self.wait_for_end(job, 240), "COMPLETED", self.logs())
        self.wait_for_accounts(job, [("COMPLETED", "0:0")])
        self.check_time(job, tasks=4, shared=True)

    def test_time_of_a_worker_whose_node_died(self):
        """What it did until its last heartbeat counts, and what its task does when the node is back."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        coordinator, workers = self.begin("--elastic", "--cpus-per-worker", "3", pace=0.5)
        node = 3 - int(self.cluster.job(coordinator)["BatchHost"][4:])
        self.cluster.wait("a worker at work", lambda: self.alive(coordinator) and self.at_work(f"node{node}"), 60, self.logs)
        died = (f"node{node}", time.time())
        self.cluster.kill_node(node)
        # Paused, so that it is not over before the worker is back.
        self.rung("study", "pause", "logistic")
        self.cluster.start_node(node)
        back = lambda: [w for w in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"]
                        if w["host"] == f"node{node}" and w["state"] == "idle"]
        self.cluster.wait("the worker's return", back, 60, self.logs)
        self.rung("study", "resume", "logistic")
        self.assertEqual(self.wait_for_end(coordinator, 240), "COMPLETED", self.logs())
        self.wait_for_accounts(workers, [("COMPLETED", "0:0"), ("COMPLETED", "0:0"), ("NODE_FAIL", "0:0")])
        self.check_time(workers, died=died)
        self.assertIn("lost", sum(self.attempts("logistic").values(), []))

    def check_time(self, job, tasks=1, shared=False, died=None):
        """tasks: workers of each start of the job. shared: some of them leave before its end. died: (node, when) of a worker."""
        shown = self.show("logistic")
        starts = self.starts(job, fields="Start,End,ElapsedRaw")
        allocated = sum(int(elapsed) for _, _, elapsed in starts) * tasks
        self.assertEqual(shown["allocated_seconds"], allocated, starts)
        known = shown["trained_seconds"] + shown["lost_seconds"] + shown["running_seconds"] + shown["idle_seconds"]
        self.assertAlmostEqual(shown["unaccounted_seconds"], max(allocated - known, 0))
        here, attempts = self.workers_here(died)
        workers = len(starts) * tasks
        print(f"{allocated} s allocated to {workers} workers, {sum(here):.1f} s there, {known:.1f} s known, {attempts} attempts", file=sys.stderr)
        self.assertEqual(len(here), workers)
        # Nobody knows of the time between the job's start and a worker's first word, and between its last one and the job's end:
        # the programs' start and end, which an idle machine does within 2 s. Slurm counts in whole seconds.
        self.assertGreater(allocated + workers, sum(here))
        if not shared:
            self.assertLess(allocated - sum(here), 2 * cluster.PATIENCE * workers)
        # All between is trained, lost or idle, but for the way from an attempt's grant to its trainer's start, and from its end to
        # the report: 0.05 s on an idle machine, 0.14 s were seen on a busy one. Idle time is counted in steps of a second. Of one
        # that died nobody knows what came after its last heartbeat.
        self.assertAlmostEqual(known, sum(here), delta=0.25 * attempts + workers + (LEASE_SECONDS if died else 0))

    def workers_here(self, died=None):
        """Seconds from each worker's first word to the coordinator to its last one, as its own log tells; and their attempts."""
        here, attempts = [], 0
        for path in glob.glob(f"{self.state}/logs/worker-*.log"):
            dying = died is not None and f"/worker-{died[0]}-" in path
            attached = None
            for line in map(json.loads, case.read(path).splitlines()):
                if line["event"] == "started":
                    if attached is not None and dying:
                        here[-1] = died[1] - attached  # it had no last word
                        dying = False
                    attached = None
                elif line["event"] == "attached" and attached is None:
                    attached = instant(line["at"])
                    here.append(0)
                if attached is not None:
                    here[-1] = instant(line["at"]) - attached
                attempts += line["event"] == "attempt_started"
        return here, attempts


if __name__ == "__main__":
    slurm_case.BIN = os.path.abspath(sys.argv.pop(1))
    if not cluster.available(accounting=True):
        sys.exit("slurmctld, slurmd, sbatch, slurmdbd or mariadbd is missing: `make soak-slurm` installs Debian's packages")
    unittest.main(verbosity=2)
