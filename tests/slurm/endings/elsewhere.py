"""How workers' jobs and a coordinator outside Slurm end."""
import glob
import json
import subprocess
import time

import slurm_case
from endings import case


class CoordinatorElsewhereTest(case.Ending):
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
        self.assertIsNone(serve.poll(), f"the coordinator ended: {case.read(f'{self.work}/serve.log')}")
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
        self.check_all_given_back("".join(map(case.read, glob.glob(f"{self.state}/logs/slurm-*.log"))))

    def test_a_workers_job_is_cancelled(self):
        serve, workers = self.begin_elsewhere(pace=0.5)
        self.cluster.run("scancel", f"{workers}_1")
        self.cluster.wait("its end", lambda: "CANCELLED" in {task["JobState"] for task in self.tasks(workers)}, 60, self.logs)
        at = time.time()
        self.finish_elsewhere("`scancel` of an elastic study's workers, or coordinator (a worker, coordinator elsewhere)", serve, workers, at)
