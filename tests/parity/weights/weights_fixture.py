"""State dicts that the real torch.save and safetensors wrote: weights_fixture.py OUT_DIR. Makes OUT_DIR/weights/: each *.bin holds the tensors of
expected.safetensors, whose bytes are the oracle's."""
import os
import sys
from collections import OrderedDict

import torch
from safetensors.torch import save_file

TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


def main():
    out = os.path.join(sys.argv[1], "weights")
    os.makedirs(out, exist_ok=True)
    torch.manual_seed(1)
    tensors = OrderedDict()
    for number, dtype in enumerate(TYPES):
        tensors[f"layer.{number}.weight"] = (torch.randn(7, 5) * 30).to(dtype)
    whole = torch.randn(10, 4)
    tensors["tied"] = whole
    tensors["tied.again"] = whole  # one storage, as tied embeddings have
    tensors["row"] = whole[3]
    tensors["rows"] = whole[2:7]
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 3)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, os.path.join(out, "expected.safetensors"))
    torch.save(tensors, os.path.join(out, "zip.bin"))
    torch.save(dict(tensors), os.path.join(out, "dict.bin"))
    torch.save(tensors, os.path.join(out, "legacy.bin"), _use_new_zipfile_serialization=False)
    torch.save(tensors, os.path.join(out, "protocol4.bin"), pickle_protocol=4)
    parameters = OrderedDict((name, torch.nn.Parameter(tensor, requires_grad=False)) for name, tensor in tensors.items())
    torch.save(parameters, os.path.join(out, "parameters.bin"))
    module = torch.nn.Linear(3, 3)
    torch.save(module, os.path.join(out, "refused_module.bin"))  # a class of its own: code, not weights
    torch.save({"a": whole.t()}, os.path.join(out, "refused_transposed.bin"))


if __name__ == "__main__":
    main()
