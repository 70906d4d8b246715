"""Runs in the interpreter that has PyTorch and transformers: loads models on the CPU, by one thread.

    run_transformers.py vectors MODEL     MODEL is a directory, or an id: what it makes of some sentences
    run_transformers.py sentences MODEL   the same by sentence-transformers
    run_transformers.py bin FILE          tensors of a file of torch.save, which is mapped
    run_transformers.py jit FILE          what the voice detector, as TorchScript, says of seeded noise
    run_transformers.py save FROM TO      writes the tensors of a safetensors file by torch.save

Prints a JSON object: name → [dtype, shape, sha256 of the bytes].
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SENTENCES = ["The hub is a file system.", "Zürich läßt grüßen: 東京, ½ price!", "a"]


def _tensor(tensor: torch.Tensor) -> list[Any]:
    held = tensor.detach().contiguous().numpy()
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(held.tobytes()).hexdigest()]


def _must_be_mapped(file: Path) -> None:
    assert str(file.resolve()) in Path("/proc/self/maps").read_text(), f"{file} was read, not mapped"


def vectors(model: str) -> dict[str, Any]:
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - seconds, and only here

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model)
    given = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = network(**given).last_hidden_state
    mask = given["attention_mask"].unsqueeze(-1)
    mean = (states * mask).sum(1) / mask.sum(1)
    weights = {name: _tensor(tensor) for name, tensor in network.state_dict().items()}
    return {**weights, "sentences": _tensor(torch.nn.functional.normalize(mean))}


def sentences(model: str) -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds, and only here

    return {"sentences": _tensor(SentenceTransformer(model, device="cpu").encode(SENTENCES, convert_to_tensor=True))}


def load_bin(file: str) -> dict[str, Any]:
    tensors = torch.load(file, mmap=True, weights_only=True)
    _must_be_mapped(Path(file))
    return {name: _tensor(tensor) for name, tensor in tensors.items()}


def jit(file: str) -> dict[str, Any]:
    detector = torch.jit.load(file)
    noise = torch.Generator().manual_seed(7)
    with torch.inference_mode():
        said = [detector(torch.rand(1, 512, generator=noise) * 2 - 1, 16_000) for _ in range(12)]
    return {"said": _tensor(torch.cat(said))}


def save(source: str, target: str) -> dict[str, Any]:
    from safetensors.torch import load_file  # noqa: PLC0415 - only here

    torch.save(load_file(source), target)
    return {}


ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "vectors": vectors,
    "sentences": sentences,
    "bin": load_bin,
    "jit": jit,
    "save": save,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(ACTIONS[sys.argv[1]](*sys.argv[2:])))
