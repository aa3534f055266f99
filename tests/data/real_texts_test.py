#!/usr/bin/env python3
"""The texts of RUNG_TEST_DATA are those that README.md names: real_texts_test.py. Exit 77 (Skipped) where they are not all there."""
import hashlib
import os
import re
import sys

ROW = re.compile(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", re.M)
SKIPPED = 77


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md"), encoding="utf-8") as file:
        expected = dict(ROW.findall(file.read()))
    assert expected, "README.md names no files"
    directory = os.environ.get("RUNG_TEST_DATA")
    if not directory:
        print("SKIPPED: RUNG_TEST_DATA is not set; tests/data/README.md says what it would name")
        sys.exit(SKIPPED)
    missing = [name for name in expected if not os.path.exists(os.path.join(directory, name))]
    for name in sorted(set(expected) - set(missing)):
        with open(os.path.join(directory, name), "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
        if found != expected[name]:
            sys.exit(f"{directory}/{name} has the sha256 {found}, tests/data/README.md says {expected[name]}")
    if missing:
        print(f"SKIPPED: RUNG_TEST_DATA = {directory} has no {', '.join(missing)}")
        sys.exit(SKIPPED)


if __name__ == "__main__":
    main()
