"""Every way in which Slurm ends a job, on a real Slurm that this test starts itself. Prints what each ending cost.

Usage: endings_test.py BIN_DIR [TEST...]      TEST: one_job, one_job.OneJobTest.test_time_limit, ...; without one all of endings/

(`make soak-slurm`; the endings that `make test` runs are in slurm_test.py)
"""
import os
import re
import sys
import unittest

import cluster
import slurm_case
from endings import case

PARTS = ("one_job", "chain", "elastic", "elsewhere", "hosts", "status")


def measured_cell(costs):
    """"0; 7 s (chain: 0; 5 s; elastic: 1; 6 s)": what has no case comes first."""
    plain = costs.get("", "")
    others = "; ".join(f"{name}: {text}" for name, text in sorted(costs.items()) if name)
    return f"{plain} ({others})" if plain and others else plain or others


def print_table():
    """The table of docs/slurm.md with what was measured now."""
    manual = case.rows_of_the_manual()
    print("\n| ending | lost at most | who goes on | how soon | measured |\n|---|---|---|---|---|")
    for ending in [*manual, *(ending for ending in case.TABLE if ending not in manual)]:
        if ending in case.TABLE:
            print("| " + " | ".join([ending, *manual.get(ending, [""] * 4)[:3], measured_cell(case.TABLE[ending])]) + " |")


def what_the_manual_lacks(all_ran):
    """Lines; none where docs/slurm.md has a table of these endings and cases."""
    manual = case.rows_of_the_manual()
    lines = [f"docs/slurm.md has no row for: {ending}" for ending in case.TABLE if ending not in manual]
    if not all_ran:
        return lines
    lines += [f"no test measured: {ending}" for ending in manual if ending not in case.TABLE]
    numberless = lambda text: re.sub(r"[0-9]+", "N", text)
    return lines + [f"docs/slurm.md, `measured` of {ending}: is {manual[ending][3]!r}, not as {measured_cell(costs)!r}"
                    for ending, costs in case.TABLE.items()
                    if ending in manual and numberless(manual[ending][3]) != numberless(measured_cell(costs))]


def main(tests):
    if not cluster.available():
        sys.exit("slurmctld, slurmd and sbatch are missing: `make test` installs Debian's packages")
    names = [f"endings.{name}" for name in tests or PARTS]
    passed = unittest.main(module=None, argv=[sys.argv[0], *names], verbosity=2, exit=False).result.wasSuccessful()
    print_table()
    lacks = what_the_manual_lacks(all_ran=not tests and os.geteuid() == 0)
    print("\n".join(lacks), file=sys.stderr)
    sys.exit(not passed or bool(lacks))


if __name__ == "__main__":
    slurm_case.BIN = os.path.abspath(sys.argv[1])
    main(sys.argv[2:])
