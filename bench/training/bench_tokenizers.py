#!/usr/bin/env python3
"""Tokens per CPU second, one thread, Rung against Hugging Face's `tokenizers`: the median of three interleaved rounds over the texts of the
data. Both load the model's tokenizer.json and give ids alone, without special tokens.

bench_tokenizers.py --program build/release/bench/tokenize_bench --model DIRECTORY --data FILE
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from figure_line import print_figure  # noqa: E402

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
from tokenizers import Tokenizer  # noqa: E402: reads the environment

ROUNDS = 3


def texts_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        if path.endswith(".tsv"):
            return [line.rstrip("\n").rsplit("\t", 1)[0] for line in stream if line.strip()]
        return [row["sentence"] for row in csv.DictReader(stream)]


def rung(program, model, lines):
    answer = json.loads(subprocess.run([program, model, lines], check=True, capture_output=True, text=True).stdout)
    return answer["tokens"] / answer["seconds"]


def peer(tokenizer, texts):
    begin = time.process_time()
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return tokens / (time.process_time() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help=".tsv: sentence TAB label, no header; .csv: columns sentence,label")
    arguments = parser.parse_args()
    texts = texts_of(arguments.data)
    tokenizer = Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        lines.writelines(json.dumps(text) + "\n" for text in texts)
        lines.flush()
        rounds = [(rung(arguments.program, arguments.model, lines.name), peer(tokenizer, texts)) for _ in range(ROUNDS)]
    ours, theirs = map(statistics.median, zip(*rounds))
    print_figure("training", "tokens_per_cpu_second", round(ours), round(theirs), "tokenizers", round(ours / theirs, 3))


if __name__ == "__main__":
    main()
