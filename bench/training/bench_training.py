#!/usr/bin/env python3
"""rung-trainer against the Python stacks of hf_trainer.py, one thread each, in the same minutes: a figure a line.

Each case trains the same model on the same rows with the same batch size, length limit, optimizer, clipping and dropout on all sides.
Training: rows per CPU second between two updates; ours are two lengths of training subtracted, so that start-up, evaluation and checkpoints
cancel out. Evaluation: rows per CPU second. Start: wall seconds from the start of the process to the end of the first update, ours
with the evaluation of eight rows, the checkpoint and the result. Peak memory: of the process. The Trainer sorts windows of 50 batches by length,
longest first, so what is counted of hf_best is 50 updates or a multiple of it. The runs are interleaved; each figure is the median over the
rounds. CPU seconds, not wall seconds: the figure of an undisturbed core.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'examples', 'spam'))
import make_data  # noqa: E402
import random_model  # noqa: E402
import sst2  # noqa: E402
from figure_line import print_figure  # noqa: E402
from rung_trainer import RungTrainer  # noqa: E402

PEERS = ['hf_best', 'hf_plain', 'hf_replaced']
SHORT = 10
LONG = {'hf_best': 60, 'hf_plain': 60, 'hf_replaced': 25}  # padded to the limit, every update costs the same

# case: (model, data, length limit, batch, optimizer, precision of all sides)
CASES = {
    'minilm_sst2': ('minilm', 'sst2', 128, 16, 'AdamW', 'fp32'),
    'tinybert4_sst2': ('tinybert4', 'sst2', 128, 16, 'AdamW', 'fp32'),
    'bert3_sst2': ('bert3', 'sst2', 128, 16, 'AdamW', 'fp32'),
    'minilm_spam': ('minilm', 'spam', 256, 8, 'AdamW', 'fp32'),
    'minilm_sst2_radam': ('minilm', 'sst2', 128, 4, 'RAdam', 'fp32'),
    'minilm_sst2_adam': ('minilm', 'sst2', 128, 4, 'Adam', 'fp32'),
    'minilm_sst2_sgd': ('minilm', 'sst2', 128, 4, 'SGD', 'fp32'),
    'minilm_sst2_bf16': ('minilm', 'sst2', 128, 16, 'AdamW', 'bf16'),
    'bert3_sst2_bf16': ('bert3', 'sst2', 128, 16, 'AdamW', 'bf16'),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trainer', default='bin/rung-trainer')
    parser.add_argument('--model', required=True, help="MiniLM's directory")
    parser.add_argument('--sst2', required=True, help='a directory with sst2-train.tsv and sst2-dev.tsv: sentence TAB label')
    parser.add_argument('--mails', required=True, help='the unpacked npm package of e-mails')
    parser.add_argument('--cases', nargs='*', default=list(CASES), choices=list(CASES))
    parser.add_argument('--peers', nargs='*', default=PEERS, choices=PEERS)
    parser.add_argument('--rounds', type=int, default=1)
    return parser.parse_args()


class Data:
    """Files train.csv, evaluation.csv and few.csv in a directory of their own: columns sentence,label, labels numbered from 0."""

    def __init__(self, name, args, directory):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        if name == 'sst2':
            train, evaluation = sst2.rows(args.sst2, 'train', 2000), sst2.rows(args.sst2, 'dev')
        else:
            train, evaluation = spam(args)
        numbers = {label: number for number, label in enumerate(sorted({label for _, label in train}))}
        self.evaluation_rows = len(evaluation)
        for part, rows in (('train', train), ('evaluation', evaluation), ('few', train[:8])):
            sst2.write(self.file(part), [(text, numbers[label]) for text, label in rows])

    def file(self, part):
        return os.path.join(self.directory, part + '.csv')


def spam(args):
    """Whole e-mails, most of them longer than the limit."""
    make_data.WORDS = sys.maxsize
    parts = make_data.split(make_data.read(args.mails)[0])
    return ([[text, label] for _, label, text in parts[part]] for part in ('train', 'validation'))


def our_figures(args, model, data, case):
    _, _, max_length, batch, optimizer, precision = CASES[case]
    options = {'model_name_or_path': model, 'max_seq_length': max_length, 'per_device_train_batch_size': batch, 'learning_rate': 5e-5,
               'optimizer_name': optimizer, **({'sgd_momentum': 0.9} if optimizer == 'SGD' else {})}
    with tempfile.TemporaryDirectory() as directory:
        rung = RungTrainer(args.trainer, directory)

        def train(updates, validation):
            cpu, values, _ = rung.train(data.file('train'), data.file(validation), options, 'steps', updates, precision=precision)
            return cpu, values['train/rows']

        train(1, 'few')
        start = time.monotonic() - rung.started
        short_cpu, short_rows = train(SHORT, 'few')
        long_cpu, long_rows = train(LONG['hf_best'], 'few')
        train(1, 'evaluation')  # reads the file
        one_cpu, _ = train(1, 'few')
        whole_cpu, _ = train(1, 'evaluation')
        peak = rung.peak_mb()
        rung.close()
    return {'training': (long_rows - short_rows) / (long_cpu - short_cpu), 'evaluation': (data.evaluation_rows - 8) / (whole_cpu - one_cpu),
            'start_seconds': start, 'peak_mb': peak}


def peer_figures(peer, model, data, case):
    _, _, max_length, batch, optimizer, precision = CASES[case]
    out = subprocess.run(
        [sys.executable, os.path.join(HERE, 'hf_trainer.py'), '--peer', peer, '--model', model, '--rows', data.file('train'), '--evaluation',
         data.file('evaluation'), '--batch', str(batch), '--max-length', str(max_length), '--optimizer', optimizer, '--precision', precision,
         '--short', str(SHORT), '--long', str(LONG[peer])],
        capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1', 'HF_HUB_OFFLINE': '1', 'TOKENIZERS_PARALLELISM': 'false'})
    if out.returncode != 0:
        sys.exit(f'{peer}: {out.stderr[-2000:]}')
    return json.loads(out.stdout.strip().splitlines()[-1])


def report(case, ours, theirs):
    """ours: figures of each round; theirs: the same by peer. Rates are better when higher, seconds and MB when lower."""
    median = lambda rounds, figure: statistics.median(one[figure] for one in rounds)
    for figure, name, higher in (('training', 'examples_per_cpu_second', True), ('evaluation', 'evaluated_per_cpu_second', True),
                                 ('start_seconds', 'start_seconds', False), ('peak_mb', 'peak_mb', False)):
        for peer, rounds in theirs.items():
            rung, other = median(ours, figure), median(rounds, figure)
            print_figure('training', name, round(rung, 2), round(other, 2), peer, round(rung / other if higher else other / rung, 3), case=case)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as directory:
        models, data = {'minilm': args.model}, {}
        for case in args.cases:
            model, texts = CASES[case][:2]
            if model not in models:
                models[model] = os.path.join(directory, model)
                random_model.write(model, args.model, models[model])
            if texts not in data:
                data[texts] = Data(texts, args, directory)
            ours, theirs = [], {peer: [] for peer in args.peers}
            for _ in range(args.rounds):
                ours.append(our_figures(args, models[model], data[texts], case))
                for peer in args.peers:
                    theirs[peer].append(peer_figures(peer, models[model], data[texts], case))
            report(case, ours, theirs)


if __name__ == '__main__':
    main()
