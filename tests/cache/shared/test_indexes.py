"""Indexes on a shared store."""

from collections.abc import Iterator

import pytest

from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import seal
from hubfs.cache.shared import indexes as shared_indexes
from hubfs.cache.shared.indexes import CombinedIndexes, SharedIndexes
from hubfs.cache.shared.store import RestingStore
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.support.shared_cache import Watched, memory_store

HUB = "127.0.0.1:8080%2Fhub"
NAME = f"{HUB}/google/my.model/sub/2"
MODEL = f"{NAME}@0a1b"
INDEX = {"form": "compressed", "entries": [{"path": "saved_model.pb", "size": 3}], "name": "\u00e9"}


@pytest.fixture
def store() -> Iterator[Watched]:
    cancellation = Cancellation()
    yield Watched(memory_store(cancellation))
    cancellation.cancel()


def indexes_on(store: Watched, clock: Clock | None = None) -> SharedIndexes:
    return SharedIndexes(RestingStore(store, Cancellation()), clock=clock or Clock())


def test_another_daemon_loads_what_one_saved(store: Watched) -> None:
    indexes_on(store).save(MODEL, INDEX)
    other = indexes_on(store)
    assert other.of(MODEL) == INDEX
    assert other.newest(NAME) == (MODEL, INDEX)


def test_an_index_of_another_model_is_not_this_one_s(store: Watched) -> None:
    indexes = indexes_on(store)
    indexes.save(f"{NAME}2@0a1b", INDEX)
    indexes.save(f"{NAME}@x/deeper/3@0a1b", INDEX)
    assert indexes.newest(NAME) is None
    assert indexes.of(MODEL) is None


def test_of_several_identities_the_newest_counts(store: Watched) -> None:
    clock = Clock()
    indexes = indexes_on(store, clock)
    for identity, number in (("bbbb", 1), ("aaaa", 2), ("cccc", 0)):
        clock.now_s = 1000.0 + number
        indexes.save(f"{NAME}@{identity}", {"number": number})
    assert indexes.newest(NAME) == (f"{NAME}@aaaa", {"number": 2})


def _whole(model: str = MODEL, **changes: object) -> bytes:
    return seal("shared", model, {"saved_s": 1.0, "index": INDEX} | changes)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        _whole()[:-5],
        _whole().replace(b"saved_model", b"saved_modem"),
        _whole(model=f"{NAME}@ffff"),
        _whole(index="[]"),
        _whole(index=None),
        _whole(saved_s="yesterday"),
        _whole(saved_s=10**400),
        seal("index", MODEL, INDEX),
    ],
)
def test_an_index_that_is_not_as_it_was_written_is_left_aside(store: Watched, damaged: bytes) -> None:
    store.put(f"indexes/{MODEL}.json", damaged)
    assert indexes_on(store).newest(NAME) is None
    assert indexes_on(store).of(MODEL) is None


def test_a_store_that_is_down_knows_nothing_and_fails_nobody(store: Watched) -> None:
    store.down = True
    indexes = indexes_on(store)
    indexes.save(MODEL, INDEX)
    assert indexes.newest(NAME) is None
    assert indexes.of(MODEL) is None


def test_the_local_index_comes_first_and_asks_no_store(store: Watched, layout: CacheLayout) -> None:
    combined = CombinedIndexes(IndexStore(layout), indexes_on(store))
    combined.save(MODEL, INDEX)
    store.calls.clear()
    assert combined.load(NAME) == INDEX
    assert store.calls == []


def test_what_the_shared_store_knew_is_kept_here(store: Watched, layout: CacheLayout) -> None:
    indexes_on(store).save(MODEL, INDEX)
    combined = CombinedIndexes(IndexStore(layout), indexes_on(store))
    assert combined.load(NAME) == INDEX
    assert IndexStore(layout).load(NAME) == INDEX
    store.down = True
    assert combined.load(NAME) == INDEX


def test_without_a_disk_only_the_shared_store_keeps_indexes(store: Watched) -> None:
    combined = CombinedIndexes(IndexStore(None), indexes_on(store))
    assert combined.load("nobody/knows/1") is None
    combined.save(MODEL, INDEX)
    assert combined.load(NAME) == INDEX
    assert list(IndexStore(None).known(HUB)) == []


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory) -> CacheLayout:
    layout = CacheLayout(tmp_path_factory.mktemp("cache"))
    layout.prepare()
    return layout


def test_an_archive_index_reaches_the_other_daemons(store: Watched, layout: CacheLayout) -> None:
    indexes_on(store).save_file(MODEL, b"spans")
    combined = CombinedIndexes(IndexStore(layout), indexes_on(store))
    assert combined.load_file(MODEL) == b"spans"
    assert IndexStore(layout).load_file(MODEL) == b"spans"
    assert indexes_on(store).newest(NAME) is None  # it says nothing of the entries


def test_an_index_that_is_too_large_is_not_fetched(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    indexes = indexes_on(store)
    indexes.save(MODEL, INDEX)
    indexes.save_file(MODEL, b"spans")
    monkeypatch.setattr(shared_indexes, "MOST_BYTES", 4)
    assert (indexes.of(MODEL), indexes.load_file(MODEL)) == (None, None)
    monkeypatch.setattr(store, "get", lambda name: pytest.fail(f"{name} was fetched"))
    assert (indexes.of(MODEL), indexes.load_file(MODEL)) == (None, None)


def test_an_archive_index_is_none_where_the_store_is_down(store: Watched) -> None:
    indexes = CombinedIndexes(IndexStore(None), indexes_on(store))
    indexes.save_file(MODEL, b"spans")
    store.down = True
    assert indexes.load_file(MODEL) is None
    indexes.save_file(MODEL, b"more")
