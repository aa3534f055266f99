#!/usr/bin/env python3
"""The job that is replaced: HpBandSter's brackets over Hugging Face trainings, workers as processes of one thread. Prints one JSON object.

Each (config, budget) is trained from the pretrained model, as HpBandSter's examples do; a budget is epochs. Configs come from --configs, in order,
or from BOHB itself without it. --pad grouped: batches grouped by length; max_length: every row padded to the limit.
"""
import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time

import hf_rows

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'search'))
os.environ.update(OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', PYTHONWARNINGS='ignore')

SCHEDULES = {'linear_with_warmup': 'linear', 'cosine_with_warmup': 'cosine', 'constant_with_warmup': 'constant_with_warmup'}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', required=True)
    parser.add_argument('--train', required=True, help='.csv: columns sentence,label')
    parser.add_argument('--validation', required=True)
    parser.add_argument('--peers-site', required=True, help='site-packages with hpbandster and ConfigSpace')
    parser.add_argument('--configs', default='')
    parser.add_argument('--pad', default='grouped', choices=['grouped', 'max_length'])
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--brackets', type=int, default=2)
    parser.add_argument('--min-budget', type=float, default=1)
    parser.add_argument('--max-budget', type=float, default=9)
    parser.add_argument('--serve', nargs=3, metavar=('RUN', 'HOST', 'PORT'), help='be a worker of this run')
    return parser.parse_args()


def train(args, config, epochs):
    """The validation accuracy."""
    import torch
    from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments,
                              get_scheduler, set_seed)
    set_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    limit, pad = int(config['max_seq_length']), args.pad == 'max_length'
    data = hf_rows.encoded(tokenizer, args.train, limit, pad)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2).float()
    undecayed = ('bias', 'LayerNorm.weight')
    groups = [{'params': [p for name, p in model.named_parameters() if not name.endswith(undecayed)], 'weight_decay': config['weight_decay']},
              {'params': [p for name, p in model.named_parameters() if name.endswith(undecayed)], 'weight_decay': 0.0}]
    kind = config['optimizer_name']
    momentum = {'momentum': 0.9} if kind == 'SGD' else {}
    optimizer = getattr(torch.optim, kind)(groups, lr=config['learning_rate'], **momentum)
    batch = int(config['per_device_train_batch_size'])
    updates = int(-(-len(data) // batch) * epochs)
    schedule = get_scheduler(SCHEDULES[config['scheduler_name']], optimizer, num_warmup_steps=0, num_training_steps=updates)
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(output_dir=directory, num_train_epochs=epochs, per_device_train_batch_size=batch,
                                   per_device_eval_batch_size=32, use_cpu=True, seed=1,
                                   train_sampling_strategy='group_by_length' if args.pad == 'grouped' else 'random',
                                   save_strategy='no', report_to='none', disable_tqdm=True, logging_strategy='no'),
            train_dataset=data, eval_dataset=hf_rows.encoded(tokenizer, args.validation, limit, pad),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer, optimizers=(optimizer, schedule),
            compute_metrics=lambda p: {'accuracy': float((p.predictions.argmax(-1) == p.label_ids).mean())})
        trainer.train()
        return float(trainer.evaluate()['eval_accuracy'])


def serve(args):
    import torch
    torch.set_num_threads(1)
    import transformers
    transformers.logging.set_verbosity_error()
    from hpbandster.core.worker import Worker
    quiet = logging.getLogger('worker')
    quiet.setLevel(logging.ERROR)

    class Trial(Worker):
        def compute(self, config_id, config, budget, working_directory, **_):
            accuracy = train(args, config, budget)
            return {'loss': 1 - accuracy, 'info': {'epochs': budget}}

    run, host, port = args.serve
    Trial(run_id=run, nameserver=host, nameserver_port=int(port), host=host, logger=quiet).run(background=False)


def space():
    import ConfigSpace
    made = ConfigSpace.ConfigurationSpace(seed=1)
    made.add(ConfigSpace.UniformFloatHyperparameter('learning_rate', 2e-5, 7e-5, log=True))
    made.add(ConfigSpace.UniformFloatHyperparameter('weight_decay', 1e-5, 1e-3, log=True))
    for name, values in (('per_device_train_batch_size', [4, 8, 16]), ('optimizer_name', ['AdamW', 'Adam', 'SGD', 'RAdam']),
                         ('scheduler_name', list(SCHEDULES)), ('max_seq_length', [64, 128])):
        made.add(ConfigSpace.CategoricalHyperparameter(name, values))
    return made


def main():
    args = arguments()
    sys.path.append(args.peers_site)
    import hpbandster_today
    hpbandster_today.give_back()
    if args.serve:
        return serve(args)
    import hpbandster.core.nameserver
    from hpbandster.optimizers import BOHB
    logging.getLogger('hpbandster').setLevel(logging.ERROR)
    quiet = logging.getLogger('master')
    quiet.setLevel(logging.ERROR)
    run = f'job{os.getpid()}'
    names = hpbandster.core.nameserver.NameServer(run_id=run, host='127.0.0.1', port=0)
    host, port = names.start()
    workers = [subprocess.Popen([sys.executable, os.path.abspath(__file__), *sys.argv[1:], '--serve', run, host, str(port)])
               for _ in range(args.workers)]
    master = BOHB(configspace=space(), run_id=run, nameserver=host, nameserver_port=port, host=host, min_budget=args.min_budget,
                  max_budget=args.max_budget, eta=3, logger=quiet)
    master.budgets = [float(budget) for budget in master.budgets]  # what it sends must not be numpy's
    if args.configs:
        with open(args.configs) as file:
            configs = iter(json.load(file))
        master.config_generator.get_config = lambda budget: (next(configs), {'model_based_pick': False})
        master.config_generator.new_result = lambda job, update_model=True: None
    master.wait_for_workers(args.workers)
    result = master.run(n_iterations=args.brackets, min_n_workers=args.workers)
    master.shutdown(shutdown_workers=True)
    names.shutdown()
    for worker in workers:
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
    runs = result.get_all_runs()
    print(json.dumps({'runs': len(runs), 'failed': sum(not run.info for run in runs), 'epochs': sum(run.info['epochs'] for run in runs if run.info),
                      'accuracy': 1 - min(run.loss for run in runs if run.info)}))


if __name__ == '__main__':
    main()
