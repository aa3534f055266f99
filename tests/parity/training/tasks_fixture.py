#!/usr/bin/env python3
"""Losses of every task by Hugging Face, and of weighted classes by torch, for tasks_parity_test.cc.

  tasks_fixture.py OUT_DIR

Writes OUT_DIR/tasks/NAME/ for each problem_type of Hugging Face and for class weights: a tiny random BERT with its head (save_pretrained), and
expected.safetensors: the logits, the loss that the model itself gives for its labels (torch's cross_entropy with class weights), and the loss's gradient
at every weight, for the ragged batch of batch.json. Dropout 0, fp32, one thread.
"""
import json
import os
import random
import sys

os.environ.setdefault('HF_HUB_OFFLINE', '1')
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, BertConfig

WORDS = 60
LENGTHS = [3, 9, 3, 26, 9, 40, 2]
WEIGHTS = [0.25, 3.0, 1.5, 1.0]
TASKS = {'single_label_classification': 4, 'multi_label_classification': 4, 'regression': 1, 'class_weights': 4}


def padded(rows):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def main():
    torch.set_num_threads(1)
    generator = random.Random(9)
    ids = [[generator.randrange(5, WORDS) for _ in range(length)] for length in LENGTHS]
    out = os.path.join(sys.argv[1], 'tasks')
    os.makedirs(out, exist_ok=True)
    batch = {'ids': ids, 'weights': WEIGHTS, 'tasks': list(TASKS),
             'labels': [generator.randrange(4) for _ in ids],
             'flags': [[float(generator.random() < 0.4) for _ in range(4)] for _ in ids],
             'values': [generator.uniform(-3, 3) for _ in ids]}
    with open(os.path.join(out, 'batch.json'), 'w') as file:
        json.dump(batch, file)
    inputs = {'input_ids': padded(ids), 'attention_mask': padded([[1] * len(row) for row in ids])}
    labels = {'single_label_classification': torch.tensor(batch['labels']), 'multi_label_classification': torch.tensor(batch['flags']),
              'regression': torch.tensor(batch['values']), 'class_weights': torch.tensor(batch['labels'])}
    for name, outputs in TASKS.items():
        torch.manual_seed(13)
        problem = 'single_label_classification' if name == 'class_weights' else name
        config = BertConfig(vocab_size=WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
                            max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=outputs,
                            problem_type=problem)
        model = AutoModelForSequenceClassification.from_config(config).float().train()
        for key, value in model.named_parameters():
            norm = value.dim() == 1 and key.endswith('weight')
            torch.nn.init.normal_(value, 1.0 if norm else 0.0, 0.2)
        result = model(**inputs, labels=labels[name])
        loss = result.loss
        if name == 'class_weights':
            loss = torch.nn.functional.cross_entropy(result.logits, labels[name], weight=torch.tensor(WEIGHTS))
        loss.backward()
        directory = os.path.join(out, name)
        model.save_pretrained(directory)
        expected = {'logits': result.logits.detach(), 'loss': loss.detach().reshape(1)}
        for key, value in model.named_parameters():
            expected['gradient:' + key] = torch.zeros_like(value) if value.grad is None else value.grad
        save_file({key: value.contiguous() for key, value in expected.items()}, os.path.join(directory, 'expected.safetensors'))


if __name__ == '__main__':
    main()
