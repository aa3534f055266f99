"""Writes two small real data sets from the documentation strings of Python's own standard library.

    make_data.py OUT_DIRECTORY

package: which package does a documentation string come from?   kind: does it describe a class or a function?
Each is a directory with train.csv and validation.csv (columns text,label) and a data description beside it.
"""
import ast
import csv
import hashlib
import json
import os
import sys
import sysconfig

PACKAGES = ["asyncio", "email", "http", "logging", "multiprocessing", "unittest", "urllib", "xml"]
WORDS = 60


def documented(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = " ".join((ast.get_docstring(node) or "").split()[:WORDS])
            if text:
                yield text, "class" if isinstance(node, ast.ClassDef) else "function"


def read():
    """(text, package, kind), each text once."""
    rows = {}
    for package in PACKAGES:
        for directory, _, files in sorted(os.walk(os.path.join(sysconfig.get_path("stdlib"), package))):
            for name in sorted(files):
                if name.endswith(".py"):
                    with open(os.path.join(directory, name), encoding="utf-8") as file:
                        tree = ast.parse(file.read())
                    for text, kind in documented(tree):
                        rows.setdefault(text, (package, kind))
    return [(text, package, kind) for text, (package, kind) in rows.items()]


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def main():
    out = sys.argv[1]
    rows = sorted(read(), key=lambda row: hashlib.sha256(row[0].encode()).hexdigest())
    held_out = len(rows) // 5
    for name, column in (("package", 1), ("kind", 2)):
        os.makedirs(os.path.join(out, name), exist_ok=True)
        labelled = [(row[0], row[column]) for row in rows]
        write(os.path.join(out, name, "validation.csv"), labelled[:held_out])
        write(os.path.join(out, name, "train.csv"), labelled[held_out:])
        with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as file:
            json.dump({"name": name, "train": name + "/train.csv", "validation": name + "/validation.csv",
                       "text": "text", "label": "label"}, file, indent=1)
    print(f"{out}: {len(rows)} documentation strings, {held_out} of them for validation")


if __name__ == "__main__":
    main()
