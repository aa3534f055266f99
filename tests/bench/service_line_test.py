"""Figures of bench/service are printed in the form of bench/figure_line.py."""
import contextlib
import io
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "service"))

import bench_service  # noqa: E402


def printed(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        bench_service.line(*arguments)
    figure = json.loads(out.getvalue())
    return figure["rung"], figure["peer"], figure["peer_name"], figure["ratio"]


class ServiceLineTest(unittest.TestCase):
    def test_without_a_peer_there_is_no_name_of_one(self):
        self.assertEqual(printed("f", 2.0, None, True), (2.0, None, None, None))

    def test_the_ratio_is_above_1_where_rung_is_better(self):
        self.assertEqual(printed("f", 2.0, 1.0, True), (2.0, 1.0, "optuna_journal", 2.0))
        self.assertEqual(printed("f", 2.0, 1.0, False, "promised"), (2.0, 1.0, "promised", 0.5))


if __name__ == "__main__":
    unittest.main()
