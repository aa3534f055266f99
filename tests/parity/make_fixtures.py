"""Runs every */*_fixture.py beside this file with the output directory as its argument: make_fixtures.py OUT_DIR.

Needs an environment with `transformers`. A fixture is made anew when its script, the libraries or the RUNG_TEST_*
settings have changed; otherwise the files of the last run are kept.
"""
import glob
import hashlib
import importlib.metadata
import os
import subprocess
import sys


def fingerprint(script):
    parts = [open(script, encoding="utf-8").read()]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in ("tokenizers", "transformers", "torch")]
    parts += [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("RUNG_TEST_")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def main():
    out = os.path.abspath(sys.argv[1])
    os.makedirs(out, exist_ok=True)
    if not os.environ.get("RUNG_TEST_DATA"):
        print("SKIPPED: the texts of RUNG_TEST_DATA, which is not set (tests/data/README.md)", flush=True)
    for script in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "*", "*_fixture.py"))):
        stamp = os.path.join(out, os.path.basename(script) + ".stamp")
        wanted = fingerprint(script)
        if os.path.exists(stamp) and open(stamp).read() == wanted:
            continue
        print("making", os.path.relpath(script), flush=True)
        subprocess.run([sys.executable, script, out], check=True)
        with open(stamp, "w") as file:
            file.write(wanted)


if __name__ == "__main__":
    main()
