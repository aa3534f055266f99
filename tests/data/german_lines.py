"""German sentences from Debian packages: german_lines.py OUT_FILE.

Fetches the packages below with apt-get download (nothing is installed), unpacks them, and writes one line of plain text per sentence:
the manual pages without their markup, the fortunes without their separators.
"""
import glob
import gzip
import os
import re
import subprocess
import sys
import tempfile

PACKAGES = ["manpages-de", "fortunes-de"]


def unpack(directory):
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=directory, check=True, stdin=subprocess.DEVNULL)
    for package in glob.glob(os.path.join(directory, "*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, directory], check=True)


def manual_lines(path):
    with gzip.open(path, "rt", encoding="utf-8", errors="ignore") as file:
        for line in file:
            if line[:1] in ".'":  # a macro
                continue
            line = re.sub(r"\\f(\[[^\]]*\]|\(..|.)|\\[&|^/,%]|\\s[-+]?\d", "", line)
            line = re.sub(r"\\\(.{2}|\\\[[^\]]*\]|\\.", " ", line.replace(r"\-", "-").replace(r"\(aq", "'"))
            yield line


def fortune_lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            yield from (line for line in file if line.strip() != "%")
    except UnicodeDecodeError:
        return


def main():
    with tempfile.TemporaryDirectory() as directory:
        unpack(directory)
        lines = []
        for path in sorted(glob.glob(os.path.join(directory, "usr/share/man/de/man*/*.gz"))):
            lines += manual_lines(path)
        for path in sorted(glob.glob(os.path.join(directory, "usr/share/games/fortunes/de/*"))):
            if not path.endswith((".dat", ".u8")):
                lines += fortune_lines(path)
    lines = [" ".join(line.split()) for line in lines]
    lines = list(dict.fromkeys(line for line in lines if len(line.split()) > 2))
    with open(sys.argv[1] + ".new", "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    print(len(lines), "German lines")


if __name__ == "__main__":
    main()
