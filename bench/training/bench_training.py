#!/usr/bin/env python3
"""Examples per CPU second of rung-trainer and of Hugging Face's Trainer, one thread each, in the same minutes.

Both train the same model on the same rows with the same batch size, length limit, AdamW, clipping and dropout. Two lengths of training are
timed and subtracted, so that start-up, evaluation and checkpoints cancel out; the runs of all are interleaved, and the figure is the median
over the rounds. The Trainer sorts windows of 50 batches by length, longest first, so the timed part must be 50 updates or a multiple of it. CPU seconds, not wall seconds: the figure of an undisturbed core.

  hf_best      Trainer, batches grouped by length
  hf_plain     Trainer, batches padded to their longest row, random order
  hf_replaced  Trainer, every row padded to the limit: what the replaced pipeline does
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from figure_line import print_figure  # noqa: E402

PEERS = ['hf_best', 'hf_plain', 'hf_replaced']


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trainer', default='bin/rung-trainer')
    parser.add_argument('--model', required=True)
    parser.add_argument('--data', required=True, help='.tsv: sentence TAB label, no header; .csv: columns sentence,label')
    parser.add_argument('--rows', type=int, default=2000)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--max-length', type=int, default=128)
    parser.add_argument('--short', type=int, default=10, help='updates of the shorter training')
    parser.add_argument('--long', type=int, default=60, help='updates of the longer training')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--peers', nargs='*', default=PEERS)
    return parser.parse_args()


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Rung:
    """A warm rung-trainer."""

    def __init__(self, args, rows, directory):
        self.args, self.directory, self.count = args, directory, 0
        for name, part in (('train.csv', rows), ('validation.csv', rows[:8])):
            with open(os.path.join(directory, name), 'w', newline='') as file:
                writer = csv.writer(file)
                writer.writerow(['sentence', 'label'])
                writer.writerows(part)
        read, write = os.pipe()
        self.process = subprocess.Popen([args.trainer], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        pass_fds=[write], env={**os.environ, 'RUNG_METRICS_FD': str(write)})
        os.close(write)
        self.messages = os.fdopen(read)
        self.train(1)  # loads model and data

    def train(self, updates):
        """CPU seconds and rows of one attempt."""
        self.count += 1
        here = os.path.join(self.directory, str(self.count))
        os.makedirs(here + '/checkpoints')
        os.makedirs(here + '/output')
        model = os.path.abspath(self.args.model)
        trial = {
            'protocol': 1, 'kind': 'train', 'study': 1, 'trial': self.count, 'rung': 0, 'replicate': 0, 'attempt': 1, 'seed': 42,
            'fold': None, 'config': {},
            'trainer': {'type': 'text_classification', 'train': self.directory + '/train.csv',
                        'validation': self.directory + '/validation.csv', 'text': 'sentence', 'label': 'label', 'split_seed': 42,
                        'options': {'model_name_or_path': model, 'max_seq_length': self.args.max_length,
                                    'per_device_train_batch_size': self.args.batch, 'learning_rate': 5e-5}},
            'objective': {'metric': 'validation/accuracy', 'goal': 'maximize'}, 'on_promotion': 'restart',
            'budget': {'unit': 'steps', 'from': 0, 'to': updates, 'max': updates}, 'checkpoint_dir': here + '/checkpoints',
            'resume_dir': None, 'inputs': {model: model}, 'data_sha256': {}, 'output_dir': here + '/output'}
        with open(here + '/trial.json', 'w') as file:
            json.dump(trial, file)
        before = cpu_seconds(self.process.pid)
        self.process.stdin.write(here + '/trial.json\n')
        self.process.stdin.flush()
        for line in self.messages:
            message = json.loads(line)
            if message['type'] == 'failed':
                sys.exit('rung-trainer: ' + message['message'])
            if message['type'] == 'result':
                break
        else:
            sys.exit('rung-trainer ended without a result')
        subprocess.run(['rm', '-r', here + '/checkpoints'], check=True)
        return cpu_seconds(self.process.pid) - before, message['values']['train/rows']

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def rung_figure(rung, args):
    short_cpu, short_rows = rung.train(args.short)
    long_cpu, long_rows = rung.train(args.long)
    return (long_rows - short_rows) / (long_cpu - short_cpu)


def peer_figure(peer, args, directory):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'hf_trainer.py')
    out = subprocess.run(
        [sys.executable, script, '--peer', peer, '--model', args.model, '--rows', directory + '/train.csv', '--batch', str(args.batch),
         '--max-length', str(args.max_length), '--short', str(args.short), '--long', str(args.long)],
        check=True, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1', 'HF_HUB_OFFLINE': '1'})
    return json.loads(out.stdout.strip().splitlines()[-1])['examples_per_cpu_second']


def read_rows(path):
    """[sentence, label], labels numbered from 0."""
    with open(path, encoding='utf-8', newline='') as file:
        if path.endswith('.csv'):
            rows = [[row['sentence'], row['label']] for row in csv.DictReader(file)]
        else:
            rows = [line.rstrip('\n').rsplit('\t', 1) for line in file if line.strip()]
    numbers = {label: str(number) for number, label in enumerate(sorted({label for _, label in rows}))}
    return [[sentence, numbers[label]] for sentence, label in rows]


def main():
    args = arguments()
    rows = read_rows(args.data)[:args.rows]
    ours, theirs = [], {peer: [] for peer in args.peers}
    with tempfile.TemporaryDirectory() as directory:
        rung = Rung(args, rows, directory)
        for _ in range(args.rounds):
            ours.append(rung_figure(rung, args))
            for peer in args.peers:
                theirs[peer].append(peer_figure(peer, args, directory))
        ours.append(rung_figure(rung, args))
        rung.close()
    figure = statistics.median(ours)
    for peer in args.peers:
        value = statistics.median(theirs[peer])
        print_figure('training', 'examples_per_cpu_second', round(figure, 2), round(value, 2), peer, round(figure / value, 3))


if __name__ == '__main__':
    main()
