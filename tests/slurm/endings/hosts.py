"""What a host can do to a study: a cut link, a coordinator back from the dead, no memory, a full disk."""
import glob
import json
import os
import re
import signal
import subprocess
import time
import unittest

import cluster
from endings import case


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class CutLinkTest(case.Ending):
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
        self.cluster.wait("the old worker learns that it is fenced off", lambda: fenced.search(case.read(log)), 60, self.logs)
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
        case.measure("a worker's link is cut, its process lives on", f"{len(twice)}; another worker took the trial after {taken - at:.0f} s")

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
        self.cluster.wait("the other worker's return", lambda: any(attached in case.read(log) for log in glob.glob(
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
        case.measure("a coordinator comes back from the dead", f"{self.trained()[1]}; {pause:.0f} s")


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class OutOfMemoryTest(case.Ending):
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
        case.measure("out of memory in the trainer", f"0; {after:.0f} s")

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
class FullDiskTest(case.Ending):
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
