#!/usr/bin/env python3
"""Models of every family, fine-tuned in full and with adapters and exported, compute in transformers what they compute in Rung.

  export_families_test.py BIN_DIR

rung-trainer trains a tiny random model of each family twice, writes its checkpoints as model directories and labels rows with them; the logits of
`predict --logits` are those of the real AutoModelForSequenceClassification within 1e-5. RUNG_TEST_PYTHON names a Python that has transformers.
"""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile

if 'RUNG_PARITY_CHILD' not in os.environ:
    python = os.environ.get('RUNG_TEST_PYTHON')
    if not python:
        sys.exit('RUNG_TEST_PYTHON must name a Python that has transformers')
    os.execve(python, [python, '-B', *sys.argv], {**os.environ, 'RUNG_PARITY_CHILD': '1', 'HF_HUB_OFFLINE': '1'})

import torch
from transformers import (AlbertConfig, AutoModel, AutoModelForSequenceClassification, BertConfig, CamembertConfig, DebertaV2Config,
                          DistilBertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig)

# Words are tokens; neither 0 nor 1, which pad in one family or another, stands in a text.
WORDS = [f'w{i}' for i in range(40)]
VOCABULARY = ['[PAD]', '[unused]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]
SIZES = dict(vocab_size=len(VOCABULARY), hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
             max_position_embeddings=34, bos_token_id=3, eos_token_id=4)
LIKE_ROBERTA = dict(SIZES, type_vocab_size=1, pad_token_id=1)
FAMILIES = {
    'bert': BertConfig(**SIZES),
    'roberta': RobertaConfig(**LIKE_ROBERTA),
    'xlm_roberta': XLMRobertaConfig(**LIKE_ROBERTA),
    'camembert': CamembertConfig(**LIKE_ROBERTA),
    'electra': ElectraConfig(**SIZES, embedding_size=16),
    'distilbert': DistilBertConfig(vocab_size=len(VOCABULARY), dim=24, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=34),
    'albert': AlbertConfig(**SIZES, embedding_size=16),
    'deberta_v3': DebertaV2Config(**SIZES, relative_attention=True, position_biased_input=False, pos_att_type=['c2p', 'p2c'],
                                  norm_rel_ebd='layer_norm', share_att_key=True, position_buckets=8, type_vocab_size=0),
}
LABELS = ['bad', 'good', 'so so']
METHODS = ['none', 'lora']


def make_model(directory, config):
    torch.manual_seed(3)
    model = AutoModel.from_config(config).float()
    for name, value in model.named_parameters():
        norm = value.dim() == 1 and name.endswith('weight')
        torch.nn.init.normal_(value, 1.0 if norm else 0.0, 0.2)
    model.save_pretrained(directory)
    with open(directory + '/vocab.txt', 'w') as file:
        file.write('\n'.join(VOCABULARY) + '\n')


def write_rows(path, generator, count):
    rows = []
    for i in range(count):
        rows.append((' '.join(generator.choice(WORDS[i % 3::3] if generator.random() < 0.6 else WORDS) for _ in range(generator.randrange(1, 24))),
                     LABELS[i % 3]))
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['sentence', 'label'])
        writer.writerows(rows)
    return [text for text, _ in rows]


def trial_file(here, name, method):
    place = f'{here}/{name}-{method}'
    for part in ('checkpoints', 'output'):
        os.makedirs(f'{place}/{part}')
    model = f'{here}/{name}'
    trial = {'protocol': 1, 'kind': 'train', 'study': 1, 'trial': 1, 'rung': 0, 'replicate': 0, 'attempt': 1, 'seed': 5, 'fold': None,
             'config': {'model_name_or_path': model, 'peft.method': method},
             'trainer': {'type': 'text_classification', 'train': here + '/rows.csv', 'validation': here + '/rows.csv', 'split_seed': 1,
                         'options': {'max_seq_length': 20, 'per_device_train_batch_size': 8, 'learning_rate': 1e-2, 'lora.r': 3}},
             'objective': {'metric': 'validation/loss', 'goal': 'minimize'}, 'on_promotion': 'resume',
             'budget': {'unit': 'steps', 'from': 0, 'to': 8, 'max': 8}, 'checkpoint_dir': place + '/checkpoints', 'resume_dir': None,
             'inputs': {model: model}, 'data_sha256': {}, 'output_dir': place + '/output', 'deadline_seconds': None}
    with open(place + '/trial.json', 'w') as file:
        json.dump(trial, file)
    return place


def run(command, **more):
    result = subprocess.run(command, capture_output=True, text=True, **more)
    if result.returncode != 0:
        sys.exit(f'{" ".join(command)}: exit {result.returncode}\n{result.stdout}\n{result.stderr}')
    return result


def train(trainer, here, places):
    lines = here + '/lines.jsonl'
    with open(lines, 'w') as file:
        run([trainer], input=''.join(place + '/trial.json\n' for place in places), pass_fds=[file.fileno()],
            env={**os.environ, 'RUNG_METRICS_FD': str(file.fileno())})
    with open(lines) as file:
        ends = [line for line in map(json.loads, file) if line['type'] in ('result', 'failed')]
    assert len(ends) == len(places) and all(line['type'] == 'result' for line in ends), ends


def compare(trainer, here, place, texts):
    run([trainer, 'export', place + '/checkpoints', place + '/model'])
    run([trainer, 'predict', place + '/model', here + '/new.csv', place + '/predicted.csv', '--logits'])
    with open(place + '/predicted.csv', newline='') as file:
        ours = list(csv.DictReader(file))
    assert [row['sentence'] for row in ours] == texts, 'every row once, in order'
    model, report = AutoModelForSequenceClassification.from_pretrained(place + '/model', output_loading_info=True)
    assert not report['missing_keys'] and not report['unexpected_keys'], report
    assert model.config.id2label == dict(enumerate(LABELS)), model.config.id2label
    worst = 0.0
    for row in ours:
        ids = [3, *(VOCABULARY.index(word) for word in row['sentence'].split()[:18]), 4]
        with torch.no_grad():
            theirs = model.eval()(input_ids=torch.tensor([ids])).logits[0].tolist()
        assert row['label'] == LABELS[theirs.index(max(theirs))], row
        worst = max(worst, *(abs(float(row['logit ' + label]) - logit) for label, logit in zip(LABELS, theirs)))
    assert len({row['logit ' + LABELS[0]] for row in ours}) > 10, 'a model that says one thing tests nothing'
    return worst, model


def main():
    trainer = os.path.join(sys.argv[1], 'rung-trainer')
    torch.set_num_threads(1)
    generator = random.Random(2)
    with tempfile.TemporaryDirectory() as here:
        write_rows(here + '/rows.csv', generator, 48)
        texts = write_rows(here + '/new.csv', generator, 21)
        for name, config in FAMILIES.items():
            make_model(f'{here}/{name}', config)
        places = {(name, method): trial_file(here, name, method) for name in FAMILIES for method in METHODS}
        train(trainer, here, places.values())
        for (name, method), place in places.items():
            worst, model = compare(trainer, here, place, texts)
            print(f'{name}, peft.method = {method}: largest difference of a logit {worst:.2g}', flush=True)
            assert worst < 1e-5, (name, method, worst)
            # Adapters are part of the weights now: those beside which they stood have moved, others have not.
            before = AutoModel.from_pretrained(f'{here}/{name}').state_dict()
            prefix = model.base_model_prefix + '.'
            moved = {key for key, value in model.state_dict().items()
                     if key.startswith(prefix) and key[len(prefix):] in before and not torch.equal(value, before[key[len(prefix):]])}
            assert moved, (name, method)
            if method == 'lora':
                assert all('query' in key or 'value' in key or 'q_lin' in key or 'v_lin' in key for key in moved), moved


if __name__ == '__main__':
    main()
