#!/usr/bin/env python3
"""Tokens per CPU second, one thread, Rung against Hugging Face's `tokenizers`: bench_tokenizers.py PROGRAM FIXTURES

FIXTURES is what tests/parity/tokenizer/tokenizer_fixture.py wrote. One line per family of tokenizers: the median of three interleaved rounds over
the same lines, and the ratio. Both load the same tokenizer.json and give ids alone, without special tokens.
"""
import json
import os
import statistics
import subprocess
import sys
import time

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
from tokenizers import Tokenizer  # noqa: E402: reads the environment

ROUNDS = 3


def rung(program, directory, lines):
    answer = json.loads(subprocess.run([program, directory, lines], check=True, capture_output=True, text=True).stdout)
    return answer["tokens"], answer["seconds"]


def peer(tokenizer, texts):
    begin = time.process_time()
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return tokens, time.process_time() - begin


def main():
    program, fixtures = sys.argv[1:]
    lines = os.path.join(fixtures, "lines.jsonl")
    with open(lines, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    for family in json.load(open(os.path.join(fixtures, "families.json"), encoding="utf-8")):
        directory = os.path.join(fixtures, family)
        tokenizer = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        rates = {"rung": [], "tokenizers": []}
        for _ in range(ROUNDS):
            for name, (tokens, seconds) in (("rung", rung(program, directory, lines)), ("tokenizers", peer(tokenizer, texts))):
                rates[name].append(tokens / seconds)
        ours, theirs = (statistics.median(rates[name]) for name in ("rung", "tokenizers"))
        print(f"{family:14} rung {ours / 1e6:6.2f}  tokenizers {theirs / 1e6:6.2f}  million tokens per CPU second  {ours / theirs:5.2f}x", flush=True)


if __name__ == "__main__":
    main()
