"""The prefetcher and plans that look into files: what is asked for, of a source in memory."""

import json
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.cache.block_cache import CacheKey
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.prefetch.readers import FOLLOW_S
from hubfs.testing import Clock, MemorySource
from hubfs.waiting import Cancellation
from tests.support.prefetching import Asked, AskedBlob, is_idle, opened, settled
from tests.support.waiting import eventually

INDEX = "model.safetensors.index.json"
SHARDS = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
LAYERS, EXPERTS, TENSOR_BYTES = 6, 16, 2 * BLOCK
READ_BYTES = 128 << 10


class Weights:
    """A file of safetensors: a header, and zeros."""

    def __init__(self, key: str, names: list[str]) -> None:
        described = {
            name: {
                "dtype": "U8",
                "shape": [TENSOR_BYTES],
                "data_offsets": [at * TENSOR_BYTES, (at + 1) * TENSOR_BYTES],
            }
            for at, name in enumerate(names)
        }
        text = json.dumps(described).encode()
        self.head = struct.pack("<Q", len(text)) + text
        self.key = key
        self.size_bytes = len(self.head) + len(names) * TENSOR_BYTES
        self.starts = {name: len(self.head) + at * TENSOR_BYTES for at, name in enumerate(names)}

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        size_bytes = max(0, min(size_bytes, self.size_bytes - offset_bytes))
        return self.head[offset_bytes : offset_bytes + size_bytes].ljust(size_bytes, b"\0")


NAMES = sorted(
    [f"layers.{layer}.experts.{expert:02}.up" for layer in range(LAYERS) for expert in range(EXPERTS)]
    + [f"layers.{layer}.{part}" for layer in range(LAYERS) for part in ("k", "o", "q", "v")]
)


def model_of(asked: Asked, files: Mapping[str, bytes | Blob], name: str = "a/model/1") -> MemorySource:
    def wrap(key: CacheKey, blob: Blob) -> Blob:
        return AskedBlob(key.path, blob, asked)

    return MemorySource(files, handle=parse_handle(name), wrap=wrap)


def four_shards() -> dict[str, bytes | Blob]:
    index = {"weight_map": {f"{at}": path for at, path in enumerate(SHARDS)}}
    others = {"pytorch_model.bin": b"PK\3\4" + bytes(100), "onnx/model.onnx": bytes(100), "config.json": b"{}"}
    return {INDEX: json.dumps(index).encode(), **{path: Weights(path, NAMES) for path in SHARDS}, **others}


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def prefetcher(clock: Clock) -> Iterator[Prefetcher]:
    cancellation = Cancellation()
    yield Prefetcher(cancellation, timer=clock)
    cancellation.cancel()
    assert eventually(is_idle), "a thread goes on after the cancel"


def read(blob: Blob, start_bytes: int, end_bytes: int) -> None:
    for offset_bytes in range(start_bytes, end_bytes, READ_BYTES):
        blob.read_at(offset_bytes, min(READ_BYTES, end_bytes - offset_bytes))


def test_a_loader_has_all_shards_fetched_and_nothing_else(prefetcher: Prefetcher, asked: Asked) -> None:
    files = four_shards()
    source = model_of(asked, files)
    blobs = [opened(prefetcher, source, path)[0] for path in SHARDS]
    for blob in blobs:
        blob.read_at(0, READ_BYTES)
    assert 63 * BLOCK < settled(asked) <= 64 * BLOCK
    assert [path for path, _, _ in asked.ranges[:4]] == SHARDS, "the first block of each, first of all"
    read(blobs[0], READ_BYTES, 5 * BLOCK)
    whole = sum(files[path].size_bytes for path in SHARDS)  # type: ignore[union-attr]
    # What a reader was given is not asked for any more.
    assert whole - 5 * BLOCK <= settled(asked) <= whole
    assert {path for path, _, _ in asked.ranges} == {*SHARDS}


def test_skipped_experts_stop_the_fetch_of_whole_shards(prefetcher: Prefetcher, asked: Asked) -> None:
    files = four_shards()
    source = model_of(asked, files)
    opened(prefetcher, source, INDEX)
    blobs = [opened(prefetcher, source, path)[0] for path in SHARDS]
    for blob in blobs:
        blob.read_at(0, READ_BYTES)
    certain_bytes = settled(asked)
    asked.room_bytes = 0  # there is no room for more until it shows what the loader is
    mine = [name for name in NAMES if "experts" not in name or name.endswith(("00.up", "01.up"))]
    starts = files[SHARDS[0]].starts  # type: ignore[union-attr]
    for name in mine:
        read(blobs[0], starts[name], starts[name] + TENSOR_BYTES)
    asked.room_bytes = 1 << 40
    before_bytes = settled(asked)
    assert before_bytes - certain_bytes <= len(mine) * (TENSOR_BYTES + BLOCK)
    for name in mine:
        read(blobs[1], starts[name], starts[name] + TENSOR_BYTES)
    assert settled(asked) - before_bytes <= len(mine) * (TENSOR_BYTES + BLOCK)
    assert {path for path, *_ in asked.ranges} == {*SHARDS}


def test_a_header_that_is_none_costs_its_reader_nothing(prefetcher: Prefetcher, asked: Asked) -> None:
    hostile = struct.pack("<Q", 1 << 40) + b"{" * (3 * BLOCK)
    source = model_of(asked, {"model.safetensors": hostile, "other.gguf": b"GGUF" + b"\xff" * (3 * BLOCK)})
    for path in ("model.safetensors", "other.gguf"):
        blob, release = opened(prefetcher, source, path)
        read(blob, 0, 3 * BLOCK)
        release()
    assert settled(asked) == 0


def test_a_file_of_the_library_is_understood(prefetcher: Prefetcher, asked: Asked, tmp_path: Path) -> None:
    file = save({"a": np.zeros((3, BLOCK), "uint8"), "b": np.zeros(BLOCK, "float32")}, {"format": "pt"})
    source = model_of(asked, {"model.safetensors": file})
    blob, _ = opened(prefetcher, source, "model.safetensors")
    assert blob.read_at(0, 8) == file[:8]
    assert settled(asked) == len(file)


class Held(MemoryBlob):
    """A file that is read only once `go` is set."""

    def __init__(self, data: bytes, go: threading.Event) -> None:
        super().__init__("held", data)
        self.go = go
        self.asked = threading.Event()

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.asked.set()
        assert self.go.wait(60)
        return super().read_at(offset_bytes, size_bytes)


def test_a_look_that_waits_holds_up_no_reader_and_no_other_model(prefetcher: Prefetcher, asked: Asked) -> None:
    go = threading.Event()
    files = four_shards()
    files[INDEX] = index = Held(files[INDEX], go)  # type: ignore[arg-type]
    source = model_of(asked, files)
    blob, _ = opened(prefetcher, source, SHARDS[0])
    blob.read_at(0, READ_BYTES)
    assert index.asked.wait(60)
    assert len(blob.read_at(5 * BLOCK, READ_BYTES)) == READ_BYTES
    other = Asked()
    opened(prefetcher, model_of(other, {"saved_model.pb": b"graph"}, "another/model/1"), "saved_model.pb")
    assert eventually(lambda: other.total_bytes == 5)
    assert asked.total_bytes == 0
    go.set()
    assert eventually(lambda: asked.total_bytes > 63 * BLOCK)


def test_shards_that_nobody_follows_are_fetched_no_further(prefetcher: Prefetcher, asked: Asked, clock: Clock) -> None:
    source = model_of(asked, four_shards())
    asked.room_bytes = 10 * BLOCK
    blob, release = opened(prefetcher, source, SHARDS[0])
    blob.read_at(0, READ_BYTES)
    assert eventually(lambda: asked.room_bytes < BLOCK)
    release()
    clock.now_s += FOLLOW_S + 1
    assert eventually(is_idle)
    asked.room_bytes = 1 << 40
    assert settled(asked) <= 10 * BLOCK
