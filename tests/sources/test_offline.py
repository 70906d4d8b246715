import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.memory import MemoryTier
from hubfs.catalogue.handle import parse_handle
from hubfs.errors import EntryNotFound, IsADirectory, ModelNotFound, Unavailable
from hubfs.hubs.offline import OfflineResolver
from hubfs.hubs.resolver import Form
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.sources.naming import model_name
from hubfs.sources.offline import OfflineSource, offline_loaders
from hubfs.sources.source import Entry, EntryKind
from hubfs.testing import MemorySource, ScriptedBlob
from tests.support.http_clients import http_client

HANDLE = parse_handle("google/spice/2")
MODEL = model_name("https://hub", HANDLE, "x")
DATA = bytes(range(256)) * (BLOCK_SIZE_BYTES // 256) * 2 + b"the end"
FILE = Entry("variables/data", EntryKind.FILE, len(DATA))
EMPTY = Entry("empty", EntryKind.FILE, 0)


@pytest.fixture
def listed() -> MemorySource:
    """A source whose entries are known, and whose bytes nobody may ask for."""
    never = ScriptedBlob(DATA)
    never.error = AssertionError("the origin was asked")
    return MemorySource(
        {"empty": b"", FILE.path: never}, hub="https://hub", identity="x", handle=HANDLE, form=Form.COMPRESSED
    )


@pytest.fixture
def cache() -> MemoryTier:
    return MemoryTier(64 << 20)


@pytest.fixture
def source(listed: MemorySource, cache: MemoryTier) -> OfflineSource:
    return OfflineSource(listed, cache)


def put(cache: MemoryTier, *indexes: int) -> None:
    for index in indexes:
        block = DATA[index * BLOCK_SIZE_BYTES : (index + 1) * BLOCK_SIZE_BYTES]
        cache.put(CacheKey(MODEL, FILE.path), index, block)


def test_what_is_cached_reads_right_wherever_it_lies(source: OfflineSource, cache: MemoryTier) -> None:
    put(cache, 0, 1, 2)
    blob = source.open(FILE)
    for offset, size in ((0, len(DATA)), (BLOCK_SIZE_BYTES - 3, 9), (len(DATA) - 3, 99), (len(DATA), 1), (5, 0)):
        assert blob.read_at(offset, size) == DATA[offset : offset + size]
    assert source.open(EMPTY).read_at(0, 10) == b""


def test_what_is_missing_is_told_by_file_bytes_and_blocks(source: OfflineSource, cache: MemoryTier) -> None:
    put(cache, 0)
    blob = source.open(FILE)
    assert blob.read_at(10, 10) == DATA[10:20]
    with pytest.raises(Unavailable, match=rf"{FILE.path}: {BLOCK_SIZE_BYTES + 7} of {len(DATA)} bytes \(2 of 3 blocks"):
        blob.read_at(BLOCK_SIZE_BYTES - 5, 10)
    put(cache, 1, 2)
    assert blob.read_at(0, len(DATA)) == DATA


def test_the_entries_are_the_models(source: OfflineSource, listed: MemorySource) -> None:
    assert source.entries() == listed.entries()
    with pytest.raises(EntryNotFound):
        source.find("absent")
    with pytest.raises(EntryNotFound):
        source.open(Entry("absent", EntryKind.FILE, 1))
    with pytest.raises(IsADirectory):
        source.open(Entry("variables", EntryKind.DIRECTORY))
    described = (source.handle, source.url, source.form, source.identity, source.model, source.complete, source.failure)
    assert described == (listed.handle, listed.url, listed.form, "x", MODEL, True, None)


def test_loaders_make_models_that_are_read_out_of_the_cache(listed: MemorySource, cache: MemoryTier) -> None:
    put(cache, 0, 1, 2)
    loaders = offline_loaders({Form.COMPRESSED: lambda _handle, _index: listed}, cache)
    found = loaders[Form.COMPRESSED](listed.handle, {})
    assert found.open(FILE).read_at(0, len(DATA)) == DATA


def test_a_hub_that_is_not_asked_says_so_and_knows_nothing() -> None:
    with http_client(verify=False) as client:
        hub = OfflineResolver(TfhubResolver(client, "https://hub"))
    assert hub.cached_as == "unverified+https://hub"
    for ask in (lambda: hub.resolve(HANDLE), lambda: hub.latest("google/spice")):
        with pytest.raises(Unavailable, match="--offline") as caught:
            ask()
        assert "https://hub/google/spice" in str(caught.value)
        assert not isinstance(caught.value, ModelNotFound)
    assert (hub.hub, hub.lists, hub.versions("google/spice"), hub.children("")) == ("https://hub", False, (), ())
