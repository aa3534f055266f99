#!/usr/bin/env python3
"""Accuracy on SST-2's dev rows after each of three epochs: rung-trainer and Hugging Face's Trainer, the mean of the same seeds.

The first 2,000 training rows, learning rate 5e-5, batch 16, AdamW without decay, one linear schedule without warm-up, clip 1.0. A figure a line,
ratio = our mean / theirs; `difference` is in points, `rung_all` and `peer_all` are the seeds'. The peer trains in float32, ours in each of
--precisions (trainer.precision).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
import sst2  # noqa: E402
from figure_line import print_figure  # noqa: E402
from rung_trainer import RungTrainer  # noqa: E402

EPOCHS = 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trainer', default='bin/rung-trainer')
    parser.add_argument('--model', required=True)
    parser.add_argument('--sst2', required=True, help='a directory with sst2-train.tsv and sst2-dev.tsv: sentence TAB label')
    parser.add_argument('--seeds', nargs='*', type=int, default=[1, 2, 3])
    parser.add_argument('--precisions', nargs='*', default=['fp32', 'bf16'], choices=['fp32', 'bf16'])
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='trainings at the same time, one thread each')
    return parser.parse_args()


def ours(args, train, dev, seed, precision):
    options = {'model_name_or_path': args.model, 'max_seq_length': 128, 'per_device_train_batch_size': 16, 'learning_rate': 5e-5,
               'scheduler_name': 'linear_with_warmup', 'warmup_steps': 0, 'weight_decay': 0.0}
    with tempfile.TemporaryDirectory() as directory:
        rung = RungTrainer(args.trainer, directory)
        _, values, points = rung.train(train, dev, options, 'epochs', EPOCHS, seed, precision)
        rung.close()
    by_epoch = {round(point['budget']): point['values']['validation/accuracy'] for point in points if 'validation/accuracy' in point['values']}
    by_epoch[EPOCHS] = values['validation/accuracy']
    return [by_epoch[epoch] for epoch in range(1, EPOCHS + 1)]


def theirs(args, train, dev, seed):
    out = subprocess.run([sys.executable, os.path.join(HERE, 'hf_accuracy.py'), args.model, train, dev, str(seed), str(EPOCHS)],
                         capture_output=True, text=True,
                         env={**os.environ, 'OMP_NUM_THREADS': '1', 'HF_HUB_OFFLINE': '1', 'TOKENIZERS_PARALLELISM': 'false'})
    if out.returncode != 0:
        sys.exit(f'hf_accuracy.py: {out.stderr[-2000:]}')
    return json.loads(out.stdout.strip().splitlines()[-1])


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as directory:
        train, dev = os.path.join(directory, 'train.csv'), os.path.join(directory, 'dev.csv')
        sst2.write(train, sst2.rows(args.sst2, 'train', 2000))
        sst2.write(dev, sst2.rows(args.sst2, 'dev'))
        with ThreadPoolExecutor(args.jobs) as pool:
            rung = {precision: [pool.submit(ours, args, train, dev, seed, precision) for seed in args.seeds] for precision in args.precisions}
            peer = [pool.submit(theirs, args, train, dev, seed) for seed in args.seeds]
            rung = {precision: [one.result() for one in runs] for precision, runs in rung.items()}
            peer = [one.result() for one in peer]
    for precision, runs in rung.items():
        report(precision, runs, peer)


def report(precision, rung, peer):
    for epoch in range(EPOCHS):
        our, their = [one[epoch] for one in rung], [one[epoch] for one in peer]
        mean, other = statistics.mean(our), statistics.mean(their)
        print_figure('training', f'accuracy_after_epoch_{epoch + 1}', round(mean, 4), round(other, 4), 'hf_best', round(mean / other, 4),
                     precision=precision, difference=round(100 * (mean - other), 2), rung_all=our, peer_all=their)


if __name__ == '__main__':
    main()
