"""Loads real models as their libraries do, in a process of its own: a failed read of a mapped file ends its process.

    load_real.py safetensors|tokenizer|onnx|gguf FILE

Prints a JSON object: what the library found in the file, by name; tensors as [dtype, shape, sha256].
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnxruntime
import safetensors
import tokenizers

SENTENCES = ("The hub is a file system.", "Zürich läßt grüßen: 東京, ½ price!", "")

RUNS = 12
"""One after the other: a model that listens has heard enough then to say something."""


def _tensor(array: Any) -> list[Any]:
    return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array)).hexdigest()]


def _must_be_mapped(file: str) -> None:
    assert str(Path(file).resolve()) in Path("/proc/self/maps").read_text(), f"{file} was read, not mapped"


def load_safetensors(file: str) -> dict[str, Any]:
    with safetensors.safe_open(file, framework="numpy") as weights:
        _must_be_mapped(file)
        return {name: _tensor(weights.get_tensor(name)) for name in weights.keys()}  # noqa: SIM118 - no mapping


def load_tokenizer(file: str) -> dict[str, Any]:
    tokenizer = tokenizers.Tokenizer.from_file(file)
    return {text: tokenizer.encode(text).ids for text in SENTENCES}


def load_onnx(file: str) -> dict[str, Any]:
    """What the voice detector says of seeded noise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    noise, state = np.random.default_rng(7), np.zeros((2, 1, 128), np.float32)
    outputs = []
    for _ in range(RUNS):
        given = {
            "input": noise.uniform(-1, 1, (1, 512)).astype(np.float32),
            "state": state,
            "sr": np.array(16_000, np.int64),
        }
        wanted = {one.name for one in session.get_inputs()}
        output, state = session.run(None, {name: value for name, value in given.items() if name in wanted})
        outputs.append(output)
    return {"output": _tensor(np.stack(outputs)), "state": _tensor(state)}


def load_gguf(file: str) -> dict[str, Any]:
    reader = gguf.GGUFReader(file)
    _must_be_mapped(file)
    fields = {name: str(field.contents()) for name, field in reader.fields.items()}
    return {**fields, **{one.name: _tensor(one.data) for one in reader.tensors}}


LOADERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "safetensors": load_safetensors,
    "tokenizer": load_tokenizer,
    "onnx": load_onnx,
    "gguf": load_gguf,
}

if __name__ == "__main__":
    print(json.dumps(LOADERS[sys.argv[1]](sys.argv[2])))
