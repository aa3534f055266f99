#!/usr/bin/env python3
"""hf_accuracy.py MODEL TRAIN.csv DEV.csv SEED EPOCHS: fine-tunes with transformers.Trainer; prints the dev accuracies after each epoch."""
import json
import sys
import tempfile

import hf_rows
import torch

torch.set_num_threads(1)
import transformers
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed)

transformers.logging.set_verbosity_error()
model_path, train_path, dev_path, seed, epochs = sys.argv[1:]
set_seed(int(seed))
tokenizer = AutoTokenizer.from_pretrained(model_path)
train = hf_rows.encoded(tokenizer, train_path, 128)
with tempfile.TemporaryDirectory() as directory:
    trainer = Trainer(
        model=AutoModelForSequenceClassification.from_pretrained(model_path, num_labels=1 + max(row['labels'] for row in train)).float(),
        args=TrainingArguments(output_dir=directory, num_train_epochs=int(epochs), per_device_train_batch_size=16, per_device_eval_batch_size=32,
                               learning_rate=5e-5, weight_decay=0.0, use_cpu=True, train_sampling_strategy='group_by_length',
                               eval_strategy='epoch', save_strategy='no', report_to='none', disable_tqdm=True, logging_strategy='no',
                               seed=int(seed)),
        train_dataset=train, eval_dataset=hf_rows.encoded(tokenizer, dev_path, 128),
        data_collator=DataCollatorWithPadding(tokenizer), processing_class=tokenizer,
        compute_metrics=lambda p: {'accuracy': float((p.predictions.argmax(-1) == p.label_ids).mean())})
    trainer.train()
print(json.dumps([entry['eval_accuracy'] for entry in trainer.state.log_history if 'eval_accuracy' in entry]))
