#!/usr/bin/env python3
"""One fine-tuning of a Python stack on one thread; prints its figures as one JSON object.

  hf_best      transformers.Trainer, batches grouped by length; evaluation sorted by length
  hf_plain     transformers.Trainer, batches padded to their longest row, random order
  hf_replaced  lightning.Trainer, every row padded to the limit: what the replaced pipeline does

Training is counted between two updates, so start-up is not in it; start_seconds counts from the start of the process to the end of the first
update. Optimizers are those a user gets by the name: the Trainer's own AdamW, torch.optim with its defaults for the others. The replaced
pipeline trains with its dropout on.
"""
import argparse
import json
import logging
import os
import resource
import tempfile
import time
import warnings

import hf_rows


def start_of_process():
    """On the clock of time.monotonic(): seconds since boot."""
    with open('/proc/self/stat') as file:
        return float(file.read().rsplit(')', 1)[1].split()[19]) / os.sysconf('SC_CLK_TCK')


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer', required=True, choices=['hf_best', 'hf_plain', 'hf_replaced'])
    parser.add_argument('--model', required=True)
    parser.add_argument('--rows', required=True, help='.csv: columns sentence,label (from 0)')
    parser.add_argument('--evaluation', required=True, help='.csv: the same columns')
    parser.add_argument('--optimizer', default='AdamW', choices=['AdamW', 'Adam', 'RAdam', 'SGD'])
    parser.add_argument('--precision', default='fp32', choices=['fp32', 'bf16'])
    parser.add_argument('--batch', type=int, required=True)
    parser.add_argument('--max-length', type=int, required=True)
    parser.add_argument('--short', type=int, required=True, help='counted from this update')
    parser.add_argument('--long', type=int, required=True, help='to this one')
    return parser.parse_args()


args = arguments()
warnings.filterwarnings('ignore')
import torch

torch.set_num_threads(1)
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, set_seed

transformers.logging.set_verbosity_error()
set_seed(42)
tokenizer = AutoTokenizer.from_pretrained(args.model)
train, evaluation = (hf_rows.encoded(tokenizer, path, args.max_length, args.peer == 'hf_replaced')
                     for path in (args.rows, args.evaluation))
if args.peer == 'hf_best':
    evaluation.sort(key=lambda row: -len(row['input_ids']))
model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=1 + max(row['labels'] for row in train)).float()
collator = DataCollatorWithPadding(tokenizer)
cpu, wall = {}, {}


def mark(update):
    cpu[update], wall[update] = time.process_time(), time.monotonic()


def optimizer():
    kinds = {'Adam': torch.optim.Adam, 'AdamW': torch.optim.AdamW, 'RAdam': torch.optim.RAdam}
    if args.optimizer == 'SGD':
        return torch.optim.SGD(model.parameters(), lr=5e-5, momentum=0.9)
    return kinds[args.optimizer](model.parameters(), lr=5e-5)


def train_by_transformers(directory):
    """Trains; returns a function that evaluates."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Marks(TrainerCallback):
        def on_step_end(self, arguments_, state, control, **_):
            mark(state.global_step)

    trainer = Trainer(
        model=model,
        args=TrainingArguments(output_dir=directory, max_steps=args.long, per_device_train_batch_size=args.batch,
                               per_device_eval_batch_size=32, learning_rate=5e-5, use_cpu=True,
                               bf16=args.precision == 'bf16',
                               train_sampling_strategy='group_by_length' if args.peer == 'hf_best' else 'random',
                               save_strategy='no', report_to='none', disable_tqdm=True, logging_strategy='no', seed=42),
        train_dataset=train, eval_dataset=evaluation, data_collator=collator, processing_class=tokenizer, callbacks=[Marks()],
        optimizers=(None if args.optimizer == 'AdamW' else optimizer(), None))
    trainer.train()
    return lambda: trainer.predict(evaluation)


def train_by_lightning(directory):
    """Trains; returns a function that evaluates."""
    import lightning
    from torch.utils.data import DataLoader
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, _):
            loss = self.model(**batch).loss
            self.log('train_loss', loss)
            return loss

        def validation_step(self, batch, _):
            self.log('validation_loss', self.model(**batch).loss, batch_size=len(batch['labels']))

        def configure_optimizers(self):
            chosen = optimizer()
            return [chosen], [{'scheduler': transformers.get_linear_schedule_with_warmup(chosen, 0, args.long), 'interval': 'step'}]

    class Marks(lightning.Callback):
        def on_train_batch_end(self, trainer_, *_):
            mark(trainer_.global_step)

    model.train()
    precision = 'bf16-mixed' if args.precision == 'bf16' else '32-true'
    trainer = lightning.Trainer(accelerator='cpu', precision=precision, default_root_dir=directory, max_steps=args.long, max_epochs=-1,
                                gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                                num_sanity_val_steps=0, limit_val_batches=0, callbacks=[Marks()])
    module = Module()
    trainer.fit(module, DataLoader(train, args.batch, shuffle=True, collate_fn=collator))
    judge = lightning.Trainer(accelerator='cpu', precision=precision, default_root_dir=directory, logger=False, enable_checkpointing=False,
                              enable_progress_bar=False, enable_model_summary=False)
    return lambda: judge.validate(module, DataLoader(evaluation, 32, collate_fn=collator), verbose=False)


with tempfile.TemporaryDirectory() as here:
    evaluate = (train_by_lightning if args.peer == 'hf_replaced' else train_by_transformers)(here)
    before = time.process_time()
    evaluate()
    seconds = time.process_time() - before
print(json.dumps({
    'training': (args.long - args.short) * args.batch / (cpu[args.long] - cpu[args.short]),
    'evaluation': len(evaluation) / seconds,
    'start_seconds': wall[1] - start_of_process(),
    'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
