"""Loads the safetensors of a model, and says how long it took and what the tensors hold.

Says `{}` once everything is imported, waits for `{"path": …, "threads": …}`, and then loads. `path` is a directory, or
a URL `hf://NAMESPACE/NAME` for HfFileSystem. Without `threads` each tensor is taken by safetensors out of a mapping;
with, so many threads copy tensors out of mappings of all shards at once. The digest is not timed.
"""

import json
import re
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from huggingface_hub import HfFileSystem
from safetensors.numpy import load

Tensors = dict[str, Any]

INDEX = "model.safetensors.index.json"
_TYPES = {"F32": np.float32, "F16": np.float16}


def natural(name: str) -> list[Any]:
    """`layers.2` before `layers.10`: the order in which transformers takes tensors."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def shards_of(index: str) -> dict[str, list[str]]:
    """Shard → names of its tensors."""
    shards: dict[str, list[str]] = {}
    for name, shard in json.loads(index)["weight_map"].items():
        shards.setdefault(shard, []).append(name)
    return {shard: sorted(names, key=natural) for shard, names in sorted(shards.items())}


def by_safetensors(model: Path) -> Tensors:
    tensors = {}
    for shard, names in shards_of((model / INDEX).read_text()).items():
        with safetensors.safe_open(model / shard, framework="numpy") as file:
            tensors |= {name: file.get_tensor(name) for name in names}
    return tensors


def by_threads(model: Path, threads: int) -> Tensors:
    """Each thread copies a share of all tensors, in their order."""
    places = [place for shard in shards_of((model / INDEX).read_text()) for place in mapped(model / shard)]
    parts = [places[len(places) * at // threads : len(places) * (at + 1) // threads] for at in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        copied = pool.map(lambda part: {name: np.array(tensor) for name, tensor in part}, parts)
    return {name: tensor for part in copied for name, tensor in part.items()}


def mapped(shard: Path) -> list[tuple[str, Any]]:
    """The tensors of a shard in the order of the file, as views of its mapping."""
    bytes_of = np.memmap(shard, np.uint8, "r")
    header_bytes = int(bytes_of[:8].view("<u8")[0])
    header = json.loads(bytes_of[8 : 8 + header_bytes].tobytes())
    header.pop("__metadata__", None)
    found = sorted(header.items(), key=lambda item: item[1]["data_offsets"][0])
    start = 8 + header_bytes
    return [
        (name, bytes_of[start + first : start + end].view(_TYPES[said["dtype"]]).reshape(said["shape"]))
        for name, said in found
        for first, end in [said["data_offsets"]]
    ]


def by_filesystem(path: str) -> Tensors:
    system, tensors = HfFileSystem(), {}
    for shard in shards_of(system.cat_file(f"{path}/{INDEX}").decode()):
        with system.open(f"{path}/{shard}", "rb") as file:
            tensors |= load(file.read())
    return tensors


def digest(tensors: Tensors) -> str:
    sums = [(name, zlib.crc32(np.ascontiguousarray(tensors[name]).view(np.uint8))) for name in sorted(tensors)]
    return f"{zlib.crc32(repr(sums).encode()):08x}"


def main() -> None:
    print("{}", flush=True)
    order = json.loads(sys.stdin.readline())
    path, threads = order["path"], order.get("threads") or 0
    started_s = time.perf_counter()
    if path.startswith("hf://"):
        tensors = by_filesystem(path.removeprefix("hf://"))
    elif threads:
        tensors = by_threads(Path(path), threads)
    else:
        tensors = by_safetensors(Path(path))
    took_s = time.perf_counter() - started_s
    print(json.dumps({"took_s": took_s, "digest": digest(tensors)}), flush=True)


if __name__ == "__main__":
    main()
