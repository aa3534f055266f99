"""Workers on a real Slurm: whose GPUs they use, that they leave before the job ends, and that nothing stays on the node.

Usage: worker_test.py BIN_DIR [--soak]
"""
import collections
import json
import os
import re
import sys
import unittest

import cluster
import slurm_case

SOAK = False
HELD_TWICE = {(place, gpu) for place in "01" for gpu in "01"}

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
srun --ntasks=1 --overlap --gres=gpu:1 --export=ALL {bin}/rung-worker --dir {state} --slot a --gpus 1 --endpoint-wait 600s &
srun --ntasks=1 --overlap --gres=gpu:1 --export=ALL {bin}/rung-worker --dir {state} --slot b --gpus 1 --endpoint-wait 600s &
wait -n; code=$?
exit $code
"""


class WorkerCase(slurm_case.SlurmCase):
    CLUSTER = dict(nodes=1, cpus=6, gpus=2)

    def submit(self, study, *flags):
        submitted = self.rung("slurm", "submit", study, *flags, "-o", "json")
        return json.loads(submitted.stdout)

    def write_device_study(self, **shape):
        """Its trials note their devices, and wait for holders()."""
        self.hold()
        wrapper = f"{self.work}/note_device.py"
        with open(wrapper, "w") as stream:
            stream.write(NOTE_DEVICE)
        return self.write_study(**shape, changes={"trainer.argv": [sys.executable, wrapper, f"{slurm_case.HERE}/trainer.py"]})

    def check_devices(self, workers_of_a_gpu, seen=("0", "1")):
        """Each worker saw one GPU, the same one all the time, and so many workers had each. seen: the GPUs' numbers."""
        workers = collections.defaultdict(set)
        for line in self.journal_lines():
            if line["event"] == "device":
                workers[line["node"], line["worker"]].add(line["gpu"])
        self.assertEqual(sorted(gpu for gpus in workers.values() for gpu in gpus), sorted(seen * workers_of_a_gpu), workers)
        self.assertEqual(len(workers), len(seen) * workers_of_a_gpu, "no worker changes its GPU")

    def claims(self):
        """(place, gpu) of the abstract sockets by which workers hold their GPUs."""
        return set(re.findall(rf"@rung-gpu-{os.geteuid()}-(\d+)-(\S+)-node1@", self.cluster.unix_sockets()))

    def holders(self, job, held):
        """Waits until workers hold these GPUs, and each of them has a trial, none of which goes on before."""
        started = lambda: sum(line["event"] == "start" for line in self.journal_lines())
        self.cluster.wait("the holders of both GPUs", lambda: self.alive(job) and self.claims() == held and started() == len(held),
                          60, self.logs)
        self.let_go()

    def elastic(self, *flags, held, workers_of_a_gpu, seen=("0", "1")):
        study = self.write_device_study(budget_max=9, brackets=2)
        coordinator, workers = self.submit(study, "--workers", "2", "--elastic", *flags)["jobs"]
        self.holders(coordinator, held)
        self.assertEqual(self.wait_for_end(coordinator, 150), "COMPLETED", self.logs())
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"}, self.logs())
        self.check_store("logistic")
        self.check_devices(workers_of_a_gpu, seen)


class WorkerTest(WorkerCase):
    def test_two_trials_share_a_gpu(self):
        study = self.write_device_study(budget_max=3, brackets=2)
        job = self.submit(study, "--workers", "2", "--trials-per-gpu", "2")["job"]
        self.holders(job, HELD_TWICE)
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        self.check_store("logistic")
        self.check_devices(workers_of_a_gpu=2)

    def test_two_trials_share_the_gpu_of_an_elastic_worker(self):
        self.elastic("--trials-per-gpu", "2", held=HELD_TWICE, workers_of_a_gpu=2)

    def test_tasks_of_an_array_have_a_gpu_each(self):
        self.elastic(held={("0", "0"), ("0", "1")}, workers_of_a_gpu=1)

    def batch(self, text):
        os.makedirs(self.state, exist_ok=True)
        log = f"{self.work}/batch.log"
        script = f"{self.work}/batch.sh"
        with open(script, "w") as stream:
            stream.write(text.format(bin=slurm_case.BIN, state=self.state, log=log))
        job = self.sbatch(script)
        self.wait_for_end(job, 60)
        with open(log) as stream:
            return self.accounted(job), stream.read()

    def test_a_worker_that_sees_more_than_its_gpu_does_not_train(self):
        accounted, log = self.batch(CARELESS)
        self.assertEqual(accounted, ("FAILED", "5:0"), log)
        self.assertIn("E0703", log)
        self.assertIn("2 GPUs instead of 1", log)

    def test_two_workers_on_one_gpu_are_told_apart(self):
        if not SOAK:
            self.skipTest("waits half a minute for the GPU: make soak-slurm")
        accounted, log = self.batch(OVERLAPPING)
        self.assertEqual(accounted, ("FAILED", "5:0"), log)
        self.assertIn("E0704", log)

    def test_workers_that_are_not_needed_leave(self):
        """One trial and three workers: one leaves at once, another when the minute is over that it had nothing to do."""
        if not SOAK:
            self.skipTest("waits for a minute: make soak-slurm")
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("IDLE_MINUTES=1\nGPUS_PER_WORKER=0\n")
        study = self.write_study(budget_max=1, changes={"stop": {"trials": 1}})
        self.hold()
        coordinator, workers = self.submit(study, "--workers", "3", "--elastic")["jobs"]
        gone = lambda: [task for task in self.tasks(workers) if task["JobState"] in slurm_case.FINISHED]
        self.cluster.wait("two are gone", lambda: self.alive(coordinator) and len(gone()) == 2, 90, self.logs)
        self.assertEqual(self.done(), [], "the third still trains")
        self.assertEqual({task["ExitCode"] for task in gone()}, {"0:0"})
        logs = [self.log_of(task) for task in gone()]
        self.assertEqual([sum(why in log for log in logs) for why in ("other workers do all that is left", "no work for long")], [1, 1], logs)
        self.let_go()
        self.assertEqual(self.wait_for_end(coordinator, 90), "COMPLETED", self.logs())
        self.cluster.wait("the end of the array", lambda: self.exit_codes(workers), 60, self.logs)
        self.assertEqual(self.exit_codes(workers), {"0:0"})

    def log_of(self, task):
        with open(f"{self.state}/logs/slurm-{task['ArrayJobId']}_{task['ArrayTaskId']}.log") as stream:
            return stream.read()


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class ConstrainedTest(WorkerCase):
    """Where jobs cannot open the GPUs of others each sees its own as number 0."""

    CLUSTER = dict(nodes=1, cpus=6, gpus=2, devices=True)

    def test_tasks_of_an_array_have_a_gpu_each(self):
        self.elastic(held={("0", "0"), ("0", "1")}, workers_of_a_gpu=1, seen=("0", "0"))

    def test_tasks_of_a_step_have_a_gpu_each(self):
        study = self.write_device_study(budget_max=9, brackets=2)
        job = self.submit(study, "--workers", "2")["job"]
        self.holders(job, {("0", "0"), ("0", "1")})
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        self.check_devices(workers_of_a_gpu=1, seen=("0", "0"))


class TypedTest(WorkerCase):
    """Two kinds of GPUs in a node: the site wants the second, whose numbers are 2 and 3."""

    CLUSTER = dict(nodes=1, cpus=6, gpus=4, types=("a100", "v100"))

    def test_a_job_has_gpus_of_its_type(self):
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("GRES=gpu:v100\n")
        study = self.write_device_study(budget_max=3, brackets=1)
        job = self.submit(study, "--workers", "2")["job"]
        self.holders(job, {("0", "2"), ("0", "3")})
        self.assertEqual(self.wait_for_end(job, 120), "COMPLETED", self.logs())
        self.check_devices(workers_of_a_gpu=1, seen=("2", "3"))


if __name__ == "__main__":
    slurm_case.BIN = os.path.abspath(sys.argv.pop(1))
    if "--soak" in sys.argv:
        sys.argv.remove("--soak")
        SOAK = True
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
