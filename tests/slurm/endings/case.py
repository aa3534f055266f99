"""What the tests share that end a job in the middle of a study: they begin it, let it finish, and measure what the ending cost."""
import collections
import functools
import json
import os
import signal
import sys
import time

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


def name_and_case(ending):
    """"time limit (chain)": "time limit", "chain"; the case is empty where there is none."""
    name, _, case = ending.removesuffix(")").partition(" (")
    return name, case


@functools.cache
def rows_of_the_manual():
    """ending -> its other cells: lost at most, who goes on, how soon, measured."""
    lines = read(f"{slurm_case.HERE}/../../docs/slurm.md").split("\n| ending |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {ending: cells for ending, *cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


def measure(ending, cost):
    """ending: as docs/slurm.md names it; "(CASE)" behind it tells one of several. cost: epochs trained twice, and what took how long."""
    name, case = name_and_case(ending)
    TABLE.setdefault(name, {})[case] = cost


class Ending(slurm_case.SlurmCase):
    """Each test ends a job in the middle of the study's training, lets the study finish, and looks what was done twice."""

    def begin(self, *flags, site="", pace=None, **environment):
        """A study whose job is at work: in the middle of the top rung, so that a worker without its checkpoints had much to train
        again. pace: seconds of each epoch, and nobody waits for the top rung."""
        environment |= {"PACE": "0.1", "DEEP_PACE": "0.6"} if pace is None else {"PACE": str(pace)}
        study = self.write_study(budget_max=9, brackets=3, **environment)
        self.write_site(site)
        self.flags = [study, "--workers", "2", *flags]
        jobs = json.loads(self.rung("slurm", "submit", *self.flags, "-o", "json").stdout)["jobs"]
        self.cluster.wait("two results", lambda: self.alive(jobs[0]) and len(self.done()) >= 2, 60, self.logs)
        if pace is None:
            self.cluster.wait("the top rung", lambda: self.alive(jobs[0]) and self.deep_at_work(), 60, self.logs)
        return jobs

    def progress(self):
        """(trial, rung, attempt) of each attempt that has not ended -> [the epoch it began at, ..., the last one it trained]."""
        epochs = {}
        for line in self.journal_lines():
            key = (line["trial"], line["rung"], line["attempt"])
            if line["event"] in ("start", "epoch"):
                epochs.setdefault(key, []).append(line["epoch"])
            elif line["event"] in ("done", "left"):
                epochs.pop(key, None)
        return epochs

    def deep_at_work(self):
        """Attempts that have trained three epochs and have two to come."""
        return {key for key, epochs in self.progress().items() if len(epochs) > 3 and 3 ** key[1] - epochs[-1] >= 2}

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
        # Two workers: each loses at most the epoch that it had not checkpointed, and nothing where the manual says so.
        promised = rows_of_the_manual().get(name_and_case(ending)[0], ["one interval per worker"])[0]
        self.assertLessEqual(twice, 0 if promised.startswith("nothing") else 2, f"{ending}: trained again; promised: {promised}")
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
        """A worker (of `rung worker list`) in the middle of an attempt."""
        deep = self.deep_at_work()
        workers = json.loads(self.rung("worker", "list", "-o", "json").stdout)["workers"] if deep else []
        return next((worker for worker in workers if (worker["trial"], worker["rung"], worker["attempt"]) in deep and
                     worker["host"] == (host or worker["host"])), None)

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

    def kill_worker(self, ending, job, host):
        """The process of a worker at work on this host; the study ends in `job`."""
        worker = self.cluster.wait("a worker at work", lambda: self.alive(job) and self.at_work(host), 60, self.logs)
        at = time.time()
        os.kill(worker["pid"], signal.SIGKILL)
        known = self.wait_until_lost(worker) - at
        self.finish(ending, job, at, also=f", known after {known:.0f} s")

    def all_restart(self, jobs):
        self.cluster.wait("the second starts", lambda: self.alive(jobs[0]) and
                          {task["Restarts"] for job in jobs for task in self.tasks(job)} == {"1"}, 120, self.logs)

    def pre_empt(self, partition, ending, *flags, pace=None):
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
