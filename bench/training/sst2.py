"""Rows of SST-2 files (sentence TAB label), and the CSV that both sides read."""
import csv
import os


def rows(directory, name, count=None):
    """[sentence, label] of sst2-NAME.tsv, the first `count`."""
    with open(os.path.join(directory, f'sst2-{name}.tsv'), encoding='utf-8') as file:
        return [line.rstrip('\n').rsplit('\t', 1) for line in file if line.strip()][:count]


def write(path, pairs):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['sentence', 'label'])
        writer.writerows(pairs)
