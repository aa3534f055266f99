#!/usr/bin/env python3
"""The whole job: a study of 12 configs over 1 to 9 epochs on two workers, from the command to its end, against HpBandSter over Hugging Face.

160 rows of SST-2, 300 validation rows, two brackets. `configs`: both sides train the 12 configs of job_configs.json, in order; `search`: each side's own BOHB.
Wall seconds; the ratio is theirs / ours. hf_best: batches grouped by length; hf_replaced: every row padded to the limit.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
import sst2  # noqa: E402
from figure_line import print_figure  # noqa: E402

PADS = {'hf_best': 'grouped', 'hf_replaced': 'max_length'}
CONFIGS = os.path.join(HERE, 'job_configs.json')
SPACE = {'learning_rate': {'low': 2e-5, 'high': 7e-5, 'log': True}, 'weight_decay': {'low': 1e-5, 'high': 1e-3, 'log': True},
         'per_device_train_batch_size': [4, 8, 16], 'optimizer_name': ['AdamW', 'Adam', 'SGD', 'RAdam'],
         'scheduler_name': ['linear_with_warmup', 'cosine_with_warmup', 'constant_with_warmup'], 'max_seq_length': [64, 128]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bin', default='bin')
    parser.add_argument('--model', required=True)
    parser.add_argument('--sst2', required=True, help='a directory with sst2-train.tsv and sst2-dev.tsv: sentence TAB label')
    parser.add_argument('--peers-site', required=True, help='site-packages with hpbandster and ConfigSpace')
    parser.add_argument('--peers', nargs='*', default=list(PADS), choices=list(PADS))
    parser.add_argument('--searches', nargs='*', default=['configs', 'search'], choices=['configs', 'search'],
                        help='`search` is measured against hf_best alone')
    return parser.parse_args()


def ours(args, directory, train, validation, search):
    """Wall seconds."""
    study = {'name': search, 'trainer': {'type': 'text_classification', 'train': train, 'validation': validation, 'text': 'sentence', 'label': 'label',
                                         'evaluate_every': 0, 'precision': 'fp32',
                                         'options': {'model_name_or_path': os.path.abspath(args.model), 'sgd_momentum': 0.9}},
             'objective': {'metric': 'validation/accuracy', 'goal': 'maximize'},
             'budget': {'unit': 'epochs', 'min': 1, 'max': 9, 'eta': 3, 'on_promotion': 'resume'},
             'algorithm': {'type': 'bohb'}, 'space': SPACE, 'stop': {'brackets': 2}, 'seed': 1}
    if search == 'configs':
        with open(CONFIGS) as file:
            study['enqueue'] = [{'config': config} for config in json.load(file)]
    path = os.path.join(directory, search + '.json')
    with open(path, 'w') as file:
        json.dump(study, file)
    start = time.monotonic()
    subprocess.run([os.path.join(args.bin, 'rung'), 'run', path, '--workers', '2', '--dir', os.path.join(directory, search + '.state')],
                   check=True, capture_output=True)
    return time.monotonic() - start


def theirs(args, train, validation, search, pad):
    command = [sys.executable, os.path.join(HERE, 'hf_job.py'), '--model', args.model, '--train', train, '--validation', validation,
               '--peers-site', args.peers_site, '--pad', pad]
    if search == 'configs':
        command += ['--configs', CONFIGS]
    start = time.monotonic()
    out = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if out.returncode != 0:
        sys.exit(f'hf_job.py: {out.stderr[-2000:]}')
    outcome = json.loads(out.stdout.strip().splitlines()[-1])
    if outcome['failed'] or outcome['runs'] != 17:
        sys.exit(f'hf_job.py: {outcome}\n{out.stderr[-2000:]}')
    return seconds


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as directory:
        train, validation = os.path.join(directory, 'train.csv'), os.path.join(directory, 'validation.csv')
        sst2.write(train, sst2.rows(args.sst2, 'train', 160))
        sst2.write(validation, sst2.rows(args.sst2, 'dev', 300))
        for search in args.searches:
            rung = ours(args, directory, train, validation, search)
            for peer in args.peers if search == 'configs' else args.peers[:1]:
                peer_seconds = theirs(args, train, validation, search, PADS[peer])
                print_figure('training', 'whole_job_seconds', round(rung, 1), round(peer_seconds, 1), 'hpbandster+' + peer,
                             round(peer_seconds / rung, 2), configs='the same 12' if search == 'configs' else 'own search')


if __name__ == '__main__':
    main()
