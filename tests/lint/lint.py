"""The rules of docs/design.md that a compiler does not check: include arrows, banned calls, error codes, paths.

Usage: lint.py ROOT          reads the sources under ROOT, prints one finding a line, exits 1 if there is one
       lint.py --links BIN_DIR TORCH    asks ldd which programs of BIN_DIR link LibTorch and gRPC (TORCH: ON or OFF)
"""
import ast
import os
import re
import subprocess
import sys

# Which directories of ours a directory may include, itself apart. The longest prefix of a file's path is its directory.
ARROWS = {
    "base": [],
    "search": ["base"],
    "proto": ["base", "search"],
    "storage": ["base", "search"],
    "coordinator": ["base", "search", "storage", "proto"],
    "worker": ["base", "search", "proto"],
    "worker/text": ["base"],
    "worker/model": ["base", "worker/text"],
    "worker/training": ["base", "worker/text", "worker/model"],
    "cli": ["base", "search", "proto", "worker/text"],
}

# (what is found, pattern in code without comments and strings, path prefixes that are its home, the mend).
BANNED = [
    ("absl::Now", r"\babsl::Now\s*\(", ["base/clock.h"], "take a Clock&"),
    ("a clock of std::chrono", r"(?<!set_deadline\(std::chrono::)\b(?:system|steady|high_resolution)_clock\b",
     ["base/clock.h"], "take a Clock& (gRPC's set_deadline wants a point in wall time and may read it)"),
    ("a clock of C", r"\b(?:clock_gettime|gettimeofday|time\s*\(\s*(?:nullptr|NULL|0)\s*\))", ["base/clock.h"],
     "take a Clock&"),
    ("a random engine", r"#\s*include\s*<random>|\bstd::(?:mt19937|random_device|default_random_engine)|\bs?rand\s*\(",
     ["search/rng."], "take an Rng (search/rng.h)"),
    ("torch", r"#\s*include\s*[<\"](?:torch|ATen|c10)/", ["worker/model/", "worker/training/"],
     "keep torch in worker/model and worker/training"),
    ("SQLite", r"#\s*include\s*[<\"]sqlite3\.h", ["storage/"], "go through storage/"),
    ("a shell", r"(?<![\w.>:])(?:std::)?(?:system|popen)\s*\(", [], "use execve with an argument vector"),
    ("a detached thread", r"\.\s*detach\s*\(\s*\)", ["worker/model/", "worker/training/"],
     "own the thread and join it"),  # there it is a tensor's
    ("catch (...)", r"catch\s*\(\s*\.\.\.\s*\)", ["worker/training/", "worker/model/"], "catch what the call throws"),
]

# search/ is pure: no I/O of its own, no threads, no wire.
PURE = re.compile(r"#\s*include\s*[<\"]((?:thread|mutex|atomic|future|condition_variable|iostream|cstdio|stdio\.h|fstream|filesystem|ctime|"
                  r"unistd\.h|google/protobuf|grpc)[^>\"]*)")

# rung-trainer speaks lines of JSON: what it is made of knows no wire.
WIRE = re.compile(r"#\s*include\s*[<\"]((?:google/protobuf|grpcpp|grpc)/[^>\"]*|[^>\"]*\.pb\.h)[>\"]")
TRAINER = ("worker/text/", "worker/model/", "worker/training/")

FIND_TORCH = re.compile(r"\bfind_package\s*\(\s*Torch\b", re.I)

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)
FOREIGN = ("absl/",)  # what others' headers may begin with in quotes
CODE = re.compile(r'"(E0[1-8]\d\d)"')
ROW = re.compile(r"^\|\s*`?(E0[1-8]\d\d)`?\s*\|", re.M)
# Paths of one machine, put together so that this file does not name them.
MACHINE = re.compile("|".join(["/wo" + r"rk/\w", "/tmp/ve" + "nv", "(?<![\\w.~])/ro" + "ot/"]))


def strip(text, strings=False):
    """The code alone: comments go, strings become empty unless `strings` (#include "..." stays)."""
    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return "\n" * token.count("\n")
        if strings:
            return token
        line = text[text.rfind("\n", 0, match.start()) + 1:match.start()]
        return token if re.match(r"\s*#\s*include\s*$", line) else '""' + "\n" * token.count("\n")
    return TOKEN.sub(blank, text)


def home(path):
    """The directory of ARROWS that a path belongs to, or None."""
    fits = [d for d in ARROWS if path.startswith(d + "/")]
    return max(fits, key=len) if fits else None


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def is_code(path):
    return path.endswith((".cc", ".h"))


def check_arrows(files):
    for path, text in files.items():
        source = home(path)
        if source is None or not is_code(path):
            continue
        for match in INCLUDE.finditer(strip(text)):
            quote, included = match.groups()
            target = "proto" if included.startswith("rung/v1/") else home(included)
            if target is None and quote == '"' and not included.startswith(FOREIGN):
                yield f"{path}:{line_of(text, match.start())}: {included} is in no directory that {source}/ may include"
            if target not in (None, source) and target not in ARROWS[source]:
                yield f"{path}:{line_of(text, match.start())}: {source}/ may not include {included}"
            if source == "proto" and target == "search" and not path.startswith("proto/wire."):
                yield f"{path}: only proto/wire names domain types beside protobuf"


def check_banned(files):
    for path, text in files.items():
        if home(path) is None or not is_code(path):
            continue
        code = strip(text)
        for what, pattern, homes, mend in BANNED:
            if any(path.startswith(prefix) for prefix in homes):
                continue
            for match in re.finditer(pattern, code):
                yield f"{path}:{line_of(code, match.start())}: {what}: {mend}"
        if path.startswith("search/"):
            for match in PURE.finditer(code):
                yield f"{path}:{line_of(code, match.start())}: search/ is pure and may not include {match.group(1)}"
        if path.startswith(TRAINER):
            for match in WIRE.finditer(code):
                yield f"{path}:{line_of(code, match.start())}: the trainer has no wire and may not include {match.group(1)}"


def check_cmake(files):
    for path, text in files.items():
        if not path.endswith((".cmake", "CMakeLists.txt")):
            continue
        code = re.sub(r"#[^\n]*", "", text)
        for match in FIND_TORCH.finditer(code):
            yield f"{path}:{line_of(code, match.start())}: find_package(Torch): use cmake/LibTorch.cmake, which says why"


def check_error_codes(files):
    """Every code that a program can print has one row in docs/errors.md, and every row a place that prints it."""
    rows = ROW.findall(files.get("docs/errors.md", ""))
    for code in sorted({r for r in rows if rows.count(r) > 1}):
        yield f"docs/errors.md: {code} has {rows.count(code)} rows"
    used = {}
    for path, text in files.items():
        if home(path) and is_code(path):
            for code in CODE.findall(strip(text, strings=True)):
                used.setdefault(code, path)
    for code in sorted(set(used) - set(rows)):
        yield f"{used[code]}: {code} has no row in docs/errors.md"
    for code in sorted(set(rows) - set(used)):
        yield f"docs/errors.md: nothing prints {code}"


def check_paths(files):
    for path, text in files.items():
        for match in MACHINE.finditer(text):
            yield f"{path}:{line_of(text, match.start())}: a path of one machine: {match.group(0)}"


def check_base_size(files):
    members = [p for p in files if p.startswith("base/") and is_code(p)]
    if len(members) > 8:
        yield f"base/ has {len(members)} files; at most 8, a domain noun belongs elsewhere"


def names_of(tree):
    """What an import can take from a module: its functions, classes, variables and own imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def check_python(files):
    """`from X import y` finds y where X is a file of ours, beside the importing one or the only one of its name."""
    trees = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    for path, tree in trees.items():
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module):
            beside = os.path.join(os.path.dirname(path), node.module + ".py")
            alike = [other for other in trees if os.path.basename(other) == node.module + ".py"]
            source = beside if beside in trees else alike[0] if len(alike) == 1 else None
            known = names_of(trees[source]) if source else set()
            for alias in node.names if source else []:
                if alias.name not in known:
                    yield f"{path}:{node.lineno}: {source} has no {alias.name}"


RULES = [check_arrows, check_banned, check_cmake, check_error_codes, check_paths, check_base_size, check_python]


def findings(files):
    return [finding for rule in RULES for finding in rule(files)]


def read_tree(root):
    """path -> text of the project's own files; build products and caches are left out."""
    files = {}
    for directory, names, leaves in os.walk(root):
        names[:] = [n for n in names if n not in {"build", "bin", "__pycache__"} and
                    (not n.startswith(".") or n == ".ci")]
        for leaf in leaves:
            if leaf == ".git":  # of a linked worktree: a file that names another directory
                continue
            path = os.path.relpath(os.path.join(directory, leaf), root)
            try:
                with open(os.path.join(root, path), encoding="utf-8") as stream:
                    files[path] = stream.read()
            except (UnicodeDecodeError, OSError):
                continue  # a binary corpus file, a socket, or one that went away meanwhile
    return files


def link_findings(bin_dir, torch):
    programs = ["rung", "rungd", "rung-worker"] + (["rung-trainer"] if torch == "ON" else [])
    for program in programs:
        listed = subprocess.run(["ldd", os.path.join(bin_dir, program)], capture_output=True, text=True, check=True)
        has_torch = re.search(r"libtorch|libc10", listed.stdout) is not None
        if has_torch != (program == "rung-trainer"):
            yield f"{program} {'links' if has_torch else 'does not link'} LibTorch"
        if program == "rung-trainer" and "libgrpc" in listed.stdout:
            yield "rung-trainer links gRPC: it must not reach the network"


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "--links":
        found = list(link_findings(arguments[1], arguments[2]))
    elif len(arguments) == 1:
        found = findings(read_tree(arguments[0]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    print("\n".join(found) if found else "no finding")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
