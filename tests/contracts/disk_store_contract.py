"""What a store of models on disk promises, to whichever process asks it while others read and write.

An implementation passes by subclassing `DiskStoreContract` with `stores_of`.
"""

import os
from pathlib import Path

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.room import DiskSettings
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from tests.contracts.block_cache_contract import KEY, MODEL, OTHER, block_of

SHORT_BYTES = 4321
SIZE_BYTES = 2 * BLOCK_SIZE_BYTES + SHORT_BYTES
"""Of a file of three blocks."""

BLOCKS = [block_of(0), block_of(1), block_of(2, SHORT_BYTES)]
LONG_AGO_S = 1_000_000_000.0
NOWHERE = "hub/never/heard/of/1@ffff"


def fill(tier: DiskTier, key: CacheKey = KEY) -> None:
    """Keeps all blocks of a file of `SIZE_BYTES`."""
    for index, block in enumerate(BLOCKS):
        assert tier.put(key, index, block)


class DiskStoreContract:
    def stores_of(self, layout: CacheLayout) -> tuple[DiskStore, DiskStore]:
        """The store that is asked, and the one that a daemon works on; they may be one."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _made(self, tmp_path: Path) -> None:
        self.layout = CacheLayout(tmp_path / "cache")
        self.layout.prepare()
        self.store, self.daemons = self.stores_of(self.layout)
        self.tier = DiskTier(self.daemons, DiskSettings(1 << 30, reserve_bytes=0))

    def spoil(self, key: CacheKey, index: int, *, unseen: bool = False) -> None:
        """Flips a bit of a block on the disk; `unseen`: as a disk does, that is not told to anybody."""
        path = self.layout.data(key)
        before = path.stat()
        with path.open("r+b") as file:
            file.seek(index * BLOCK_SIZE_BYTES + 100)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        if unseen:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def test_an_empty_store_has_no_models(self) -> None:
        assert [*self.store.models()] == []

    def test_has_the_models_that_something_was_kept_of(self) -> None:
        fill(self.tier)
        IndexStore(self.layout).save(OTHER.model, {})
        assert sorted(self.store.models()) == sorted([MODEL, OTHER.model])

    def test_what_is_not_there_has_no_facts_and_asking_makes_nothing(self) -> None:
        for name in (NOWHERE, "hub/../../etc@x", ""):
            assert self.store.facts(name) is None
        assert [*self.store.verify(NOWHERE)] == []
        assert self.store.records(CacheKey(NOWHERE, "f")) == []
        assert not self.store.remove(NOWHERE)
        assert [*self.store.models()] == []

    def test_facts_tell_the_size_and_the_last_use(self) -> None:
        self.tier.hold(MODEL)()
        fill(self.tier)
        os.utime(self.layout.in_use(MODEL), (LONG_AGO_S, LONG_AGO_S))
        facts = self.store.facts(MODEL)
        assert facts is not None
        assert SIZE_BYTES <= facts.size_bytes <= SIZE_BYTES + (64 << 10)
        assert (facts.used_at_s, facts.in_use, facts.pinned) == (LONG_AGO_S, False, False)

    def test_facts_of_a_model_that_nobody_ever_held_are_those_of_its_directory(self) -> None:
        IndexStore(self.layout).save(MODEL, {})
        os.utime(self.layout.model(MODEL), (LONG_AGO_S, LONG_AGO_S))
        facts = self.store.facts(MODEL)
        assert facts is not None
        assert (facts.used_at_s, facts.in_use) == (LONG_AGO_S, False)
        assert not self.layout.in_use(MODEL).exists()

    def test_facts_tell_who_is_in_use(self) -> None:
        release = self.tier.hold(MODEL)
        facts = self.store.facts(MODEL)
        assert facts is not None
        assert facts.in_use
        release()
        facts = self.store.facts(MODEL)
        assert facts is not None
        assert not facts.in_use

    def test_records_are_the_blocks_that_are_there(self) -> None:
        self.tier.put(KEY, 2, BLOCKS[2])
        self.tier.put(KEY, 0, BLOCKS[0])
        assert [(one.block_index, one.length_bytes) for one in self.store.records(KEY)] == [
            (0, BLOCK_SIZE_BYTES),
            (2, SHORT_BYTES),
        ]

    def test_verifying_finds_nothing_wrong_with_what_was_kept(self) -> None:
        fill(self.tier)
        fill(self.tier, CacheKey(MODEL, "deep/er/file"))
        found = sorted(self.store.verify(MODEL), key=lambda one: one.key.path)
        assert [(one.key.path, one.right, one.damaged) for one in found] == [("deep/er/file", 3, 0), (KEY.path, 3, 0)]

    def test_verifying_takes_back_what_is_damaged_and_nothing_else(self) -> None:
        fill(self.tier)
        self.spoil(KEY, 1, unseen=True)
        (found,) = self.store.verify(MODEL)
        assert (found.right, found.damaged) == (2, 1)
        assert [one.block_index for one in self.store.records(KEY)] == [0, 2]
        assert [self.tier.get(KEY, index) for index in range(3)] == [BLOCKS[0], None, BLOCKS[2]]

    def test_verifying_is_no_use_of_the_model_and_counts_no_hit(self) -> None:
        self.tier.hold(MODEL)()
        fill(self.tier)
        os.utime(self.layout.in_use(MODEL), (LONG_AGO_S, LONG_AGO_S))
        before = self.tier.stats()
        assert [*self.store.verify(MODEL)]
        assert self.layout.in_use(MODEL).stat().st_mtime == LONG_AGO_S
        assert self.tier.stats() == before

    def test_a_model_that_is_removed_is_gone_and_the_others_stay(self) -> None:
        fill(self.tier)
        fill(self.tier, OTHER)
        assert self.store.remove(MODEL)
        assert [*self.store.models()] == [OTHER.model]
        assert self.tier.get(KEY, 0) is None
        assert self.tier.get(OTHER, 0) == BLOCKS[0]
        assert [*self.layout.trash.iterdir()] == []

    def test_a_model_in_use_is_not_removed(self) -> None:
        fill(self.tier)
        release = self.tier.hold(MODEL)
        assert not self.store.remove(MODEL)
        assert self.tier.get(KEY, 2) == BLOCKS[2]
        release()
        assert self.store.remove(MODEL)
        assert self.tier.get(KEY, 2) is None

    def test_a_pin_is_told_and_outlives_the_store_and_the_model(self) -> None:
        fill(self.tier)
        self.store.pin(MODEL)
        assert self.store.remove(MODEL)  # who removes it by name means it
        fill(self.tier)
        facts = DiskStore(CacheLayout(self.layout.root)).facts(MODEL)
        assert facts is not None
        assert facts.pinned
        self.store.unpin(MODEL)
        self.store.unpin(MODEL)
        facts = self.daemons.facts(MODEL)
        assert facts is not None
        assert not facts.pinned

    def test_a_pin_is_of_every_identity_and_of_no_other_version(self) -> None:
        name = MODEL.partition("@")[0]
        self.store.pin(MODEL)
        pinned = {}
        for model in (f"{name}@ffff", f"{name}0@ffff"):
            IndexStore(self.layout).save(model, {})
            facts = self.store.facts(model)
            assert facts is not None
            pinned[model] = facts.pinned
        assert pinned == {f"{name}@ffff": True, f"{name}0@ffff": False}

    def test_a_pinned_model_is_never_evicted(self) -> None:
        small = DiskTier(self.daemons, DiskSettings(SIZE_BYTES + BLOCK_SIZE_BYTES, reserve_bytes=0))
        fill(small)
        self.store.pin(MODEL)
        os.utime(self.layout.model(MODEL), (LONG_AGO_S, LONG_AGO_S))
        assert not all(small.put(OTHER, index, BLOCKS[0]) for index in range(4))
        assert [self.tier.get(KEY, index) for index in range(3)] == BLOCKS

    def test_a_pin_that_cannot_be_kept_says_so(self) -> None:
        (self.layout.root / "pins").write_bytes(b"something else")
        with pytest.raises(OSError, match="pins"):
            self.store.pin(MODEL)
