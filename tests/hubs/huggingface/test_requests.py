"""How many requests a load costs: all that an engine asks of the hub and its CDN, names, prefetching and all."""

import json
import random
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hubfs.engine import Engine
from hubfs.settings.config import load
from tests.support.huggingface import HuggingFaceStandIn

NAME = "BAAI/bge-m3"


def _shard(seed: int) -> bytes:
    data = random.Random(seed).randbytes(3 << 20)
    header = json.dumps({f"w{seed}": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


SHARDS = {f"model-0000{number}-of-00004.safetensors": _shard(number) for number in (1, 2, 3, 4)}
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors.index.json": json.dumps({"weight_map": {f"w{path[9]}": path for path in SHARDS}}).encode(),
    **SHARDS,
}
NEXT = {**FILES, "config.json": b"{}", "model-00004-of-00004.safetensors": _shard(5)}


@contextmanager
def engine(stand_in: HuggingFaceStandIn, tmp_path: Path, cache: str = "") -> Iterator[Engine]:
    settings = {"hub": ("hf:",), "cache_dir": cache or str(tmp_path / "cache"), "no_disk_cache": bool(cache)}
    running = Engine(load(settings, {"HF_ENDPOINT": stand_in.url, "HOME": str(tmp_path)}))
    try:
        yield running
    finally:
        running.close()


def loaded(running: Engine, root: str, files: Mapping[str, bytes]) -> bool:
    """Opens all of a model's files, as a loader does, and reads each; whether all of it is right."""
    opened = {path: running.hubs[""].open(f"/{root}/{path}") for path in files}
    right = [file.blob.read_at(0, 1 << 30) == files[path] for path, file in opened.items()]
    for file in opened.values():
        file.release()
    return all(right)


def test_a_load_costs_one_info_one_tree_and_one_resolve_a_file(tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(NAME, FILES)
        with engine(stand_in, tmp_path) as running:
            assert running.hubs[""].readlink(f"/{NAME}") == f"bge-m3@{commit}"
            for _ in range(2):
                assert loaded(running, f"{NAME}@{commit}", FILES)
            assert asked(stand_in) == {"info": 1, "tree": 1, "resolve": len(FILES)}
            assert stand_in.cdn.body_bytes == sum(map(len, SHARDS.values()))
        stand_in.reset_counts()
        with engine(stand_in, tmp_path) as running:
            assert loaded(running, f"{NAME}@{commit}", FILES)
        assert not stand_in.calls, "a warm load asks nobody"
        after = stand_in.put(NAME, NEXT)
        with engine(stand_in, tmp_path) as running:
            assert loaded(running, f"{NAME}@{after}", NEXT)
            assert stand_in.cdn.body_bytes == len(SHARDS["model-00001-of-00004.safetensors"]), "what differs"
            git = len(FILES) - len(SHARDS)
            assert asked(stand_in) == {"tree": 1, "resolve": git + 1}


def test_what_one_daemon_of_a_fleet_has_of_a_commit_another_reads_in_the_next_commit(tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        before, after = stand_in.put(NAME, FILES), stand_in.put(NAME, NEXT)
        for commit, files in ((before, FILES), (after, NEXT)):
            stand_in.reset_counts()
            with engine(stand_in, tmp_path, f"file://{tmp_path}/shared") as running:  # memory alone in front of it
                assert loaded(running, f"{NAME}@{commit}", files)
        assert stand_in.cdn.body_bytes == len(SHARDS["model-00001-of-00004.safetensors"])


def asked(stand_in: HuggingFaceStandIn) -> Counter[str]:
    """The requests to the hub, without those to the CDN."""
    return Counter({what: number for what, number in stand_in.calls.items() if what != "cdn"})
