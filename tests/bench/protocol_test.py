"""The protocol of bench/search/ measures what it says: protocol_test.py STUDY_DRIVER. Needs numpy: RUNG_TEST_PYTHON names a Python that
has it."""
import importlib.util
import os
import sys

if importlib.util.find_spec("numpy") is None and os.environ.get("RUNG_TEST_PYTHON"):
    os.execv(os.environ["RUNG_TEST_PYTHON"], [os.environ["RUNG_TEST_PYTHON"], *sys.argv])
BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")
sys.path[:0] = [os.path.join(BENCH, "search"), BENCH]

import argparse  # noqa: E402
import contextlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import unittest  # noqa: E402

import numpy as np  # noqa: E402

import functions  # noqa: E402
import parameters  # noqa: E402
import protocol  # noqa: E402
import report  # noqa: E402
import searchers  # noqa: E402

# Where the literature (or the construction) puts the optimum.
BEST = {
    "mfh3": dict(zip(["x00", "x01", "x02"], (.114614, .555649, .852547))),
    "mfh6": dict(zip(["x%02d" % i for i in range(6)], (.20169, .150011, .476874, .275332, .311652, .6573))),
    "branin": {"x0": (np.pi + 5) / 15, "x1": 2.275 / 15},
    "currin": {"x0": 13 / 60, "x1": 0.},
    "branches": {"branch": "slow", "slow_x0": .2, "slow_x1": .35, "slow_x2": .5, "slow_x3": .65},
}


class ProtocolTest(unittest.TestCase):
    def rung(self, function, seed, workers, algorithm, on_promotion="resume", budget=20):
        arguments = argparse.Namespace(command="rung", driver=DRIVER, algorithm=algorithm, on_promotion=on_promotion, budget=budget)
        return protocol.run((arguments, "rung", function, seed, workers))

    def test_regret_is_zero_at_the_optimum_and_above_elsewhere(self):
        dice = np.random.default_rng(0)
        for name, make in functions.FUNCTIONS.items():
            function = make()
            if name in BEST:
                self.assertAlmostEqual(function.regret(BEST[name]), 0, delta=1e-4, msg=name)
            for _ in range(200):
                self.assertGreater(function.regret(parameters.draw(function.space, dice)), -1e-5, name)

    def test_three_configs_in_ten_fail(self):
        function, dice = functions.FUNCTIONS["failing-mfh3"](), np.random.default_rng(0)
        failed = sum(function.value(parameters.draw(function.space, dice), 1, dice) is None for _ in range(2000))
        self.assertAlmostEqual(failed / 2000, .3, delta=.04)

    def test_each_config_stands_for_a_row_of_its_own(self):
        for name in ("mlp_digits", "sgd_noisy", "gbt_diabetes", "svc_digits"):
            table, dice = functions.FUNCTIONS[name](), np.random.default_rng(0)
            configs = [parameters.draw(table.space, dice) for _ in range(100)]
            rows = [table.row(config) for config in configs]
            self.assertEqual(len(set(rows)), 100, name)
            self.assertEqual([table.row(config) for config in configs], rows, name)
            values = [table.value(config, table.b_max, dice) for config in configs]
            for config, value in zip(configs, values):
                if value is not None:
                    self.assertAlmostEqual(table.regret(config), value - table.best, msg=name)

    def test_same_seed_same_curve(self):
        for workers in (1, 8):
            runs = [self.rung("failing-mfh3", 3, workers, '{"type": "bohb"}') for _ in range(2)]
            self.assertEqual(runs[0]["curve"], runs[1]["curve"])
            self.assertGreater(runs[0]["utilisation"], .8 if workers == 8 else .999)
        self.assertNotEqual(runs[0]["curve"], self.rung("failing-mfh3", 4, 8, '{"type": "bohb"}')["curve"])

    def test_resuming_pays_the_difference_alone(self):
        """Successive halving of 81, 27, 9, 3, 1 trials at budgets 1, 3, 9, 27, 81: 5 full budgets if each is trained anew."""
        paid = {}
        for how in ("resume", "restart"):
            arguments = argparse.Namespace(command="rung", driver=DRIVER, algorithm='{"type": "hyperband"}', on_promotion=how)
            with searchers.make("rung", functions.FUNCTIONS["branin"](), 1, arguments) as searcher:
                jobs = []
                while len(jobs) < 81 + 27 + 9 + 3 + 1:
                    jobs.append(searcher.ask())
                    searcher.tell(jobs[-1], jobs[-1].config["x0"])
            self.assertEqual([sum(abs(job.budget - rung) < 1e-6 for job in jobs) for rung in (1, 3, 9, 27, 81)], [81, 27, 9, 3, 1])
            paid[how] = sum(job.paid for job in jobs) / 81
        self.assertAlmostEqual(paid["restart"], 5)
        self.assertAlmostEqual(paid["resume"], (81 + 27 * 2 + 9 * 6 + 3 * 18 + 54) / 81)

    def test_regret_at_a_budget_and_ranks(self):
        runs = [{"searcher": name, "function": "branin", "seed": seed, "workers": 1, "ask_ms": [1, 1],
                 "curve": [[1, 1, 50.], [9.5, 9.5, low * (seed + 1)], [60, 60, .001]]}
                for name, low in (("a", 2.), ("b", 1.), ("random", 3.)) for seed in range(4)]
        self.assertIsNone(report.regret_at(runs[0], .5))
        self.assertEqual(report.regret_at(runs[0], 10), 2.)
        regrets = report.Regrets(runs)
        self.assertAlmostEqual(regrets.floor("branin"), .075)
        self.assertEqual({name: set(ranks) for name, ranks in regrets.ranks(1, 10, ["a", "b", "random"]).items()},
                         {"a": {2.}, "b": {1.}, "random": {3.}})
        self.assertEqual(set(regrets.ranks(1, 100, ["a", "b"])["a"]), {1.5})  # both below the floor

    def test_every_figure_has_the_same_fields(self):
        """With peers, and with none."""
        runs = [{"searcher": name, "function": "branin", "seed": seed, "workers": 1, "ask_ms": [1, 1],
                 "curve": [[1, 1, low * (seed + 1)], [60, 60, .001]]} for name, low in (("rung", 1.), ("a", 2.)) for seed in range(4)]
        for own, peers in ((runs[:4], runs[4:]), (runs[:4], [])):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                report.print_figures(own, peers)
            lines = [json.loads(line) for line in printed.getvalue().splitlines()]
            self.assertLessEqual({"regret", "mean_rank", "mean_rank_all"}, {line["figure"] for line in lines})
            for line in lines:
                self.assertEqual(list(line)[:6], ["bench", "figure", "rung", "peer", "peer_name", "ratio"])
                self.assertIsInstance(line["rung"], float)
                self.assertEqual(line["peer"] is None, not peers, line)
                self.assertEqual(line["ratio"] is None, not peers, line)
                if peers:
                    self.assertGreaterEqual(line["ratio"], 1, "Rung's regrets and ranks are the lower ones")

    def test_only_one_function_prints_figures(self):
        for directory, _, names in os.walk(BENCH):
            for name in names:
                if name.endswith(".py") and name != "figure_line.py":
                    with open(os.path.join(directory, name)) as file:
                        self.assertNotIn('"ratio":', file.read().replace("'", '"'), name)

    def test_rung_beats_random(self):
        mine = [report.regret_at(self.rung("mfh3", seed, 1, '{"type": "bohb"}'), 20) for seed in range(4)]
        random = [report.regret_at(self.rung("mfh3", seed, 1, '{"type": "random"}'), 20) for seed in range(4)]
        self.assertLess(np.mean(mine), np.mean(random))


if __name__ == "__main__":
    DRIVER = sys.argv.pop(1)
    unittest.main()
