"""Rung on a real Slurm that this test starts itself: the main paths, a requeue, a node's death (endings_test.py has the rest).

Usage: slurm_test.py BIN_DIR
"""
import collections
import contextlib
import csv
import datetime
import glob
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import unittest

import cluster

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = ""
PLANTED = "planted-secret-of-the-submitting-shell"
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
        files = glob.glob(f"/tmp/rung-{os.geteuid()}/{state}*") + glob.glob("/tmp/rung-job-*") + glob.glob(f"{self.cluster.dir}/tmp/*")
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
            result = self.cluster.run(f"{BIN}/rung", *arguments, "--dir", self.state, check=False, timeout=90)
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

    def write_study(self, budget_max=9, brackets=3, **environment):
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
        path = f"{self.work}/study.json"
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
        return {key for key, states in self.attempts(name).items() if "reported" in states}

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

    def nothing_secret(self, jobs):
        """Tokens and the caller's secrets are in no place that others, or Slurm's records, can see."""
        secrets = [PLANTED]
        for path in glob.glob(f"{self.state}/tokens/*"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            with open(path) as stream:
                secrets.append(stream.read().strip())
        self.assertGreaterEqual(len(secrets), 4, "three tokens and the planted one")
        shown = "\n".join(" ".join(process.argv) for process in processes())
        wanted = {"rungd", "rung-worker", os.path.basename(os.path.realpath(sys.executable))}

        def in_jobs():
            found = [p for p in self.ours() if names(p.environment) & {"SLURM_JOB_ID", "JOURNAL"}]
            return found if wanted <= {os.path.basename(process.program) for process in found} else None

        found = self.cluster.wait("a coordinator, a worker and a trainer to look at", in_jobs, 30, self.logs)
        shown += "\n".join("\n".join(process.environment) for process in found)
        for job in jobs:
            shown += self.cluster.run("scontrol", "-dd", "show", "job", str(job)).stdout + self.batch_script(job)
            kept = glob.glob(f"{self.cluster.dir}/state/hash.*/job.{job}/environment")
            self.assertTrue(kept, "the job's stored environment")
            for path in kept:
                with open(path, "rb") as stream:
                    shown += stream.read().decode(errors="replace")
        for secret in secrets:
            self.assertNotIn(secret, shown)

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


class JobScriptTest(unittest.TestCase):
    def test_the_end_of_a_step_is_heard_though_its_line_comes_in_parts(self):
        with open(f"{HERE}/../../deploy/slurm/job.sh") as stream:
            script = stream.read()
        part = script[script.index('coordinator_code=""'):script.index("# TERM to the processes of one step.")]
        shell = ('say() { :; }; ask=""; exec 3<> <(:)\n' + part + '{ printf "coordin" >&3; sleep 1.5; printf "ator 7\\nworkers 0\\n" >&3; } &\n'
                 'next_event 60; next_event 60; echo "$coordinator_code $workers_code"')
        done = subprocess.run(["bash", "-uc", shell], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "7 0\n", done.stderr)


class SlurmTest(SlurmCase):
    def test_a_study_survives_a_requeue_and_ends_the_job(self):
        study = self.write_study()
        flags = ["--workers", "2", "--gpus-per-worker", "1", "--time", "10"]

        dry = self.rung("slurm", "submit", study, *flags, "--dry-run")
        self.assertFalse(os.path.exists(self.state), "--dry-run leaves no trace")

        submitted = json.loads(self.rung("slurm", "submit", study, *flags, "-o", "json").stdout)
        job = submitted["job"]
        with open(submitted["script"]) as stream:
            script = stream.read()
        self.assertEqual(script, dry.stdout, "--dry-run prints what is submitted")
        self.assertEqual(script, self.batch_script(job), "... byte for byte")
        self.assertEqual(stat.S_IMODE(os.stat(submitted["script"]).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.state).st_mode), 0o700)

        self.cluster.wait("three results", lambda: self.alive(job) and len(self.done()) >= 3 and len(self.stored("logistic")) >= 3, 60, self.logs)
        self.hold()
        self.nothing_secret([job])
        self.assertEqual({what.split()[0] for what in self.left_behind()}, {"process", "socket", "file"}, "what is looked for can be seen")
        before = self.stored("logistic")
        requeued = self.requeue(job)
        self.let_go()
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.assertEqual(self.accounted(job), ("COMPLETED", "0:0"))
        self.check_results(before)
        self.check_trained_after(requeued)
        with open(submitted["log"]) as stream:
            log = stream.read()
        self.assertIn("restart 0", log)
        self.assertIn("restart 1", log)

        # The same study again: found finished, nothing is submitted.
        again = self.rung("slurm", "submit", study, *flags)
        self.assertIn("nothing to submit", again.stderr)
        self.assertEqual(again.stdout, "")

    def check_results(self, before):
        attempts = self.check_store("logistic")
        self.assertGreaterEqual(len({trial for trial, _ in attempts}), 9)
        starts = collections.Counter((l["trial"], l["rung"]) for l in self.journal_lines() if l["event"] == "start")
        for key, count in starts.items():
            self.assertLessEqual(count, attempts[key], f"every start of {key} was granted")
        self.check_not_trained_again(before)
        promoted = [l for l in self.journal_lines() if l["event"] == "start" and l["rung"] > 0 and l["offered"]]
        self.assertTrue(promoted, "some trial was promoted")
        self.assertTrue(all(l["epoch"] > 0 for l in promoted), "a promoted trial goes on from its checkpoint")

    def check_not_trained_again(self, finished):
        """Each (trial, rung) that was finished then was started once, and once more whenever it was left."""
        lines = [(l["event"], (l["trial"], l["rung"])) for l in self.journal_lines()]
        for key in finished:
            self.assertEqual(lines.count(("start", key)), 1 + lines.count(("left", key)), f"{key} is not trained again")

    def write_demo_study(self, model, spam):
        """The demo's search on its first e-mails, with its default and its test: a real pretrained transformer, at most a minute."""
        with open(f"{spam}/train.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        for name, part in (("train", rows[1:97]), ("validation", rows[97:129]), ("test", rows[129:161])):
            with open(f"{self.work}/{name}.csv", "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([rows[0]] + part)
        study = {
            "name": "spam-small",
            "trainer": {"type": "text_classification", "train": "train.csv", "validation": "validation.csv",
                        "test": "test.csv", "text": rows[0][0], "label": rows[0][1],
                        "options": {"model_name_or_path": model, "max_seq_length": 24,
                                    "per_device_train_batch_size": 8}},
            "objective": {"metric": "validation/f1_macro", "goal": "maximize"},
            "budget": {"unit": "epochs", "min": 1, "max": 3, "eta": 3},
            "algorithm": {"type": "bohb"},
            "space": {"learning_rate": {"low": 2e-5, "high": 7e-5, "log": True},
                      "optimizer_name": ["Adam", "AdamW", "SGD", "RAdam"],
                      "sgd_momentum": {"low": 0, "high": 0.99, "if": "optimizer_name = SGD"}},
            "stop": {"brackets": 2},
            "enqueue": [{"config": "default", "to": "max"}],
            "seed": 3,
        }
        path = f"{self.work}/study.json"
        with open(path, "w") as stream:
            json.dump(study, stream)
        return path

    @unittest.skipUnless(os.environ.get("RUNG_TEST_MODEL") and os.environ.get("RUNG_TEST_SPAM"),
                         "RUNG_TEST_MODEL and RUNG_TEST_SPAM are not set (make test sets them)")
    def test_a_transformer_is_tuned_across_a_requeue(self):
        study = self.write_demo_study(os.environ["RUNG_TEST_MODEL"], os.environ["RUNG_TEST_SPAM"])
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "--gpus-per-worker", "0",
                                   "-o", "json").stdout)["job"]
        finished = lambda: sum(row["state"] in ("waiting", "completed", "stopped")
                               for row in json.loads(self.rung("trial", "list", "-o", "json").stdout)["trials"])
        self.cluster.wait("the coordinator", lambda: self.rung("study", "show", "-o", "json", check=False).returncode == 0, 30)
        self.cluster.wait("two results", lambda: self.alive(job) and finished() >= 2, 90, self.logs)
        requeued = self.requeue(job)
        self.assertEqual(self.wait_for_end(job, 150), "COMPLETED", self.logs())
        self.assertEqual(self.cluster.job(job)["ExitCode"], "0:0")
        self.check_store("spam-small")
        self.check_trained_after(requeued)
        outcome = json.loads(self.rung("run", study, "-o", "json").stdout)
        for side in ("incumbent", "default"):
            self.assertIsNotNone(outcome[side]["score"])
            self.assertEqual(outcome[side]["score_rung"], 1)
            self.assertEqual(outcome[side]["evaluation"]["values"]["test/rows"], 32)

    def test_a_job_loads_its_modules_and_runs_in_its_image(self):
        os.makedirs(self.state, mode=0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write(self.site_with_an_image())
        study = self.write_study(budget_max=3, brackets=1)
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "-o", "json").stdout)["job"]
        self.assertEqual(self.wait_for_end(job, 90), "COMPLETED", self.logs())
        self.check_store("logistic")
        self.check_asked(1, {("rungd", " --nv"): 1, ("rung-worker", " --nv"): 2})

    def test_two_studies_share_a_node(self):
        """Two state directories, two jobs at once on one node: neither sees the other's coordinator, workers or files."""
        self.cluster.run("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=test")
        self.addCleanup(self.cluster.run, "scontrol", "update", "NodeName=node2", "State=RESUME", check=False)
        jobs = {}
        self.hold()
        for name in ("first", "second"):
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            study = self.write_study(budget_max=3, brackets=1)
            submitted = self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "-o", "json")
            jobs[name] = json.loads(submitted.stdout)["job"]
        self.cluster.wait("a trial of each", lambda: all(os.path.exists(f"{self.work}/{name}-journal") for name in jobs), 60, self.logs)
        self.let_go()
        for name, job in jobs.items():
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            self.assertEqual(self.wait_for_end(job, 90), "COMPLETED", self.logs())
            self.assertEqual(self.cluster.job(job)["ExitCode"], "0:0")
            attempts = self.check_store("logistic")
            self.assertEqual({(l["trial"], l["rung"]) for l in self.done()}, set(attempts))
        first, second = (self.cluster.job(job) for job in jobs.values())
        self.assertEqual(first["BatchHost"], second["BatchHost"])
        self.assertLess(second["StartTime"], first["EndTime"], "both ran at once")
        for name in jobs:
            self.state, self.journal = f"{self.work}/{name}", f"{self.work}/{name}-journal"
            self.nothing_left()

    def test_workers_of_arrays_join_and_leave(self):
        """A coordinator's job and an elastic array; scaled up and down; the study ends all of it."""
        study = self.write_study(budget_max=9, brackets=2)
        flags = ["--gpus-per-worker", "0"]
        self.hold()
        dry = self.rung("slurm", "submit", study, "--workers", "1", "--elastic", *flags, "--dry-run").stdout
        submitted = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--elastic", *flags, "-o", "json").stdout)
        coordinator, workers = submitted["jobs"]
        self.assertEqual([script for _, script in self.planned(dry)], [self.batch_script(coordinator), self.batch_script(workers)],
                         "--dry-run prints what is submitted")
        refused = self.rung("slurm", "submit", study, "--workers", "1", "-o", "json", check=False)
        self.assertEqual(json.loads(refused.stderr)["error"]["code"], "E0808", "one set of jobs for a study")
        with open(study) as stream:
            other = json.load(stream) | {"name": "other"}
        with open(f"{self.work}/other.json", "w") as stream:
            json.dump(other, stream)
        for shape in ([], ["--elastic"]):
            refused = self.rung("slurm", "submit", f"{self.work}/other.json", "--workers", "1", *shape, "-o", "json", check=False)
            self.assertEqual(json.loads(refused.stderr)["error"]["code"], "E0808", "one study's jobs for a directory")
        self.cluster.wait("a trial at work", lambda: self.alive(coordinator) and self.journal_lines(), 60, self.logs)

        self.nothing_secret([coordinator, workers])

        dry = self.rung("slurm", "scale", "logistic", "--workers", "3", *flags, "--dry-run").stdout
        more = json.loads(self.rung("slurm", "scale", "logistic", "--workers", "3", *flags, "-o", "json").stdout)
        self.assertEqual(dry, self.batch_script(more["job"]))
        self.assertEqual(more["workers_before"], 1)
        present = lambda: [w for w in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"] if w["state"] in ("idle", "busy")]
        # A worker tells when its job ends with its first heartbeat, a little after it came.
        three = self.cluster.wait("three workers", lambda: self.alive(coordinator) and len(rows := present()) == 3 and
                                  all(row["job_seconds_left"] for row in rows) and rows, 60, self.logs)
        for worker in three:
            self.assertTrue(0 < worker["job_seconds_left"] <= 600, worker)  # DefaultTime of the partition
        status = self.answered_status()
        self.assertEqual(sorted(row["role"] for row in status["jobs"]), ["coordinator", "workers", "workers", "workers"])

        self.rung("slurm", "scale", "logistic", "--workers", "1", *flags)
        self.cluster.wait("one worker", lambda: self.alive(coordinator) and len(present()) == 1, 60, self.logs)
        self.let_go()
        self.assertEqual(self.wait_for_end(coordinator, 150), "COMPLETED", self.logs())
        self.cluster.wait("no job is left", lambda: not self.status("logistic")["jobs"], 60, self.logs)
        for job in (workers, more["job"]):
            self.cluster.wait("the end of the array", lambda: self.exit_codes(job), 60, self.logs)
            self.assertEqual(self.exit_codes(job), {"0:0"}, self.logs())
        self.check_store("logistic")

        # An array that starts when all is over has nothing to do, and says so.
        self.assertIn("is over", self.rung("slurm", "scale", "logistic", "--workers", "2", *flags).stderr)
        late = self.sbatch(f"{self.state}/slurm/logistic-workers.sh")
        self.cluster.wait("the end of the late array", lambda: self.exit_codes(late), 60, self.logs)
        self.assertEqual(self.exit_codes(late), {"0:0"}, self.logs())

    def test_a_node_dies_and_the_others_go_on(self):
        """A worker's node is gone at once: another worker takes its trial from the last checkpoint; nothing is lost or done twice."""
        if not self.cluster.separate:
            self.skipTest("nodes have no names of their own here (not root)")
        study = self.write_study(budget_max=9, brackets=3)
        os.mkdir(self.state, 0o700)
        with open(f"{self.state}/cluster.env", "w") as stream:
            stream.write("GPUS_PER_WORKER=0\nLEASE_TTL=5s\n")
        # One worker a node: each takes all four cores but the coordinator's.
        coordinator, workers = json.loads(self.rung("slurm", "submit", study, "--workers", "2", "--elastic",
                                                    "--cpus-per-worker", "3", "-o", "json").stdout)["jobs"]
        host = lambda: self.cluster.job(coordinator).get("BatchHost")
        self.cluster.wait("the coordinator's node", host, 30, self.logs)
        victim = 1 if host() == "node2" else 2
        busy = lambda: [w for w in json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"]
                        if w["host"] == f"node{victim}" and w["trial"]]
        self.cluster.wait("a worker at work on the other node", lambda: self.alive(coordinator) and self.done() and self.stored("logistic") and busy(),
                          90, self.logs)
        before = self.stored("logistic")
        self.cluster.kill_node(victim)
        try:
            self.assertEqual(self.wait_for_end(coordinator, 200), "COMPLETED", self.logs())
        finally:
            self.cluster.start_node(victim)
        self.check_store("logistic")
        self.check_not_trained_again(before)
        self.assertEqual(self.show("logistic")["failures_by_cause"], {}, "no config is blamed for the node")

    def test_status_is_known_while_no_coordinator_lives(self):
        """The job waits in the queue; then its coordinator is killed: what it wrote last is shown, and nothing is started."""
        study = self.write_study(budget_max=9, brackets=3)
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=DRAIN", "Reason=test")
        self.addCleanup(self.cluster.run, "scontrol", "update", "NodeName=node1,node2", "State=RESUME", check=False)
        job = json.loads(self.rung("slurm", "submit", study, "--workers", "1", "--gpus-per-worker", "0", "-o", "json").stdout)["job"]
        waiting = self.status("logistic")
        self.assertFalse(waiting["coordinator_answers"])
        self.assertGreaterEqual(waiting["age_seconds"], 0)
        self.assertEqual([row["state"] for row in waiting["jobs"]], ["PENDING"])
        self.assertTrue(waiting["jobs"][0]["reason"])
        self.assertFalse(os.path.exists(f"{self.state}/endpoint.json"), "no coordinator was started to answer")
        text = self.rung("slurm", "status").stdout
        self.assertIn("No coordinator answers; this was written", text)
        self.cluster.run("scontrol", "update", "NodeName=node1,node2", "State=RESUME")
        self.cluster.wait("a result", lambda: self.alive(job) and len(self.done()) >= 1, 60, self.logs)
        self.answered_status()
        self.rung("slurm", "cancel", "logistic")
        self.assertNotEqual(self.wait_for_end(job, 60), "COMPLETED", self.logs())
        self.assertEqual(self.status("logistic")["jobs"], [])

    def test_the_doctor_knows_the_cluster(self):
        os.mkdir(self.state, 0o700)
        found = self.rung("slurm", "doctor", "--gpus-per-worker", "1", "-o", "json", check=False)
        findings = {f["check"]: f for f in json.loads(found.stdout)["findings"]}
        self.assertIn("rungtest", findings["controller"]["what"])
        self.assertIn("gpu:1", findings["partition main"]["what"])
        self.assertEqual(findings["cluster.env"]["verdict"], "ok")
        self.assertEqual(found.returncode, 9, "the state directory is below /tmp, which nodes do not share")
        self.assertIn("PARTITION=main", json.loads(found.stdout)["cluster_env"])
        wrong = self.rung("slurm", "doctor", "--partition", "nowhere", "-o", "json", check=False)
        self.assertEqual(wrong.returncode, 9)
        broken = {f["check"]: f for f in json.loads(wrong.stdout)["findings"]}["cluster.env"]
        self.assertEqual(broken["verdict"], "fail")
        self.assertIn("main", broken["mend"])

    def test_what_slurm_refuses_is_said_with_a_mend(self):
        study = self.write_study()
        refused = self.rung("slurm", "submit", study, "--partition", "nowhere", "-o", "json", check=False)
        self.assertEqual(refused.returncode, 5, refused.stderr)
        error = json.loads(refused.stderr)["error"]
        self.assertEqual(error["code"], "E0804")
        self.assertIn("partition", error["message"])
        self.assertTrue(error["mend"])
        dry = self.rung("slurm", "submit", study, "--partition", "nowhere", "--dry-run")
        self.assertIn("#SBATCH --partition=nowhere\n", dry.stdout)
        self.assertRegex(dry.stderr, "`submit` would fail: sbatch refused: .*partition")
        self.assertFalse(os.path.exists(self.state), "what is refused is not stored")


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv.pop(1))
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    unittest.main(verbosity=2)
