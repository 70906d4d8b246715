"""The caches against a reference: a dictionary of what was put. Whatever is got is that, or nothing."""

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, OverShared, Release, TieredCache
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.memory import MemoryTier
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedSettings, SharedTier
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import block_of
from tests.properties.kit import examples
from tests.support.shared_cache import memory_store

pytestmark = pytest.mark.slow

LIMIT_BYTES = 2 << 20
SLACK_BYTES = 1 << 19
"""Block maps and directories count, too; and what is coming while something else is being counted."""

NAMES = ["hub/google/spice/1@aa", "hub/google/spice/1@bb", "hub/google/spice/2@aa", "hub/a/b/c/1@aa"]
MODELS = st.sampled_from(NAMES)
KEYS = st.builds(CacheKey, MODELS, st.sampled_from(["saved_model.pb", "variables/data", "variables/in/deeper"]))
INDEXES = st.sampled_from([0, 1, 2, 7, 5000])
SIZES = (1, 4097, 70_000, 300_000, BLOCK_SIZE_BYTES)

Place = tuple[CacheKey, int]


@cache
def block_at(key: CacheKey, index: int) -> bytes:
    """The one block that can be there: the identity, which is in the key, says which bytes a model is made of."""
    seed = sum(f"{key.model}/{key.path}".encode()) * 31 + index
    return block_of(seed, SIZES[seed % len(SIZES)])


def disk(root: Path) -> DiskTier:
    layout = CacheLayout(root)
    layout.prepare()
    return DiskTier(DiskStore(layout), DiskSettings(LIMIT_BYTES, reserve_bytes=0))


class CacheMachine(RuleBasedStateMachine):
    """`open_cache` opens the cache anew, as a daemon that starts does; what only memory kept is gone then."""

    lasting: ClassVar[bool]
    """Whether what `put` says to keep is there the next time."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="hubfs-property-"))
        self.cancellation = Cancellation()
        self.store = memory_store(self.cancellation)
        self.cache = self.open_cache()
        self.put_since_drop: set[Place] = set()
        self.kept: set[Place] = set()  # while its model is held
        self.holds: list[tuple[str, Release]] = []

    def open_cache(self) -> BlockCache:
        raise NotImplementedError

    def teardown(self) -> None:
        for _, release in self.holds:
            release()
        self.cancellation.cancel()
        shutil.rmtree(self.root)

    @property
    def held(self) -> set[str]:
        return {model for model, _ in self.holds}

    @rule(key=KEYS, index=INDEXES)
    def put(self, key: CacheKey, index: int) -> None:
        block, before = block_at(key, index), self.cache.stats()
        kept = self.cache.put(key, index, block)
        self.put_since_drop.add((key, index))
        assert self.lasting or not kept
        if self.lasting and "disk" in before:
            assert kept or before["disk"].used_bytes + len(block) + SLACK_BYTES > LIMIT_BYTES, "there was room"
        if kept:
            assert self.cache.get(key, index) == block
            if key.model in self.held:
                self.kept.add((key, index))

    @rule(key=KEYS, index=INDEXES)
    def get(self, key: CacheKey, index: int) -> None:
        block = self.cache.get(key, index)
        assert block in (None, block_at(key, index))
        assert block is None or (key, index) in self.put_since_drop, "a block that nobody put, or that was dropped"
        assert block is not None or (key, index) not in self.kept, "a block of a held model is gone"

    @rule(key=KEYS, index=INDEXES)
    def has(self, key: CacheKey, index: int) -> None:
        if self.cache.has(key, index):
            assert self.cache.get(key, index) == block_at(key, index)

    @rule(model=MODELS)
    def hold(self, model: str) -> None:
        self.holds.append((model, self.cache.hold(model)))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), again=st.booleans())
    def release(self, data: st.DataObject, *, again: bool) -> None:
        model, release = self.holds.pop(data.draw(st.integers(0, len(self.holds) - 1)))
        release()
        if again:
            release()
        if model not in self.held:
            self._forget_kept(model)

    @rule(model=MODELS)
    def drop(self, model: str) -> None:
        self.cache.drop(model)
        self.put_since_drop = {place for place in self.put_since_drop if place[0].model != model}
        self._forget_kept(model)
        assert self.cache.cached_bytes(model) == 0

    @rule()
    def reopen(self) -> None:
        for _, release in self.holds:
            release()
        self.holds.clear()
        self.kept.clear()
        before = {model: self.cache.cached_bytes(model) for model in NAMES}
        self.cache = self.open_cache()
        after = {model: self.cache.cached_bytes(model) for model in NAMES}
        assert after == (before if self.lasting else dict.fromkeys(NAMES, 0))

    @rule(model=MODELS)
    def count(self, model: str) -> None:
        there = sum(len(block_at(*place)) for place in self.put_since_drop if place[0].model == model)
        at_least = sum(len(block_at(*place)) for place in self.kept if place[0].model == model)
        counted = self.cache.cached_bytes(model)
        assert counted is not None, "so few files are counted at once"
        assert at_least <= counted <= there

    @invariant()
    def is_bounded(self) -> None:
        for tier in self.cache.stats().values():
            assert tier.used_bytes <= tier.limit_bytes + SLACK_BYTES

    def _forget_kept(self, model: str) -> None:
        self.kept = {place for place in self.kept if place[0].model != model}


class MemoryMachine(CacheMachine):
    lasting = False

    def open_cache(self) -> BlockCache:
        self.put_since_drop = set()
        return MemoryTier(LIMIT_BYTES)


class MemoryBesideOthersMachine(CacheMachine):
    """Transfers take more of the memory, and less."""

    lasting = False
    beside_bytes = 0

    def open_cache(self) -> BlockCache:
        self.put_since_drop = set()
        return MemoryTier(LIMIT_BYTES, lambda: self.beside_bytes)

    @rule(size_bytes=st.integers(0, 2 * LIMIT_BYTES))
    def take(self, size_bytes: int) -> None:
        self.beside_bytes = size_bytes


class DiskMachine(CacheMachine):
    lasting = True

    def open_cache(self) -> BlockCache:
        return disk(self.root)


class TieredMachine(CacheMachine):
    lasting = True

    def open_cache(self) -> BlockCache:
        return TieredCache(MemoryTier(LIMIT_BYTES // 2), disk(self.root))


class OverSharedMachine(CacheMachine):
    """A disk over a store that the fleet shares: what is dropped is dropped there, too."""

    lasting = True

    def open_cache(self) -> BlockCache:
        store = RestingStore(self.store, self.cancellation)
        self.shared = SharedTier(store, self.cancellation, SharedSettings(queue_bytes=LIMIT_BYTES, gather_s=0.0))
        return TieredCache(MemoryTier(LIMIT_BYTES // 2), OverShared(disk(self.root), self.shared))

    @rule()
    def write(self) -> None:
        assert self.shared.flush(30)


@pytest.mark.parametrize(
    ("machine", "share"),
    [
        (MemoryMachine, 0.5),
        (MemoryBesideOthersMachine, 0.5),
        (DiskMachine, 0.5),
        (TieredMachine, 0.3),
        (OverSharedMachine, 0.3),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_cache_gives_what_was_put_or_nothing(
    machine: Callable[[], CacheMachine], share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("hubfs.cache.disk.room._REST_S", 0.0)  # a refusal is not to hide the rest of a run
    run_state_machine_as_test(machine, settings=examples(share, steps=40))
    assert list(tmp_path.iterdir()) == []
