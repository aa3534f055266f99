#!/usr/bin/env python3
"""A study's best trial, exported, is a model that transformers opens and that computes what Rung computed.

  export_parity_test.py BIN_DIR

Runs a study of two trials on a tiny random BERT, exports the incumbent with `rung study best --export`, opens it with the real
AutoModelForSequenceClassification and AutoTokenizer, and compares its probabilities with those of `rung model predict`. Then the same with several
labels a row, where the loss that the study's test reports must be the one that transformers gives for the same rows too. Of a model whose head is
Rung's own the encoder opens, and the export says that the head does not. RUNG_TEST_PYTHON names a Python that has transformers.
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
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertModel

WORDS = ['tree', 'river', 'stone', 'cloud', 'engine', 'wheel', 'road', 'bridge', ',', 'Ünder', '"quoted"', 'x']
LABELS = ['machine', 'nature']


def make_model(directory):
    torch.manual_seed(3)
    model = BertModel(BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
                                 max_position_embeddings=32))
    for value in model.parameters():
        if value.dim() > 1:
            torch.nn.init.normal_(value, 0, 0.2)
    model.save_pretrained(directory)
    pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'tree', 'river', 'stone', 'cloud', 'engine', 'wheel', 'road', 'bridge', ',', '"',
              'under', 'quoted', 'x']
    with open(directory + '/vocab.txt', 'w', encoding='utf-8') as file:
        file.write('\n'.join(pieces) + '\n')
    with open(directory + '/tokenizer_config.json', 'w') as file:
        json.dump({'tokenizer_class': 'BertTokenizer', 'do_lower_case': True}, file)


def make_rows(generator, count):
    rows = []
    for _ in range(count):
        label = generator.randrange(2)
        words = [generator.choice(WORDS[:4] if label else WORDS[4:8]) if generator.random() < 0.7 else generator.choice(WORDS)
                 for _ in range(generator.randrange(1, 20))]
        rows.append((' '.join(words), LABELS[label]))
    return rows


def write(path, header, rows):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f'{" ".join(command)}: exit {result.returncode}\n{result.stdout}\n{result.stderr}')
    return result.stdout


def several_labels(rung, here, generator):
    def make(count):
        rows = []
        for _ in range(count):
            flags = [generator.random() < 0.5 for _ in LABELS]
            words = [generator.choice(WORDS[8:]) for _ in range(4)] + [generator.choice(WORDS[4:8]) for _ in range(3 * flags[0])] + \
                    [generator.choice(WORDS[:4]) for _ in range(3 * flags[1])]
            generator.shuffle(words)
            rows.append((' '.join(words), *map(int, flags)))
        return rows

    header, test = ['text', *LABELS], make(41)
    write(here + '/several.csv', header, make(200))
    write(here + '/several_test.csv', header, test)
    study = {'name': 'several', 'trainer': {'type': 'text_classification', 'train': 'several.csv', 'validation': 0.2, 'test': 'several_test.csv',
                                            'text': 'text', 'label': LABELS, 'multi_label': True,
                                            'options': {'model_name_or_path': 'base', 'max_seq_length': 12}},
             'objective': {'metric': 'validation/f1_macro', 'goal': 'maximize'}, 'budget': {'unit': 'epochs', 'min': 3, 'max': 3, 'eta': 3},
             'algorithm': {'type': 'random'}, 'space': {'learning_rate': {'low': 1e-3, 'high': 1e-2, 'log': True},
                                                        'peft.method': ['none', 'lora']}, 'stop': {'trials': 3}, 'seed': 1}
    with open(here + '/several.json', 'w') as file:
        json.dump(study, file)
    state, best = here + '/several_state', here + '/several_best'
    outcome = json.loads(run(rung, 'run', here + '/several.json', '--workers', '1', '--dir', state, '-o', 'json'))
    tested = outcome['incumbent']['evaluation']['values']
    run(rung, 'study', 'best', 'several', '--export', best, '--dir', state)
    ours = list(csv.DictReader(run(rung, 'model', 'predict', best, here + '/several_test.csv', '--logits').splitlines()))
    assert [row['text'] for row in ours] == [row[0] for row in test]

    model, report = AutoModelForSequenceClassification.from_pretrained(best, output_loading_info=True)
    assert not report['missing_keys'] and not report['unexpected_keys'], report
    assert model.config.problem_type == 'multi_label_classification', model.config
    assert model.config.id2label == dict(enumerate(LABELS)), model.config.id2label
    tokenizer = AutoTokenizer.from_pretrained(best)
    worst, loss, right = 0.0, 0.0, 0
    for row, (text, *flags) in zip(ours, test):
        inputs = tokenizer(text, truncation=True, max_length=12, return_tensors='pt')
        with torch.no_grad():
            result = model.eval()(**inputs, labels=torch.tensor([flags], dtype=torch.float))
        logits = result.logits[0].double()
        loss += result.loss.item() / len(test)
        right += [int(logit > 0) for logit in logits] == flags
        assert row['label'] == ','.join(label for label, logit in zip(LABELS, logits) if logit > 0), row
        for label, logit, probability in zip(LABELS, logits.tolist(), torch.sigmoid(logits).tolist()):
            worst = max(worst, abs(float(row['logit ' + label]) - logit), abs(float(row['probability ' + label]) - probability))
    print(f'several labels: test loss {tested["test/loss"]:.4f}, largest difference of a logit {worst:.2g}')
    assert worst < 1e-5, worst
    assert abs(tested['test/loss'] - loss) < 1e-5, (tested, loss)
    assert abs(tested['test/accuracy'] - right / len(test)) < 1e-9, (tested, right)
    assert tested['test/f1_macro'] > 0.6, tested


def own_head(rung, here, study):
    study = {**study, 'name': 'own', 'stop': {'trials': 1}}
    options = {**study['trainer']['options'], 'head.type': 'fc', 'head.sizes': '16,8', 'head.last_layers': 2}
    study['trainer'] = {**study['trainer'], 'options': options}
    with open(here + '/own.json', 'w') as file:
        json.dump(study, file)
    state, best = here + '/own_state', here + '/own_best'
    run(rung, 'run', here + '/own.json', '--workers', '1', '--dir', state)
    exported = subprocess.run([rung, 'study', 'best', 'own', '--export', best, '--dir', state], capture_output=True, text=True)
    assert exported.returncode == 0 and "Rung's own" in exported.stderr, exported
    with open(best + '/README.md', encoding='utf-8') as file:
        assert '(head.type = fc)' in file.read()
    with open(best + '/config.json', encoding='utf-8') as file:
        assert 'architectures' not in json.load(file)
    _, report = AutoModel.from_pretrained(best, output_loading_info=True)
    assert not report['missing_keys'] and all(name.startswith('head.') for name in report['unexpected_keys']), report
    assert len(run(rung, 'model', 'predict', best, here + '/new.csv').splitlines()) == 34


def main():
    rung = os.path.join(sys.argv[1], 'rung')
    generator = random.Random(1)
    with tempfile.TemporaryDirectory() as here:
        make_model(here + '/base')
        write(here + '/train.csv', ['text', 'class'], make_rows(generator, 60))
        write(here + '/validation.csv', ['text', 'class'], make_rows(generator, 20))
        texts = [text for text, _ in make_rows(generator, 33)]
        write(here + '/new.csv', ['text'], [[text] for text in texts])
        study = {'name': 'sentiment', 'trainer': {'type': 'text_classification', 'train': 'train.csv', 'validation': 'validation.csv', 'text': 'text',
                                               'label': 'class', 'options': {'model_name_or_path': 'base', 'max_seq_length': 12}},
                 'objective': {'metric': 'validation/accuracy', 'goal': 'maximize'}, 'budget': {'unit': 'epochs', 'min': 1, 'max': 1, 'eta': 3},
                 'algorithm': {'type': 'random'}, 'space': {'learning_rate': {'low': 1e-3, 'high': 1e-2, 'log': True}},
                 'stop': {'trials': 2}, 'seed': 1}
        with open(here + '/study.json', 'w') as file:
            json.dump(study, file)
        state = here + '/state'
        run(rung, 'run', here + '/study.json', '--workers', '1', '--dir', state)
        best, out = here + '/best', here + '/predictions.csv'
        run(rung, 'study', 'best', 'sentiment', '--export', best, '--dir', state)
        refused = subprocess.run([rung, 'study', 'best', 'sentiment', '--export', best, '--dir', state], capture_output=True, text=True)
        assert refused.returncode == 5 and 'E0759' in refused.stderr, refused
        printed = run(rung, 'model', 'predict', best, here + '/new.csv')
        run(rung, 'model', 'predict', best, here + '/new.csv', '--to', out)
        with open(out, encoding='utf-8', newline='') as file:
            text = file.read()
        assert text.replace('\r\n', '\n') == printed, 'printed and written predictions differ'
        ours = list(csv.DictReader(text.splitlines()))
        assert [row['text'] for row in ours] == texts, 'every row once, in order'
        document = json.loads(run(rung, 'model', 'predict', best, here + '/new.csv', '-o', 'json'))
        assert document['schema'] == 1 and [row['text'] for row in document['predictions']] == [{'text': text} for text in texts], document
        assert [row['label'] for row in document['predictions']] == [row['label'] for row in ours], document
        assert all(abs(row['probabilities'][label] - float(cells['probability ' + label])) < 1e-7
                   for row, cells in zip(document['predictions'], ours) for label in LABELS), document
        missing = subprocess.run([rung, 'model', 'predict', here + '/nowhere', here + '/new.csv'], capture_output=True, text=True)
        assert missing.returncode == 3 and 'there is no model directory' in missing.stderr, missing
        refused = subprocess.run([rung, 'model', 'predict', best, here + '/new.csv', '--text', 'none'], capture_output=True, text=True)
        assert refused.returncode == 6 and '--text COLUMN' in refused.stderr, refused

        model, report = AutoModelForSequenceClassification.from_pretrained(best, output_loading_info=True)
        assert not report['missing_keys'] and not report['unexpected_keys'], report
        assert model.config.id2label == dict(enumerate(LABELS)), model.config.id2label
        tokenizer = AutoTokenizer.from_pretrained(best)
        worst = 0.0
        for row in ours:
            inputs = tokenizer(row['text'], truncation=True, max_length=12, return_tensors='pt')
            with torch.no_grad():
                theirs = torch.softmax(model.eval()(**inputs).logits.double(), -1)[0].tolist()
            assert row['label'] == LABELS[theirs.index(max(theirs))], row
            worst = max(worst, *(abs(float(row['probability ' + label]) - p) for label, p in zip(LABELS, theirs)))
        assert len({row['probability ' + LABELS[0]] for row in ours}) > 10, 'a model that says one thing tests nothing'
        print(f'33 rows, largest difference of a probability {worst:.2g}')
        assert worst < 1e-5, worst
        own_head(rung, here, study)
        several_labels(rung, here, generator)


if __name__ == '__main__':
    main()
