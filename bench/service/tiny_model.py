"""A BERT of one layer, small enough to write here: its training costs next to nothing, what surrounds it is measured."""
import json
import os
import random
import struct

WORDS, HIDDEN, INNER, POSITIONS = 64, 16, 32, 128


def shapes():
    layer = "encoder.layer.0."
    yield "embeddings.word_embeddings.weight", (WORDS + 5, HIDDEN)
    yield "embeddings.position_embeddings.weight", (POSITIONS, HIDDEN)
    yield "embeddings.token_type_embeddings.weight", (2, HIDDEN)
    linears = [(layer + "attention.self." + part, HIDDEN, HIDDEN) for part in ("query", "key", "value")]
    linears += [(layer + "attention.output.dense", HIDDEN, HIDDEN), (layer + "intermediate.dense", INNER, HIDDEN),
                (layer + "output.dense", HIDDEN, INNER), ("pooler.dense", HIDDEN, HIDDEN)]
    for name, rows, columns in linears:
        yield name + ".weight", (rows, columns)
        yield name + ".bias", (rows,)
    for name in ("embeddings", layer + "attention.output", layer + "output"):
        yield name + ".LayerNorm.weight", (HIDDEN,)
        yield name + ".LayerNorm.bias", (HIDDEN,)


def write(directory):
    os.mkdir(directory)
    with open(os.path.join(directory, "vocab.txt"), "w") as file:
        file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + ["w%d" % i for i in range(WORDS)]) + "\n")
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump({"model_type": "bert", "vocab_size": WORDS + 5, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
                   "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "pad_token_id": 0,
                   "layer_norm_eps": 1e-12, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
                   "initializer_range": 0.02}, file)
    dice, header, values = random.Random(1), {}, b""
    for name, shape in shapes():
        size = shape[0] * (shape[1] if len(shape) > 1 else 1)
        norm = name.endswith("LayerNorm.weight")
        tensor = struct.pack("<%df" % size, *(1 if norm else dice.gauss(0, .02) for _ in range(size)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(values), len(values) + len(tensor)]}
        values += tensor
    text = json.dumps(header).encode()
    with open(os.path.join(directory, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + values)
