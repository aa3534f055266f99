"""A model directory with random weights and MiniLM's tokenizer, for shapes that no package registry has."""
import os
import shutil

SHAPES = {'tinybert4': {'hidden_size': 312, 'num_hidden_layers': 4, 'intermediate_size': 1200},
          'bert3': {'hidden_size': 768, 'num_hidden_layers': 3, 'intermediate_size': 3072}}


def write(shape, tokenizer, directory):
    """`tokenizer`: a model directory whose tokenizer files are copied."""
    import torch
    from transformers import BertConfig, BertModel
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=30522, num_attention_heads=12, **SHAPES[shape])).save_pretrained(directory)
    for name in ('tokenizer.json', 'tokenizer_config.json', 'vocab.txt', 'special_tokens_map.json'):
        if os.path.exists(os.path.join(tokenizer, name)):
            shutil.copy(os.path.join(tokenizer, name), directory)
