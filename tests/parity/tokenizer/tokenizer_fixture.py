"""Ids of real sentences and of all Unicode by Hugging Face's `tokenizers`: tokenizer_fixture.py OUT_DIR.

Makes OUT_DIR/tokenizer/FAMILY/tokenizer.json in the shapes that the published models of each family have: wordpiece is the real one of
RUNG_TEST_MODEL; wordpiece_cased is trained here, as roberta, a byte-level BPE; xlm_roberta, albert and deberta (as its converter and as its
class write it) are Unigram models trained here by sentencepiece, whose character maps are the real ones. wordpiece_files and
wordpiece_cased_files have a vocab.txt and a tokenizer_config.json alone: the oracle is what `transformers` makes of them. Beside each stand
  lines.bin   for each line of ../lines.jsonl: count, ids (int32)
  points.bin  CRC-32 of the ids of "c acb c" for every code point c: alone, between letters, behind a blank
  model.bin   for each row of ../pairs.jsonl: count, ids, token types, with special tokens and truncated
Lines: the spam e-mails of RUNG_TEST_MAILS cut into lines, the German ones of RUNG_TEST_GERMAN, the texts of RUNG_TEST_DATA, and hard Unicode.
"""
import csv
import email
import glob
import io
import json
import os
import random
import shutil
import sys
import zlib

import numpy
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer

LINES = 100_000
TRAINING_LINES = 12_000
VOCABULARY = 6000


def mail_lines():
    for path in sorted(glob.glob(os.path.join(os.environ["RUNG_TEST_MAILS"], "data", "*-[12]", "*.json"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            message = email.message_from_string(json.load(file)["text"])
        yield str(message.get("subject") or "")
        for part in message.walk():
            if part.get_content_maintype() == "text":
                yield from part.get_payload(decode=True).decode("utf-8", "replace").split("\n")


def data_texts():
    directory = os.environ.get("RUNG_TEST_DATA")
    if not directory:
        return
    for path in sorted(glob.glob(os.path.join(directory, "*.tsv"))):
        for line in open(path, encoding="utf-8"):
            yield line.rstrip("\n").split("\t")[0]
    for path in sorted(glob.glob(os.path.join(directory, "*.csv"))):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter=";", quotechar="'"):
                yield row[-1]


def german_lines():
    with open(os.environ["RUNG_TEST_GERMAN"], encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file)


# Code points of every block that has cost a tokenizer its parity, to be mixed into words.
HARD = [*range(0x00, 0x30), *range(0x7F, 0x180), *range(0x2B0, 0x36F), *range(0x1E00, 0x1F00), *range(0x2000, 0x2070),
        *range(0x3000, 0x3040), *range(0xFE00, 0xFE30), *range(0xFF00, 0xFF20), 0x130, 0x131, 0x1E9E, 0xDF, 0x3A3, 0x3C2,
        0x600, 0x61C, 0x6DD, 0x70F, 0x85, 0xA0, 0x1680, 0x180E, 0x200B, 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFC, 0xE000, 0xF8FF,
        0x4E00, 0x9FFF, 0x3400, 0x20000, 0x2B820, 0x2B920, 0xAC00, 0xD7A3, 0x1100, 0x1161, 0x11A8, 0x1F600, 0x1F468, 0x200D,
        0x1F1E6, 0x1F1E7, 0x0915, 0x094D, 0x0903, 0x0E33, 0x2581, 0xA9, 0xFE0F, 0x20E3, 0x3099, 0xFF76, 0xFF9E,
        0x1D400, 0x10400, 0x16FE4, 0x1E94B, 0x302E, 0x1D165, 0xE0001, 0x10FFFF]
WORDS = ["hello", "Café", "naïve", "straße", "ΣΊΣΥΦΟΣ", "İstanbul", "[SEP]", "[MASK]", "[CLS", "unaffable", "don't", "<mask>", " <mask> ",
         "<s>", "</s>", "<unk>", "<pad>", "``", "''", "▁", "▁▁a", "I'LL we'll they've 're", "x" * 99, "x" * 100, "x" * 101, "日本語",
         "한국어", "e\u0301\u0327", "tést" * 30, "1,000.50", "a_b-c", "##ing", "   ", "\n\n", " \t ", "\r\n", "…", "№", "ﬁ", "Ⅷ", "㌔"]


def hard_strings(count):
    dice = random.Random(20)
    for _ in range(count):
        parts = []
        for _ in range(dice.randint(1, 8)):
            parts.append("".join(chr(dice.choice(HARD)) for _ in range(dice.choice([1, 1, 2, 3]))) if dice.random() < 0.5
                         else dice.choice(WORDS))
            parts.append(dice.choice(["", "", " ", "\t", "\u3000"]))
        yield "".join(parts)


def real_lines():
    def unique(lines):
        return list(dict.fromkeys(line for line in lines if line.strip()))
    german, english, texts = unique(german_lines()), unique(mail_lines()), unique(data_texts())
    dice = random.Random(22)
    dice.shuffle(english)
    dice.shuffle(german)
    lines = unique(texts + english[:LINES // 2] + german[:LINES // 2])
    if len(lines) < LINES * 9 // 10:
        sys.exit(f"only {len(lines)} real lines")
    dice.shuffle(lines)
    return lines


# ---- tokenizers in the shapes of their families ----------------------------------------------------------------------
def fields(message):
    """(number, value) of a protobuf message on the wire: enough to read sentencepiece's model."""
    def varint(at):
        value, shift = 0, 0
        while True:
            value |= (message[at] & 127) << shift
            at += 1
            if message[at - 1] < 128:
                return value, at
            shift += 7
    at = 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        else:
            size, at = varint(at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at:at + size], at + size
        yield key >> 3, value


def sentencepiece_model(lines, rule):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=VOCABULARY, model_type="unigram",
                                             normalization_rule_name=rule, character_coverage=0.9995, minloglevel=2)
    pieces, charsmap = [], b""
    for number, value in fields(model.getvalue()):
        if number == 1:
            piece = dict(fields(value))
            pieces.append((piece[1].decode(), float(numpy.frombuffer(piece[2], numpy.float32)[0])))
        elif number == 3:
            charsmap = dict(fields(value))[2]
    return pieces[3:], charsmap  # without <unk>, <s>, </s>


def special(tokenizer, names, mask):
    from tokenizers import AddedToken
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True, lstrip=name == mask) for name in names])


def unigram(pieces, names, unknown, mask):
    vocabulary = [(name, 0.0) for name in names] + pieces + [(mask, 0.0)]
    return Tokenizer(models.Unigram(vocabulary, names.index(unknown), False))


def template(tokenizer, cls, sep, second_type, two_separators):
    middle = f"{sep}:0 {sep}:0" if two_separators else f"{sep}:0"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0", pair=f"{cls}:0 $A:0 {middle} $B:{second_type} {sep}:{second_type}",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))])


def wordpiece_cased(lines):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=names, show_progress=False))
    special(tokenizer, names, "")
    template(tokenizer, "[CLS]", "[SEP]", 1, False)
    return tokenizer


def from_word_list(directory, lowercase):
    """vocab.txt of `directory`, as `transformers` reads it."""
    with open(os.path.join(directory, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase}, file)
    return BertTokenizer.from_pretrained(directory).backend_tokenizer


def roberta(lines):
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=names, show_progress=False,
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    special(tokenizer, names, "<mask>")
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def xlm_roberta(pieces, charsmap):
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = unigram(pieces, names, "<unk>", "<mask>")
    tokenizer.normalizer = normalizers.Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    special(tokenizer, [*names, "<mask>"], "<mask>")
    template(tokenizer, "<s>", "</s>", 0, True)
    return tokenizer


def albert(pieces, charsmap):
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]"]
    tokenizer = unigram(pieces, names, "<unk>", "[MASK]")
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    special(tokenizer, [*names, "[MASK]"], "[MASK]")
    template(tokenizer, "[CLS]", "[SEP]", 1, False)
    return tokenizer


def deberta(pieces, charsmap, as_class):
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    tokenizer = unigram(pieces, names, "[UNK]", "[MASK]")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), normalizers.NFC(), normalizers.Strip(left=False, right=True)] if as_class else
        [normalizers.Strip(), normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    cut = [pre_tokenizers.Punctuation(behavior="isolated")] if as_class else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.Metaspace(prepend_scheme="always")])
    special(tokenizer, [*names, "[MASK]"], "")
    template(tokenizer, "[CLS]", "[SEP]", 1, False)
    return tokenizer


def families(lines, out):
    yield "wordpiece", Tokenizer.from_file(os.path.join(os.environ["RUNG_TEST_MODEL"], "tokenizer.json"))
    sample = [line for line in lines[:TRAINING_LINES] if len(line) < 4000]
    cased = wordpiece_cased(sample)
    yield "wordpiece_cased", cased
    files, cased_files = os.path.join(out, "wordpiece_files"), os.path.join(out, "wordpiece_cased_files")
    for directory in (files, cased_files):
        os.makedirs(directory, exist_ok=True)
    shutil.copyfile(os.path.join(os.environ["RUNG_TEST_MODEL"], "vocab.txt"), os.path.join(files, "vocab.txt"))
    cased.model.save(cased_files)
    yield "wordpiece_files", from_word_list(files, True)
    yield "wordpiece_cased_files", from_word_list(cased_files, False)
    byte_level = roberta(sample)
    yield "roberta", byte_level
    files = os.path.join(out, "roberta_files")  # the same from its older files
    os.makedirs(files, exist_ok=True)
    byte_level.model.save(files)
    pieces, charsmap = sentencepiece_model(sample, "nmt_nfkc")
    yield "xlm_roberta", xlm_roberta(pieces, charsmap)
    yield "deberta", deberta(pieces, charsmap, False)
    yield "deberta_class", deberta(pieces, charsmap, True)
    yield "albert", albert(*sentencepiece_model(sample, "nmt_nfkc_cf"))


# ---- what they answer ------------------------------------------------------------------------------------------------
def write_ids(path, rows):
    with open(path, "wb") as file:
        for row in rows:
            file.write(numpy.array(row, numpy.int32).tobytes())


def batches(tokenizer, texts):
    for start in range(0, len(texts), 50_000):
        for encoding in tokenizer.encode_batch_fast(texts[start:start + 50_000], add_special_tokens=False):
            yield encoding.ids


def points(tokenizer):
    for start in range(0, 0x110000, 0x8000):
        block = [c for c in range(start, start + 0x8000) if not 0xD800 <= c < 0xE000]
        ids = batches(tokenizer, [f"{chr(c)} a{chr(c)}b {chr(c)}" for c in block])
        yield from (zlib.crc32(numpy.array(row, numpy.int32).tobytes()) for row in ids)


def model_rows(tokenizer, rows):
    for row in rows:
        tokenizer.enable_truncation(row["max"], strategy="longest_first")
        encoding = tokenizer.encode(row["text"], row["pair"])
        yield [len(encoding.ids), *encoding.ids, *encoding.type_ids]


def main():
    out = os.path.join(sys.argv[1], "tokenizer")
    os.makedirs(out, exist_ok=True)
    lines = real_lines()
    texts = lines + list(hard_strings(5000))
    with open(os.path.join(out, "lines.jsonl"), "w") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
    dice = random.Random(21)
    pairs = [{"text": dice.choice(lines), "pair": dice.choice([None, "", dice.choice(lines), dice.choice(lines), dice.choice(texts)]),
              "max": dice.choice([4, 5, 7, 16, 33, 64, 128])} for _ in range(3000)]
    with open(os.path.join(out, "pairs.jsonl"), "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in pairs)
    names = []
    for name, tokenizer in families(lines, out):
        directory = os.path.join(out, name)
        os.makedirs(directory, exist_ok=True)
        if not name.endswith("_files"):  # these have older files in its place
            tokenizer.save(os.path.join(directory, "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        write_ids(os.path.join(directory, "lines.bin"), ([len(ids), *ids] for ids in batches(tokenizer, texts)))
        with open(os.path.join(directory, "points.bin"), "wb") as file:
            file.write(numpy.fromiter(points(tokenizer), numpy.uint32).tobytes())
        write_ids(os.path.join(directory, "model.bin"), model_rows(tokenizer, pairs))
        names.append(name)
        print(f"{name}: {tokenizer.get_vocab_size()} tokens", flush=True)
    with open(os.path.join(out, "families.json"), "w") as file:
        json.dump(names, file)
    print(f"{len(lines)} real lines")


if __name__ == "__main__":
    main()
