from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.errors import ModelNotFound, NotCached, Unavailable
from hubfs.hubs.hub import Means
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.model_id import model_name
from hubfs.models.answers import ModelsSettings
from hubfs.models.models import Models
from hubfs.models.reachability import Reachability
from hubfs.sources.files import Manifest, RemoteFile
from hubfs.sources.source import Entry, EntryKind, Form, Source
from hubfs.testing import ScriptedBlob
from hubfs.waiting import Cancellation
from tests.support.http_clients import http_client
from tests.support.sources import kit_of

HANDLE = parse_handle("google/spice/2")
MODEL = model_name("hub", HANDLE, "x")
DATA = bytes(range(256)) * (BLOCK_SIZE_BYTES // 256) * 2 + b"the end"
FILE = Entry("variables/data", EntryKind.FILE, len(DATA))
EMPTY = Entry("empty", EntryKind.FILE, 0)


@pytest.fixture
def cache() -> MemoryTier:
    return MemoryTier(64 << 20)


@pytest.fixture
def source(cache: MemoryTier) -> Iterator[Source]:
    """A model whose files are known, and whose bytes nobody may ask for."""
    manifest = Manifest(
        "https://hub/google/spice/2",
        Form.FILES,
        {"empty": RemoteFile(0, "none", lambda: ScriptedBlob(b"")), FILE.path: RemoteFile(len(DATA), "pin", unread)},
    )
    with ThreadPoolExecutor(1) as pool:
        kit = kit_of(pool, Cancellation(), cache=cache, memory=cache, offline=True)
        yield kit.kept_files("hub", HANDLE, manifest)


def put(cache: MemoryTier, source: Source, *indexes: int) -> None:
    for index in indexes:
        block = DATA[index * BLOCK_SIZE_BYTES : (index + 1) * BLOCK_SIZE_BYTES]
        cache.put(CacheKey(source.model, FILE.path), index, block)


def test_what_is_cached_reads_right_wherever_it_lies(source: Source, cache: MemoryTier) -> None:
    put(cache, source, 0, 1, 2)
    blob = source.open(FILE)
    for offset, size in ((0, len(DATA)), (BLOCK_SIZE_BYTES - 3, 9), (len(DATA) - 3, 99), (len(DATA), 1), (5, 0)):
        assert blob.read_at(offset, size) == DATA[offset : offset + size]
    assert source.open(EMPTY).read_at(0, 10) == b""


def test_what_is_missing_is_told_by_file_bytes_and_blocks(source: Source, cache: MemoryTier) -> None:
    put(cache, source, 0)
    blob = source.open(FILE)
    assert blob.read_at(10, 10) == DATA[10:20]
    with pytest.raises(Unavailable, match=rf"{FILE.path}: {BLOCK_SIZE_BYTES + 7} of {len(DATA)} bytes \(2 of 3 blocks"):
        blob.read_at(BLOCK_SIZE_BYTES - 5, 10)
    put(cache, source, 1, 2)
    assert blob.read_at(0, len(DATA)) == DATA


def test_a_model_that_is_dropped_is_not_cached_and_nobody_is_asked(source: Source, cache: MemoryTier) -> None:
    put(cache, source, 0, 1, 2)
    assert source.open(FILE).read_at(0, len(DATA)) == DATA
    cache.drop(source.model)
    with pytest.raises(NotCached, match="--offline"):
        source.open(FILE).read_at(0, 1)


def test_nothing_is_begun_ahead_of_readers(source: Source, cache: MemoryTier) -> None:
    blob = source.open(FILE)
    assert isinstance(blob, Prefetchable)
    blob.prefetch(0, len(DATA))
    put(cache, source, 0)
    assert blob.read_at(0, 10) == DATA[:10]


def unread() -> Blob:
    never = ScriptedBlob(DATA)
    never.error = AssertionError("the origin was asked")
    return never


def test_a_hub_that_is_not_asked_says_so_and_knows_nothing() -> None:
    unused: Any = None
    with http_client(verify=False) as client:
        hub = TfHub("https://hub", Means(client, unused))
        assert hub.label == "unverified%2Bhttps:%2F%2Fhub"
        models = Models(
            hub,
            unused,
            load_index=lambda _: None,
            known_on_disk=lambda _: iter(()),
            cancellation=client.cancellation,
            settings=ModelsSettings(),
            reachability=Reachability(hub.url, client.cancellation, offline=True),
        )
        for ask in (lambda: models.get(HANDLE), lambda: models.answers.latest("google/spice")):
            with pytest.raises(Unavailable, match="--offline") as caught:
                ask()
            assert "https://hub/google/spice" in str(caught.value)
            assert not isinstance(caught.value, ModelNotFound)
        assert (models.answers.versions("google/spice"), models.answers.children("")) == ((), None)
        assert client.stats().requests == 0
