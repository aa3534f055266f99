#!/usr/bin/env python3
"""One fine-tuning by Hugging Face's Trainer on one thread; prints {"examples_per_cpu_second": x}, counted between two updates."""
import argparse
import csv
import json
import os
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument('--peer', required=True)
parser.add_argument('--model', required=True)
parser.add_argument('--rows', required=True)
parser.add_argument('--batch', type=int, required=True)
parser.add_argument('--max-length', type=int, required=True)
parser.add_argument('--short', type=int, required=True)
parser.add_argument('--long', type=int, required=True)
args = parser.parse_args()

import torch

torch.set_num_threads(1)
import transformers
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback,
                          TrainingArguments, set_seed)

transformers.logging.set_verbosity_error()
set_seed(42)
tokenizer = AutoTokenizer.from_pretrained(args.model)
with open(args.rows, encoding='utf-8', newline='') as file:
    rows = [(row['sentence'], int(row['label'])) for row in csv.DictReader(file)]
labels = 1 + max(label for _, label in rows)
model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=labels).float()
encoded = tokenizer([text for text, _ in rows], truncation=True, max_length=args.max_length,
                    padding='max_length' if args.peer == 'hf_replaced' else False)
data = [{'input_ids': ids, 'attention_mask': mask, 'labels': label}
        for ids, mask, (_, label) in zip(encoded['input_ids'], encoded['attention_mask'], rows)]

times = {}


class Times(TrainerCallback):
    def on_step_end(self, arguments, state, control, **_):
        times[state.global_step] = time.process_time()


with tempfile.TemporaryDirectory() as directory:
    Trainer(
        model=model,
        args=TrainingArguments(output_dir=directory, max_steps=args.long, per_device_train_batch_size=args.batch, learning_rate=5e-5,
                               use_cpu=True, train_sampling_strategy='group_by_length' if args.peer == 'hf_best' else 'random',
                               save_strategy='no', report_to='none', disable_tqdm=True, logging_strategy='no', seed=42),
        train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer, callbacks=[Times()]).train()
examples = (args.long - args.short) * args.batch
print(json.dumps({'examples_per_cpu_second': examples / (times[args.long] - times[args.short]), 'torch': torch.__version__,
                  'transformers': transformers.__version__}))
