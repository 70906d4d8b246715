"""A process that may not have one more thread (a limit of its cgroup, say) still reads and keeps."""

import threading
from pathlib import Path

import pytest

from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.page_cache import DataPages
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedTier
from hubfs.cache.shared.turns import SharedTurns
from hubfs.waiting import Cancellation
from tests.support.disk_cache import KEY, PLENTY_BYTES, block_of
from tests.support.shared_cache import memory_store
from tests.support.waiting import eventually


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """There are none while it is not set."""
    start, allowed = threading.Thread.start, threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if not allowed.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return allowed


def test_the_disk_tier_reads_and_keeps_and_gives_pages_back_once_it_can(
    tmp_path: Path, threads: threading.Event
) -> None:
    cancellation, layout = Cancellation(), CacheLayout(tmp_path)
    cache = DiskTier(DiskStore(layout), DiskSettings(PLENTY_BYTES, 0), DataPages(layout, cancellation))
    cache.start()
    for index in range(3):
        assert cache.put(KEY, index, block_of(index))
        assert cache.get(KEY, index) == block_of(index)
    threads.set()
    assert cache.get(KEY, 0)
    assert "page cache" in [thread.name for thread in threading.enumerate()]
    cancellation.cancel()


def test_the_shared_tier_hands_out_what_waits_and_writes_it_once_it_can(threads: threading.Event) -> None:
    cancellation = Cancellation()
    threads.set()
    store = RestingStore(memory_store(cancellation), cancellation)
    store.list("")  # fsspec's own thread runs
    writer = SharedTier(store, cancellation)
    turns = SharedTurns(store, writer, SharedIndexes(store), cancellation)
    threads.clear()
    with turns.pass_turn(KEY.model, lambda _: False) as turn:
        assert turn.mine
        writer.put(KEY, 0, block_of(0))
        assert writer.get(KEY, 0) == block_of(0)
    assert not writer.flush(10)
    threads.set()
    assert writer.flush(10)
    assert eventually(lambda: not store.list("leases/"))
    assert SharedTier(store, cancellation).get(KEY, 0) == block_of(0)
    cancellation.cancel()
