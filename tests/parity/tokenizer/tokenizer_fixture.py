"""Ids of real sentences and of hard Unicode by Hugging Face's `tokenizers`: tokenizer_fixture.py OUT_DIR.

Reads the tokenizer of RUNG_TEST_MODEL. The sentences are the demo's e-mails (RUNG_TEST_SPAM) and, where RUNG_TEST_DATA is given, all
texts of its .tsv and .csv files (SST-2 and German news). Writes tokenizer.jsonl ({"text", "ids"}, or with "pair",
"max", "types" and special tokens) and tokenizer_code_points.bin (int32: code point, count, ids of a + it + b), every code point of Unicode.
"""
import csv
import glob
import json
import os
import random
import struct
import sys

from tokenizers import Tokenizer

MIN_SENTENCES = 10_000


def emails():
    for path in sorted(glob.glob(os.path.join(os.environ["RUNG_TEST_SPAM"], "*.csv"))):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["sentence"]
                words = row["sentence"].split()
                yield " ".join(words[len(words) // 2:])


def other_texts():
    directory = os.environ.get("RUNG_TEST_DATA")
    if not directory:
        return
    for path in sorted(glob.glob(os.path.join(directory, "*.tsv"))):
        for line in open(path, encoding="utf-8"):
            yield line.rstrip("\n").split("\t")[0]
    for path in sorted(glob.glob(os.path.join(directory, "*.csv"))):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter=";", quotechar="'"):
                yield from row


# Code points of every block that has cost a tokenizer its parity, to be mixed into words.
HARD = [*range(0x00, 0x30), *range(0x7F, 0x180), *range(0x2B0, 0x36F), *range(0x1E00, 0x1F00), *range(0x2000, 0x2070),
        *range(0x3000, 0x3040), *range(0xFE00, 0xFE30), *range(0xFF00, 0xFF20), 0x130, 0x131, 0x1E9E, 0xDF, 0x3A3, 0x3C2,
        0x600, 0x61C, 0x6DD, 0x70F, 0x85, 0xA0, 0x1680, 0x180E, 0x200B, 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFC, 0xE000, 0xF8FF,
        0x4E00, 0x9FFF, 0x3400, 0x20000, 0x2B820, 0x2B920, 0xAC00, 0xD7A3, 0x1100, 0x1161, 0x11A8, 0x1F600, 0x1F468, 0x200D,
        0x1D400, 0x10400, 0x16FE4, 0x1E94B, 0x302E, 0x1D165, 0xE0001, 0x10FFFF]


def hard_strings(count):
    dice = random.Random(20)
    words = ["hello", "Café", "naïve", "straße", "ΣΊΣΥΦΟΣ", "İstanbul", "[SEP]", "[MASK]", "[CLS", "unaffable", "don't",
             "x" * 99, "x" * 100, "x" * 101, "日本語", "한국어", "e\u0301\u0327", "tést" * 30, "1,000.50", "a_b-c", "##ing"]
    for _ in range(count):
        parts = []
        for _ in range(dice.randint(1, 8)):
            parts.append(chr(dice.choice(HARD)) if dice.random() < 0.5 else dice.choice(words))
            parts.append(dice.choice(["", "", " ", "\t", "\u3000"]))
        yield "".join(parts)


def main():
    out = sys.argv[1]
    tokenizer = Tokenizer.from_file(os.path.join(os.environ["RUNG_TEST_MODEL"], "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    sentences = list(dict.fromkeys([*emails(), *other_texts()]))
    if len(sentences) < MIN_SENTENCES:
        sys.exit(f"only {len(sentences)} real sentences, {MIN_SENTENCES} are needed")
    texts = sentences + list(hard_strings(5000))
    with open(os.path.join(out, "tokenizer.jsonl"), "w") as file:
        for text, encoding in zip(texts, tokenizer.encode_batch(texts, add_special_tokens=False)):
            file.write(json.dumps({"text": text, "ids": encoding.ids}) + "\n")
        dice = random.Random(21)
        for _ in range(2000):
            first, second, most = dice.choice(sentences), dice.choice(sentences), dice.choice([4, 5, 7, 16, 33, 64, 128])
            tokenizer.enable_truncation(most, strategy="longest_first")
            encoding = tokenizer.encode(first, second)
            file.write(json.dumps({"text": first, "pair": second, "max": most, "ids": encoding.ids, "types": encoding.type_ids}) + "\n")
            encoding = tokenizer.encode(first)
            file.write(json.dumps({"text": first, "pair": "", "max": most, "ids": encoding.ids, "types": encoding.type_ids}) + "\n")
    tokenizer.no_truncation()
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    with open(os.path.join(out, "tokenizer_code_points.bin"), "wb") as file:
        for start in range(0, len(points), 50_000):
            chunk = points[start:start + 50_000]
            batch = tokenizer.encode_batch([f"a{chr(c)}b" for c in chunk], add_special_tokens=False)
            for c, encoding in zip(chunk, batch):
                file.write(struct.pack(f"<{2 + len(encoding.ids)}i", c, len(encoding.ids), *encoding.ids))
    print(f"{len(sentences)} real sentences, {len(points)} code points")


if __name__ == "__main__":
    main()
