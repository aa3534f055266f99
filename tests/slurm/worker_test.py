"""Workers on a real Slurm: whose GPUs they use, that they leave before the job ends, and that nothing stays on the node.

Usage: worker_test.py BIN_DIR [--soak]
"""
import collections
import glob
import json
import os
import sys
import unittest

import cluster
import slurm_test

SOAK = False

# The worker's device, as a trial sees it, beside the trainer of the other tests.
NOTE_DEVICE = """
import json, os, sys
line = {"event": "device", "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "worker": os.getppid(), "node": os.uname().nodename}
descriptor = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(descriptor, (json.dumps(line) + "\\n").encode())
os.execv(sys.executable, [sys.executable, sys.argv[1]])
"""

# A worker step as people write it by hand: every task sees all GPUs of the step.
CARELESS = """#!/bin/bash
#SBATCH --ntasks=2 --nodes=1 --gres=gpu:2 --output={log}
srun --ntasks=2 {bin}/rung-worker --dir {state} --slot "$SLURM_PROCID" --gpus 1 --endpoint-wait 5s
"""
OVERLAPPING = """#!/bin/bash
#SBATCH --ntasks=2 --nodes=1 --gres=gpu:2 --output={log}
export CUDA_VISIBLE_DEVICES=0
srun --ntasks=1 --overlap --gres=gpu:1 --export=ALL {bin}/rung-worker --dir {state} --slot a --gpus 1 --endpoint-wait 40s &
srun --ntasks=1 --overlap --gres=gpu:1 --export=ALL {bin}/rung-worker --dir {state} --slot b --gpus 1 --endpoint-wait 40s &
wait -n; code=$?
exit $code
"""


class WorkerTest(slurm_test.SlurmTest):
    NODES, CPUS, GPUS = 1, 4, 2

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(nodes=cls.NODES, cpus=cls.CPUS, gpus=cls.GPUS)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.env.pop("XDG_RUNTIME_DIR", None)

    def submit(self, study, *flags):
        submitted = self.rung("slurm", "submit", study, *flags, "-o", "json")
        return json.loads(submitted.stdout)

    def write_device_study(self, **changes):
        path = self.write_study(**changes)
        with open(path) as stream:
            study = json.load(stream)
        wrapper = f"{self.work}/note_device.py"
        with open(wrapper, "w") as stream:
            stream.write(NOTE_DEVICE)
        study["trainer"]["argv"].insert(1, wrapper)
        with open(path, "w") as stream:
            json.dump(study, stream)
        return path

    def left_behind(self):
        """What of this test's study is still on the node: processes, sockets, temporary files, shared memory."""
        left = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as stream:
                    words = stream.read().split(b"\0")
                with open(f"/proc/{pid}/environ", "rb") as stream:
                    environment = stream.read()
            except OSError:
                continue
            named = any(self.state.encode() in word for word in words) or self.journal.encode() in environment
            if named and int(pid) != os.getpid():
                left.append(b" ".join(words).decode(errors="replace"))
        with open("/proc/net/unix") as stream:
            left += [line for line in stream.read().splitlines() if "rung-gpu-" in line and self.uid_of(line)]
        left += [path for path in self.sockets if os.path.exists(path)]
        now = self.temporary()
        return left + sorted(path for path in now - self.before if self.mine(path))

    def uid_of(self, line):
        return f"rung-gpu-{os.geteuid()}-" in line and "@node" in line

    def temporary(self):
        return set(glob.glob("/tmp/rung-job-*") + glob.glob("/dev/shm/*"))

    def mine(self, path):
        try:
            return os.stat(path).st_uid == os.geteuid()
        except OSError:
            return False

    def test_two_trials_share_a_gpu_and_nothing_stays_behind(self):
        self.before = self.temporary()
        study = self.write_device_study(budget_max=3, brackets=2)
        job = self.submit(study, "--workers", "2", "--trials-per-gpu", "2")["job"]
        endpoint = self.cluster.wait("the coordinator", lambda: os.path.exists(f"{self.state}/endpoint.json") and
                                     self.alive(job) and json.load(open(f"{self.state}/endpoint.json")), 60, self.logs)
        self.sockets = [endpoint["unix"]]
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        self.check_store("logistic")
        workers = collections.defaultdict(set)
        for line in self.journal_lines():
            if line["event"] == "device":
                workers[line["gpu"]].add((line["node"], line["worker"]))
        self.assertEqual(sorted(workers), ["0", "1"], "each worker sees one GPU, and both are used")
        self.assertEqual({gpu: len(seen) for gpu, seen in workers.items()}, {"0": 2, "1": 2})
        self.assertFalse(workers["0"] & workers["1"], "no worker changes its GPU")
        self.cluster.wait("a clean node", lambda: not self.left_behind(), 20, lambda: "\n".join(self.left_behind()))

    def batch(self, text):
        os.makedirs(self.state, exist_ok=True)
        log = f"{self.work}/batch.log"
        script = f"{self.work}/batch.sh"
        with open(script, "w") as stream:
            stream.write(text.format(bin=slurm_test.BIN, state=self.state, log=log))
        job = self.cluster.run("sbatch", "--parsable", script).stdout.strip()
        state = self.wait_for_end(job, 60)
        with open(log) as stream:
            return state, self.cluster.job(job)["ExitCode"], stream.read()

    def test_a_worker_that_sees_more_than_its_gpu_does_not_train(self):
        state, code, log = self.batch(CARELESS)
        self.assertEqual((state, code), ("FAILED", "5:0"), log)
        self.assertIn("E0703", log)
        self.assertIn("2 GPUs instead of 1", log)

    def test_two_workers_on_one_gpu_are_told_apart(self):
        state, code, log = self.batch(OVERLAPPING)
        self.assertEqual((state, code), ("FAILED", "5:0"), log)
        self.assertIn("E0704", log)

    def test_workers_leave_before_the_time_limit_and_the_job_goes_on(self):
        if not SOAK:
            self.skipTest("waits for a time limit: make soak-slurm")
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("WARNING_SECONDS=30\n")  # the batch script's warning comes after the workers' own
        study = self.write_study(budget_max=27, brackets=3)
        submitted = self.submit(study, "--workers", "1", "--gpus-per-worker", "0", "--time", "2")
        job = submitted["job"]
        self.cluster.wait("a result", lambda: self.alive(job) and len(self.done()) >= 1, 60, self.logs)
        shown = json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"]
        self.assertTrue(0 < shown[0]["job_seconds_left"] <= 120, shown)
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1" and
                          self.cluster.job(job)["JobState"] == "RUNNING", 150, self.logs)
        with open(submitted["log"]) as stream:
            log = stream.read()
        self.assertIn("workers ended with 85", log)
        self.assertNotIn("CANCELLED", log, "the time limit was not reached")
        lost = [a for t in json.loads(self.rung("trial", "list", "-o", "json").stdout)["trials"]
                for a in json.loads(self.rung("trial", "show", str(t["trial"]), "-o", "json").stdout)["attempts"]
                if a["state"] == "lost"]
        self.assertEqual(lost, [], "every attempt was released, none lost")
        self.cluster.run("scancel", str(job))


def load_tests(loader, tests, pattern):
    return unittest.TestSuite(WorkerTest(name) for name in WorkerTest.__dict__ if name.startswith("test_"))


if __name__ == "__main__":
    slurm_test.BIN = os.path.abspath(sys.argv.pop(1))
    if "--soak" in sys.argv:
        sys.argv.remove("--soak")
        SOAK = True
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
