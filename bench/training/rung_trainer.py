"""A warm rung-trainer on one thread, driven as a worker drives it: a trial file a line in, messages out."""
import json
import os
import shutil
import subprocess
import sys
import time


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class RungTrainer:
    def __init__(self, program, directory):
        """`directory`: for the files of the attempts."""
        self.directory, self.count = directory, 0
        read, write = os.pipe()
        self.started = time.monotonic()
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, pass_fds=[write],
                                        env={**os.environ, 'RUNG_METRICS_FD': str(write), 'OMP_NUM_THREADS': '1'})
        os.close(write)
        self.messages = os.fdopen(read)

    def train(self, train, validation, options, unit, to, seed=42, precision='fp32'):
        """One attempt from the start: its CPU seconds, the values of its result, and its metric points in order."""
        self.count += 1
        here = os.path.join(self.directory, str(self.count))
        for name in ('checkpoints', 'output'):
            os.makedirs(os.path.join(here, name))
        model = os.path.abspath(options['model_name_or_path'])
        trial = {
            'protocol': 1, 'kind': 'train', 'study': 1, 'trial': self.count, 'rung': 0, 'replicate': 0, 'attempt': 1, 'seed': seed,
            'fold': None, 'config': {},
            'trainer': {'type': 'text_classification', 'train': train, 'validation': validation, 'text': 'sentence', 'label': 'label',
                        'split_seed': 42, 'precision': precision, 'options': {**options, 'model_name_or_path': model}},
            'objective': {'metric': 'validation/accuracy', 'goal': 'maximize'}, 'on_promotion': 'restart',
            'budget': {'unit': unit, 'from': 0, 'to': to, 'max': to}, 'checkpoint_dir': here + '/checkpoints', 'resume_dir': None,
            'inputs': {model: model}, 'data_sha256': {}, 'output_dir': here + '/output'}
        with open(here + '/trial.json', 'w') as file:
            json.dump(trial, file)
        before = cpu_seconds(self.process.pid)
        self.process.stdin.write(here + '/trial.json\n')
        self.process.stdin.flush()
        points = []
        for line in self.messages:
            message = json.loads(line)
            if message['type'] == 'failed':
                sys.exit('rung-trainer: ' + message['message'])
            if message['type'] == 'metric':
                points.append(message)
            if message['type'] == 'result':
                break
        else:
            sys.exit('rung-trainer ended without a result')
        shutil.rmtree(here)
        return cpu_seconds(self.process.pid) - before, message['values'], points

    def peak_mb(self):
        with open(f'/proc/{self.process.pid}/status') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('VmHWM:')) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()
