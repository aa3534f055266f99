"""What is told of a study's jobs, while they wait and while they run."""
import datetime
import json
import os
import pty
import re
import subprocess

import slurm_case
from endings import case


class StatusTest(case.Ending):
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
        manual = case.read(f"{slurm_case.HERE}/../../docs/slurm.md")
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
