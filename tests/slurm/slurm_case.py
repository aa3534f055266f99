"""What the tests of Rung on Slurm share: a cluster for each class of them (cluster.py), a study, and what they ask of both.

A test module sets BIN, the directory of Rung's programs, before it runs.
"""
import collections
import contextlib
import datetime
import functools
import glob
import hashlib
import json
import os
import re
import signal
import stat
import sys
import time
import unittest

import cluster

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = ""
PLANTED = "planted-secret-of-the-submitting-shell"
OF_SETUP = "planted-secret-of-the-setup"
OF_THE_SHELL = ("SQUEUE_FORMAT=%i", "SQUEUE_STATES=PENDING", "SCANCEL_STATE=PENDING")  # must not reach our calls of Slurm
FINISHED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


Process = collections.namedtuple("Process", "pid program argv environment")


def processes():
    """All that can be looked at. program: the path of what it runs; environment: what it was started with, NAME=VALUE."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = []
            for name in ("cmdline", "environ"):
                with open(f"/proc/{pid}/{name}", "rb") as stream:
                    words.append(stream.read().decode(errors="replace").split("\0"))
            yield Process(int(pid), os.readlink(f"/proc/{pid}/exe"), *words)
        except OSError:
            continue


def names(environment):
    return {entry.split("=", 1)[0] for entry in environment}


class SlurmCase(unittest.TestCase):
    """A cluster for all tests of a class, and what they ask of Rung and of Slurm."""

    CLUSTER = dict(nodes=2, cpus=4, gpus=1)

    @classmethod
    def setUpClass(cls):
        cls.cluster = cluster.Cluster(**cls.CLUSTER)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.env["HF_TOKEN"] = PLANTED
        cls.cluster.env["SBATCH_TIMELIMIT"] = "not-a-time"  # of another submission: must not reach ours
        # The studies use the host's own sockets and temporary files, not those of a caller's session.
        cls.cluster.env.pop("XDG_RUNTIME_DIR", None)

    def run(self, result=None):
        self.result = result
        return super().run(result)

    def setUp(self):
        self.work = f"{self.cluster.dir}/{self._testMethodName}"
        os.mkdir(self.work)
        self.state = f"{self.work}/state"
        self.journal = f"{self.work}/journal"
        self.held = f"{self.work}/held"
        self.shared_memory = self.cluster.shared_memory()

    def tearDown(self):
        """However the test's jobs ended: nothing of them stays behind."""
        if any(test is self for test, _ in self.result.failures + self.result.errors):
            self.cluster.run("scancel", "--full", "--me", check=False)
        else:
            self.cluster.wait("an empty queue", lambda: not self.cluster.run("squeue", "--noheader").stdout, 60, self.logs)
            self.nothing_left()

    def nothing_left(self, killed=False):
        """On no node; the study's jobs have ended. killed: Slurm killed a coordinator. It leaves the name of its socket, which
        the next one on that node takes."""
        for process in self.ours():
            if process.program == f"{BIN}/rungd" and "SLURM_JOB_ID" not in names(process.environment):
                # A command of this test started it, on the "login node", and it waits for the next command.
                with contextlib.suppress(ProcessLookupError):  # no longer
                    os.kill(process.pid, signal.SIGTERM)
        self.cluster.wait("nothing stays behind", lambda: not self.left_behind(killed), 30, lambda: "\n".join(self.left_behind(killed)))

    def left_behind(self, killed=False):
        """What is still there: processes, sockets, temporary files, shared memory."""
        left = [f"process {p.pid} {p.program}: {' '.join(p.argv)}" for p in self.ours()]
        state = hashlib.sha256(os.path.realpath(self.state).encode()).hexdigest()[:12]
        sockets = re.compile(rf"/tmp/rung-{os.geteuid()}/{state}|@rung-gpu-{os.geteuid()}-[^@]*-node[0-9]+@")
        left += [f"socket {line.split()[-1]}" for line in self.cluster.unix_sockets().splitlines() if sockets.search(line)]
        files = glob.glob(f"/tmp/rung-{os.geteuid()}/{state}*") + glob.glob(f"{self.cluster.dir}/tmp/*")
        left += [f"file {path}" for path in files if not (killed and path.endswith(".sock"))]
        return left + [f"shared memory {name}" for _, name in self.cluster.shared_memory() - self.shared_memory]

    def ours(self):
        """Processes of this cluster's jobs, and of this test's study."""
        conf = f"SLURM_CONF={self.cluster.dir}/slurm.conf"
        for process in processes():
            in_a_job = conf in process.environment and (
                "SLURM_JOB_ID" in names(process.environment) or process.argv[0].startswith("slurmstepd"))
            serves_the_study = os.path.dirname(process.program) == BIN and self.state in process.argv
            if in_a_job or serves_the_study or f"JOURNAL={self.journal}" in process.environment:
                yield process

    def rung(self, *arguments, check=True):
        """7 says "try again": a job's coordinator may be gone with its node, and the next one is on its way."""
        end = time.monotonic() + 60 * cluster.PATIENCE
        while True:
            result = self.cluster.run("env", *OF_THE_SHELL, f"{BIN}/rung", *arguments, "--dir", self.state, check=False, timeout=90)
            if not check or result.returncode != 7 or time.monotonic() > end:
                break
        if check and result.returncode != 0:
            self.fail(f"rung {arguments} -> {result.returncode}\n{result.stdout}\n{result.stderr}\n{self.logs()}")
        return result

    def sbatch(self, *words):
        """Another job, as a person submits it; its number."""
        return int(self.cluster.run("env", "-u", "SBATCH_TIMELIMIT", "sbatch", "--parsable", *words).stdout)

    def logs(self):
        text = ""
        for path in sorted(glob.glob(f"{self.state}/logs/*")):
            with open(path, errors="replace") as stream:
                text += f"--- {path}\n" + "".join(stream.readlines()[-25:])
        return text

    def hold(self):
        """No trainer of this test begins an epoch before let_go(): however fast it is, no study ends before the test has looked."""
        with open(self.held, "w"):
            pass

    def let_go(self):
        os.remove(self.held)

    def write_study(self, budget_max=9, brackets=3, changes=None, **environment):
        """Its path. changes: what it has instead, "trainer.argv" -> [...]. environment: of its trainers."""
        study = {
            "name": "logistic",
            "trainer": {"type": "command", "argv": [sys.executable, f"{HERE}/trainer.py"], "cwd": self.work,
                        "env": {"JOURNAL": self.journal, "HOLD": self.held, **environment}, "deterministic": True},
            "objective": {"metric": "validation/accuracy", "goal": "maximize"},
            "budget": {"unit": "epochs", "min": 1, "max": budget_max, "eta": 3},
            "algorithm": {"type": "bohb"},
            "space": {"learning_rate": {"low": 1e-4, "high": 0.5, "log": True}, "l2": {"low": 1e-6, "high": 0.1, "log": True}},
            "stop": {"brackets": brackets},
            "seed": 7,
        }
        for place, value in (changes or {}).items():
            *parents, key = place.split(".")
            functools.reduce(dict.__getitem__, parents, study)[key] = value
        path = f"{self.work}/{study['name']}.json"
        with open(path, "w") as stream:
            json.dump(study, stream)
        return path

    def site_with_an_image(self):
        """A site whose jobs load modules and run in an image: its cluster.env. What `module` and `apptainer` are asked is written
        to self.asked, and then the program runs as it is."""
        self.asked = f"{self.work}/asked"
        site = f"{self.work}/site"
        os.makedirs(f"{site}/init")
        with open(f"{site}/init/bash", "w") as stream:
            stream.write(f'module() {{ echo "module $*" >>{self.asked}; }}\n')
        with open(f"{site}/apptainer", "w") as stream:
            stream.write(f'#!/bin/bash\necho "apptainer $*" >>{self.asked}\nwhile [ "$1" != /sw/rung.sif ]; do shift; done\nshift\nexec "$@"\n')
        os.chmod(f"{site}/apptainer", 0o755)
        before = dict(self.cluster.env)
        self.addCleanup(setattr, self.cluster, "env", before)
        self.cluster.env = {**before, "PATH": f"{site}:{before['PATH']}", "MODULESHOME": site}
        return "MODULES=gcc/12 cuda/12.4\nIMAGE=/sw/rung.sif\n"

    def check_asked(self, jobs, programs):
        """jobs: so many loaded the modules. programs: (name, " --nv" or "") -> how often it was started in the image; and `rung`, to
        look whether the study is over."""
        with open(self.asked) as stream:
            asked = collections.Counter(line.split(" --dir ")[0].rstrip() for line in stream)
        looks = [line for line in list(asked) if line.endswith("/rung slurm status logistic")]
        self.assertTrue(looks, asked)
        for line in looks:
            del asked[line]
        self.assertEqual(asked, {"module load gcc/12": jobs, "module load cuda/12.4": jobs, **{
            f"apptainer exec --bind {self.state} --bind {BIN}{gpus} /sw/rung.sif {BIN}/{program}": count
            for (program, gpus), count in programs.items()}})

    def journal_lines(self):
        if not os.path.exists(self.journal):
            return []
        with open(self.journal) as stream:
            return [json.loads(line) for line in stream]

    def done(self):
        return [line for line in self.journal_lines() if line["event"] == "done"]

    def wait_for_end(self, job, seconds):
        return self.cluster.wait(f"the end of job {job}",
                                 lambda: (s := self.cluster.job(job)["JobState"]) in FINISHED and s, seconds, self.logs)

    def alive(self, job):
        state = self.cluster.job(job)["JobState"]
        if state in FINISHED:
            self.fail(f"job {job} is {state} already\n{self.logs()}")
        return True

    def check_store(self, name):
        """The study is done and every (trial, rung) was reported once, last of all; (trial, rung) -> attempts."""
        shown = self.show(name)
        self.assertEqual(shown["state"], "done", shown)
        states = self.attempts(name)
        for key, seen in states.items():
            self.assertEqual(seen.count("reported"), 1, f"(trial, rung) {key} is reported once: {seen}")
            self.assertEqual(seen[-1], "reported", "nothing runs after the result is stored")
        return {key: len(seen) for key, seen in states.items()}

    def attempts(self, name):
        """(trial, rung) -> the states of its attempts to train it, in the store, first to last."""
        states = collections.defaultdict(list)
        for trial in json.loads(self.rung("trial", "list", name, "-o", "json").stdout)["trials"]:
            detail = json.loads(self.rung("trial", "show", f"{name}/{trial['trial']}", "-o", "json").stdout)
            for attempt in (a for a in detail["attempts"] if a["kind"] == "train"):
                states[trial["trial"], attempt["rung"]].append(attempt["state"])
        return states

    def stored(self, name):
        """Every (trial, rung) whose result is stored. (A trainer is done before: what it says then may die with its node.)"""
        return {(row["trial"], rung["rung"]) for row in json.loads(self.rung("trial", "list", name, "-o", "json").stdout)["trials"]
                for rung in row["rungs"] if rung["score"] is not None}

    def show(self, name):
        return json.loads(self.rung("study", "show", name, "-o", "json").stdout)

    def requeue(self, job):
        """When the job runs again: what starts later, the second start did."""
        self.cluster.run("scontrol", "requeue", str(job))
        self.cluster.wait("the second start", lambda: self.cluster.job(job)["Restarts"] == "1" and
                          self.cluster.job(job)["JobState"] == "RUNNING", 60)
        return datetime.datetime.fromisoformat(self.cluster.job(job)["StartTime"]).timestamp()

    def check_trained_after(self, requeued):
        """The second start of the job granted attempts that gave results: the requeue did not come when all was over."""
        reported = []
        for row in json.loads(self.rung("trial", "list", "-o", "json").stdout)["trials"]:
            shown = json.loads(self.rung("trial", "show", str(row["trial"]), "-o", "json").stdout)
            reported += [attempt["started_at"] for attempt in shown["attempts"] if attempt["state"] == "reported"]
        instants = [datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() for at in reported]
        self.assertTrue(any(at >= requeued for at in instants), f"no attempt started after {requeued}: {sorted(instants)}")

    def status(self, name):
        return json.loads(self.rung("slurm", "status", name, "-o", "json").stdout)["studies"][0]

    def answered_status(self):
        """As the coordinator has it, which the command gives a few seconds to answer."""
        return self.cluster.wait("the coordinator's answer", lambda: (s := self.status("logistic"))["coordinator_answers"] and s, 10,
                                 self.logs)

    def endpoint(self):
        try:
            with open(f"{self.state}/endpoint.json") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return {}

    def nothing_secret(self, jobs, programs=("rungd", "rung-worker")):
        """Tokens and the caller's secrets are in no place that others, or Slurm's records, can see. programs: in the jobs."""
        secrets = [PLANTED, OF_SETUP]
        for path in glob.glob(f"{self.state}/tokens/*"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            with open(path) as stream:
                secrets.append(stream.read().strip())
        self.assertGreaterEqual(len(secrets), 4, "three tokens and the planted one")
        shown = "\n".join(" ".join(process.argv) for process in processes())
        wanted = {*programs, os.path.basename(os.path.realpath(sys.executable))}

        def in_jobs():
            found = [p for p in self.ours() if names(p.environment) & {"SLURM_JOB_ID", "JOURNAL"}]
            return found if wanted <= {os.path.basename(process.program) for process in found} else None

        found = self.cluster.wait(f"{', '.join(programs)} and a trainer to look at", in_jobs, 30, self.logs)
        shown += "\n".join("\n".join(process.environment) for process in found)
        for job in jobs:
            shown += self.cluster.run("scontrol", "-dd", "show", "job", str(job)).stdout + self.batch_script(job)
            shown += self.stored_environment(job)
        for secret in secrets:
            self.assertNotIn(secret, shown)

    def stored_environment(self, job):
        """What the controller keeps of it."""
        kept = glob.glob(f"{self.cluster.dir}/state/hash.*/job.{job}/environment")
        self.assertTrue(kept, "the job's stored environment")
        text = ""
        for path in kept:
            with open(path, "rb") as stream:
                text += stream.read().decode(errors="replace")
        return text

    def two_studies_share_a_node(self, *shape):
        """Two state directories, two studies' jobs at once on one node: neither sees the other's coordinator, workers or files."""
        self.cluster.run("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=test")
        self.addCleanup(self.cluster.run, "scontrol", "update", "NodeName=node2", "State=RESUME", check=False)
        jobs = {}
        self.hold()
        for name in ("first", "second"):
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            study = self.write_study(budget_max=3, brackets=1)
            submitted = self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", *shape, "-o", "json")
            jobs[name] = json.loads(submitted.stdout)["jobs"]
        self.cluster.wait("a trial of each", lambda: all(os.path.exists(f"{self.work}/{name}-journal") for name in jobs), 60, self.logs)
        self.let_go()
        for name, (job, *workers) in jobs.items():
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            self.assertEqual(self.wait_for_end(job, 90), "COMPLETED", self.logs())
            self.assertEqual(self.cluster.job(job)["ExitCode"], "0:0")
            for array in workers:
                self.cluster.wait("the end of the array", lambda: self.exit_codes(array), 60, self.logs)
                self.assertEqual(self.exit_codes(array), {"0:0"}, self.logs())
            attempts = self.check_store("logistic")
            self.assertEqual({(l["trial"], l["rung"]) for l in self.done()}, set(attempts))
        shown = [self.cluster.job(job) for of_study in jobs.values() for job in of_study]
        self.assertEqual(len({job["BatchHost"] for job in shown}), 1)
        self.assertLess(max(job["StartTime"] for job in shown), min(job["EndTime"] for job in shown), "all ran at once")
        for name in jobs:
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            self.nothing_left()

    def planned(self, dry):
        """[(command, script)] of what --dry-run prints of several jobs."""
        parts = re.split(r"^#### JOB\d+: (.*)\n", dry, flags=re.MULTILINE)[1:]
        return list(zip(parts[::2], parts[1::2]))

    def batch_script(self, job):
        """What Slurm got."""
        path = f"{self.work}/batch-{job}.sh"
        self.cluster.run("scontrol", "write", "batch_script", str(job), path)
        with open(path) as stream:
            return stream.read()

    def accounted(self, job):
        """(state, exit code) of the job's last run, as sacct tells it."""
        rows = self.cluster.run("sacct", "--completion", "--noheader", "--parsable2", f"--jobs={job}", "--format=State,ExitCode").stdout
        return tuple(rows.splitlines()[-1].split("|")) if rows else None

    def tasks(self, array):
        """key -> value of `scontrol show job` for each task; one that waits stands for all that wait."""
        shown = self.cluster.run("scontrol", "--oneliner", "show", "job", str(array)).stdout
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in shown.splitlines() if line]

    def exit_codes(self, array):
        """Of the array's tasks; empty while one has not ended."""
        tasks = self.tasks(array)
        if any(task["JobState"] not in FINISHED for task in tasks):
            return set()
        return {task["ExitCode"] for task in tasks}
