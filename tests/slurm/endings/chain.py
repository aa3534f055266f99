"""How jobs end that follow each other."""
import json
import os
import time

import slurm_case
from endings import case


class ChainTest(case.Ending):
    CLUSTER = dict(nodes=2, cpus=4, gpus=1, more="PartitionName=short Nodes=ALL DefaultTime=3 MaxTime=3 DefMemPerCPU=1000\n")

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

    def test_a_chain_reaches_its_time_limits(self):
        """Nobody ends these jobs but time."""
        self.begin("--until-done", "--time", "3", site="WARNING_SECONDS=30\n", pace=4)
        self.cluster.wait("the end of the chain", lambda: not self.status("logistic")["jobs"], 300, self.logs)
        jobs = [int(line.split()[0]) for line in case.read(f"{self.state}/slurm/logistic.jobs").splitlines()]
        ends = [self.cluster.job(job)["JobState"] for job in jobs]
        self.assertGreaterEqual(len(jobs), 3, "two jobs that trained, and one that was not needed any more")
        self.assertEqual(ends, ["COMPLETED"] * (len(jobs) - 1) + ["CANCELLED"], self.logs())
        for job, following in zip(jobs[:-2], jobs[1:]):
            self.assertIn(f"job {following} goes on\n", case.read(f"{self.state}/logs/slurm-{job}.log"))
        self.check_store("logistic")
        twice = self.trained()[1]
        self.assertEqual(twice, 0, "each worker checkpointed before its limit")
        pause = max(later["at"] - earlier["at"] for earlier, later in zip(self.journal_lines(), self.journal_lines()[1:]))
        case.measure("time limit, or its warning (chain)", f"{twice}; {pause:.0f} s")

    def test_a_chain_that_submits_itself(self):
        job = self.begin("--until-done", site=self.setup(f"export API_TOKEN={slurm_case.OF_SETUP}\n"))[0]
        waiting = [row for row in self.status("logistic")["jobs"] if row["state"] == "PENDING"]
        self.assertEqual(len(waiting), 1, "the successor was submitted at the start")
        kept = self.stored_environment(waiting[0]["job"])
        self.assertIn("PATH=", kept)
        self.assertNotIn(slurm_case.OF_SETUP, kept, "what a job's setup sets is not told to the controller")
        at = time.time()
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.assertEqual(self.wait_for_end(job, 60), "COMPLETED", self.logs())
        self.finish("time limit, or its warning (chain, warned)", waiting[0]["job"], at)
        self.assertEqual(self.status("logistic")["jobs"], [], "no successor is left over")

    def test_a_chain_is_cancelled(self):
        """What waits goes first: it never runs."""
        jobs = self.begin("--chain", "2", pace=1)
        self.rung("slurm", "cancel", "logistic")
        self.assertEqual(self.wait_for_end(jobs[0], 60), "FAILED", self.logs())
        self.assertEqual(self.accounted(jobs[0]), ("FAILED", "143:0"))
        self.assertEqual(self.wait_for_end(jobs[1], 30), "CANCELLED")
        self.assertEqual(self.cluster.job(jobs[1])["StartTime"], self.cluster.job(jobs[1])["EndTime"], "it never ran")
        self.assertEqual(self.trained()[1], 0)

    def test_a_chain_where_nodes_may_not_submit(self):
        refuses = self.program("sbatch", "#!/bin/bash\necho 'sbatch: error: Access/permission denied' >&2\nexit 1\n")
        job = self.begin("--until-done", site=self.setup(f"PATH={refuses}:$PATH\n"))[0]
        self.assertEqual([row["job"] for row in self.status("logistic")["jobs"]], [job])
        at = time.time()
        self.cluster.run("scancel", "--batch", "--signal=USR1", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1", 90, self.logs)
        self.finish("time limit, or its warning (chain, nodes may not submit)", job, at)
        self.assertIn("no job can be submitted from here", case.read(f"{self.state}/logs/slurm-{job}.log"))

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

    def test_a_limit_that_is_too_short_ends_the_chain(self):
        """For any attempt, with the warning that jobs have: nothing is trained, and no job after it tries again."""
        for flags in (["--chain", "3"], ["--until-done"]):
            self.state = f"{self.work}/{flags[0]}"
            study = self.write_study()
            jobs = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "--partition", "short", *flags,
                                        "-o", "json").stdout)["jobs"]
            self.assertEqual(self.wait_for_end(jobs[0], 60), "FAILED", self.logs())
            self.assertIn("the time limit is too short for one attempt", case.read(f"{self.state}/logs/slurm-{jobs[0]}.log"))
            self.cluster.wait("an empty queue", lambda: not self.status("logistic")["jobs"], 30, self.logs)
            noted = [int(line.split()[0]) for line in case.read(f"{self.state}/slurm/logistic.jobs").splitlines()]
            self.assertEqual([self.cluster.job(job)["JobState"] for job in noted[1:]], ["CANCELLED"] * (len(noted) - 1), noted)
            self.assertEqual(len(noted), 3 if flags[0] == "--chain" else 2)
        self.assertEqual(self.journal_lines(), [])

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
        return case.read(submitted["log"])
