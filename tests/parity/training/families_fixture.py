#!/usr/bin/env python3
"""Tiny random models of every encoder family, and what Hugging Face computes with them, for families_parity_test.cc.

  families_fixture.py OUT_DIR

Writes OUT_DIR/families/NAME/: a model directory with its classification head (save_pretrained), and expected.safetensors: logits, the last
layer's hidden states of all tokens, and the gradient of the mean loss at every weight, for the ragged batch of batch.json. Dropout 0, fp32, one
thread.
"""
import json
import os
import random
import sys

os.environ.setdefault('HF_HUB_OFFLINE', '1')
import torch
from safetensors.torch import save_file
from transformers import (AlbertConfig, AutoModelForSequenceClassification, BertConfig, DebertaV2Config, DistilBertConfig, ElectraConfig,
                          RobertaConfig, XLMRobertaConfig)

LABELS = 3
WORDS = 60
SIZES = dict(vocab_size=WORDS, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40, max_position_embeddings=64,
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0, num_labels=LABELS)
DEBERTA = dict(SIZES, relative_attention=True, position_biased_input=False, pos_att_type=['c2p', 'p2c'], norm_rel_ebd='layer_norm',
               share_att_key=True, position_buckets=8, max_relative_positions=-1, type_vocab_size=0, layer_norm_eps=1e-7, cls_dropout=0.0)
FAMILIES = {
    'bert': BertConfig(**SIZES),
    'bert_tanh_gelu': BertConfig(**SIZES, hidden_act='gelu_new', layer_norm_eps=1e-5, type_vocab_size=1),
    'roberta': RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
    'xlm_roberta': XLMRobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5),
    'electra': ElectraConfig(**SIZES, embedding_size=16),
    'electra_wide': ElectraConfig(**SIZES, embedding_size=24),
    'distilbert': DistilBertConfig(vocab_size=WORDS, dim=24, n_layers=3, n_heads=4, hidden_dim=40, max_position_embeddings=64, dropout=0.0,
                                   attention_dropout=0.0, seq_classif_dropout=0.0, num_labels=LABELS),
    'albert': AlbertConfig(**dict(SIZES, classifier_dropout_prob=0.0), embedding_size=16),
    'albert_groups': AlbertConfig(**dict(SIZES, num_hidden_layers=4, classifier_dropout_prob=0.0), embedding_size=16, num_hidden_groups=2,
                                  inner_group_num=2),
    'deberta_v3': DebertaV2Config(**DEBERTA),
    'deberta_v2': DebertaV2Config(**dict(DEBERTA, position_biased_input=True, share_att_key=False, position_buckets=-1, norm_rel_ebd='none',
                                         type_vocab_size=2, max_relative_positions=10, pooler_hidden_act='tanh')),
    'deberta_plain': DebertaV2Config(**dict(DEBERTA, relative_attention=False, position_biased_input=True, pos_att_type=None)),
}


def padded(rows, fill):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def main():
    torch.set_num_threads(1)
    generator = random.Random(5)
    lengths = [3, 9, 3, 26, 9, 40, 2]
    ids = [[generator.randrange(5, WORDS) for _ in range(length)] for length in lengths]
    types = [[int(i > length // 2) for i in range(length)] for length in lengths]
    labels = [generator.randrange(LABELS) for _ in lengths]
    out = os.path.join(sys.argv[1], 'families')
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, 'batch.json'), 'w') as file:
        json.dump({'ids': ids, 'token_types': types, 'labels': labels, 'classes': LABELS, 'families': list(FAMILIES)}, file)
    mask = padded([[1] * length for length in lengths], 0)
    for name, config in FAMILIES.items():
        torch.manual_seed(11)
        config._attn_implementation = 'eager'
        model = AutoModelForSequenceClassification.from_config(config).float()
        for key, value in model.named_parameters():
            norm = value.dim() == 1 and key.endswith('weight')
            torch.nn.init.normal_(value, 1.0 if norm else 0.0, 0.2)
        model.train()
        inputs = {'input_ids': padded(ids, config.pad_token_id), 'attention_mask': mask}
        if getattr(config, 'type_vocab_size', 0) > 1:
            inputs['token_type_ids'] = padded(types, 0)
        result = model(**inputs, output_hidden_states=True)
        torch.nn.functional.cross_entropy(result.logits, torch.tensor(labels)).backward()
        directory = os.path.join(out, name)
        model.save_pretrained(directory)
        expected = {'logits': result.logits.detach(),
                    'hidden': torch.cat([result.hidden_states[-1][i, :length].detach() for i, length in enumerate(lengths)])}
        for key, value in model.named_parameters():
            expected['gradient:' + key] = torch.zeros_like(value) if value.grad is None else value.grad
        save_file({key: value.contiguous() for key, value in expected.items()}, os.path.join(directory, 'expected.safetensors'))


if __name__ == '__main__':
    main()
