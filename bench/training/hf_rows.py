"""The rows of a CSV (columns sentence,label from 0) as the Python stacks read them."""
import csv
import sys

csv.field_size_limit(sys.maxsize)  # an e-mail may be longer than 128 KiB


def encoded(tokenizer, path, max_length, pad=False):
    """`pad`: every row to the limit."""
    with open(path, encoding='utf-8', newline='') as file:
        rows = [(row['sentence'], int(row['label'])) for row in csv.DictReader(file)]
    texts = tokenizer([text for text, _ in rows], truncation=True, max_length=max_length, padding='max_length' if pad else False)
    return [{'input_ids': ids, 'attention_mask': mask, 'labels': label}
            for ids, mask, (_, label) in zip(texts['input_ids'], texts['attention_mask'], rows)]
