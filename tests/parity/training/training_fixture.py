#!/usr/bin/env python3
"""What Hugging Face computes on the real MiniLM, for training_parity_test.cc.

  training_fixture.py OUT_DIR

Reads the model of RUNG_TEST_MODEL. Writes OUT_DIR/start/model.safetensors (a BertForSequenceClassification on its weights), and OUT_DIR/parity.json: logits of a ragged
batch in eval mode, and the losses of 20 updates for each optimiser and schedule, dropout 0, with gradient accumulation over
micro-batches of unequal size, weight decay groups and clipping. One thread.
"""
import json
import os
import random
import sys

os.environ.setdefault('HF_HUB_OFFLINE', '1')
import torch
from transformers import BertForSequenceClassification, get_scheduler

UPDATES = 20
LABELS = 3
# optimiser, schedule, warm-up, total updates, learning rate, weight decay
RUNS = [
    ('AdamW', 'linear', 3, 20, 5e-5, 0.01),
    ('Adam', 'cosine', 4, 24, 5e-5, 0.001),
    ('SGD', 'polynomial', 2, 18, 2e-2, 0.01),
    ('RAdam', 'cosine_with_restarts', 0, 20, 2e-3, 0.001),
    ('AdamW', 'constant_with_warmup', 25, 20, 7e-5, 1e-4),
]


def sequences(generator, sizes):
    """Micro-batches of ragged sequences: [CLS] random words [SEP]."""
    out = []
    for size in sizes:
        rows = [[101] + [generator.randrange(1000, 30000) for _ in range(generator.randrange(2, 28))] + [102] for _ in range(size)]
        out.append({'ids': rows, 'labels': [generator.randrange(LABELS) for _ in range(size)]})
    return out


def forward(model, batch):
    width = max(len(row) for row in batch['ids'])
    ids = torch.tensor([row + [0] * (width - len(row)) for row in batch['ids']])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch['ids']])
    return model(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids)).logits


def optimiser(name, groups, rate):
    if name == 'SGD':
        return torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return getattr(torch.optim, name)(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)


def train(start, run, updates):
    name, schedule, warmup, total, rate, decay = run
    model = BertForSequenceClassification.from_pretrained(start, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.float().train()
    plain = lambda n: n.endswith('bias') or 'LayerNorm' in n
    opt = optimiser(name, [
        {'params': [p for n, p in model.named_parameters() if not plain(n)], 'weight_decay': decay},
        {'params': [p for n, p in model.named_parameters() if plain(n)], 'weight_decay': 0.0}], rate)
    extra = {'lr_end': 1e-7} if schedule == 'polynomial' else {}
    scheduler = get_scheduler(schedule, opt, warmup, total, scheduler_specific_kwargs=extra)
    losses = []
    for batches in updates:
        rows = sum(len(b['labels']) for b in batches)
        opt.zero_grad()
        loss_sum = 0.0
        for batch in batches:
            loss = torch.nn.functional.cross_entropy(forward(model, batch), torch.tensor(batch['labels']), reduction='sum')
            (loss / rows).backward()
            loss_sum += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        scheduler.step()
        losses.append(loss_sum / rows)
    return losses


def main():
    source, out = os.environ['RUNG_TEST_MODEL'], sys.argv[1]
    torch.set_num_threads(1)
    torch.manual_seed(7)
    generator = random.Random(7)
    start = os.path.join(out, 'start')
    model = BertForSequenceClassification.from_pretrained(source, num_labels=LABELS, hidden_dropout_prob=0.0,
                                                          attention_probs_dropout_prob=0.0).float().eval()
    model.save_pretrained(start)
    batch = sequences(generator, [12])[0]
    with torch.no_grad():
        logits = forward(model, batch).tolist()
    # A few rows, seen again and again, so that the losses fall and a wrong update shows.
    updates = [sequences(generator, [4, 3] if i % 2 else [5]) for i in range(4)]
    updates = [updates[i % 4] for i in range(UPDATES)]
    runs = [{'optimizer': r[0], 'schedule': r[1], 'warmup': r[2], 'total': r[3], 'rate': r[4], 'decay': r[5],
             'losses': train(start, r, updates)} for r in RUNS]
    with open(os.path.join(out, 'parity.json'), 'w') as f:
        json.dump({'labels': LABELS, 'batch': batch, 'logits': logits, 'updates': updates, 'runs': runs}, f)


if __name__ == '__main__':
    main()
