"""The shared tier: packing, sharing, damage, and a store that fails."""

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hubfs.blobs.store import STORE_SETTINGS, ObjectStore, open_store
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey, OverShared
from hubfs.cache.memory import MemoryTier
from hubfs.cache.shared.layout import HEADER_BYTES, MOST_BYTES, encode, place_of, run_name
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedSettings, SharedTier
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import KEY, MODEL, OTHER, BlockCacheContract, block_of
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.shared_cache import Watched, memory_store

SMALL_BYTES = 1000


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("fleet")
        yield server


class SharedTierContract(BlockCacheContract):
    near = False

    @pytest.fixture(autouse=True)
    def _cancellation(self) -> Iterator[None]:
        self.cancellation = Cancellation()
        yield
        self.cancellation.cancel()

    def store(self) -> ObjectStore:
        raise NotImplementedError

    def cache_of(self, limit_bytes: int) -> BlockCache:
        store = RestingStore(self.store(), self.cancellation)
        return SharedTier(store, self.cancellation, SharedSettings(queue_bytes=limit_bytes))


class TestSharedTierInMemory(SharedTierContract):
    def store(self) -> ObjectStore:
        return memory_store(self.cancellation)


class TestSharedTierInABucket(SharedTierContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: GcsServer) -> None:
        self.server_url = server.url

    def store(self) -> ObjectStore:
        settings = replace(STORE_SETTINGS, endpoint_url=self.server_url)
        return open_store(f"gs://fleet/{uuid.uuid4().hex}", settings, self.cancellation)


class Fleet:
    """Tiers on one store."""

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.store = Watched(memory_store(self.cancellation))
        self.clock = Clock()

    def tier(self, local: BlockCache | None = None, **settings: float) -> SharedTier:
        return SharedTier(
            RestingStore(self.store, self.cancellation, timer=self.clock),
            self.cancellation,
            SharedSettings(**settings),  # type: ignore[arg-type]
            local=local,
            timer=self.clock,
        )


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.cancellation.cancel()


def fill(tier: SharedTier, indexes: range, size_bytes: int = BLOCK_SIZE_BYTES, key: CacheKey = KEY) -> None:
    for index in indexes:
        tier.put(key, index, block_of(index, size_bytes))
    assert tier.flush(10)


def test_says_that_a_block_is_not_kept_on_this_disk(fleet: Fleet) -> None:
    assert fleet.tier().put(KEY, 0, block_of(0)) is False


def test_another_daemon_reads_what_one_wrote_in_one_request_a_run(fleet: Fleet) -> None:
    fill(fleet.tier(), range(20))
    assert len(fleet.store.asked("put")) == 3
    fleet.store.calls.clear()
    other = fleet.tier()
    assert [other.get(KEY, index) == block_of(index) for index in range(20)] == [True] * 20
    assert len(fleet.store.asked("get")) == 3
    assert len(fleet.store.asked("list")) == 1


def test_readers_of_one_run_at_once_make_one_request(fleet: Fleet) -> None:
    fill(fleet.tier(), range(8))
    fleet.store.calls.clear()
    other = fleet.tier()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda index: other.get(KEY, index), range(8)))
    assert got == [block_of(index) for index in range(8)]
    assert len(fleet.store.asked("get")) == 1


def test_a_run_that_stays_incomplete_is_written_after_a_while(fleet: Fleet) -> None:
    tier = fleet.tier(gather_s=0.0)
    tier.put(KEY, 3, block_of(3))
    fleet.clock.now_s += 1
    deadline = fleet.cancellation
    for _ in range(100):
        if fleet.store.asked("put"):
            break
        deadline.sleep(0.05)
    assert fleet.store.asked("put") == [run_name(MODEL, place_of(KEY, 3), 0b1000)]


def test_a_file_that_ends_in_a_short_block_is_written_at_once(fleet: Fleet) -> None:
    tier = fleet.tier()
    tier.put(KEY, 0, block_of(0))
    tier.put(KEY, 1, block_of(1, 10))
    assert tier._writes.flush(10)  # not the tier's: that would write what is incomplete, too
    assert fleet.store.asked("put") == [run_name(MODEL, place_of(KEY, 0), 0b11)]


def test_what_is_stored_already_is_not_sent_again(fleet: Fleet) -> None:
    fill(fleet.tier(), range(8))
    fill(fleet.tier(), range(8))
    fill(fleet.tier(), range(2, 4))
    assert len(fleet.store.asked("put")) == 1


def test_two_who_write_the_same_at_once_leave_one_object(fleet: Fleet) -> None:
    one, two = fleet.tier(), fleet.tier()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda tier: fill(tier, range(16)), (one, two)))
    assert len(fleet.store.list("blocks/")) == 2
    reader = fleet.tier()
    assert all(reader.get(KEY, index) == block_of(index) for index in range(16))


def test_partial_runs_of_several_writers_add_up(fleet: Fleet) -> None:
    fill(fleet.tier(), range(3))
    fill(fleet.tier(), range(2, 6))
    reader = fleet.tier()
    assert [reader.get(KEY, index) == block_of(index) for index in range(8)] == [True] * 6 + [False] * 2


def test_a_missing_block_costs_one_listing_for_a_while(fleet: Fleet) -> None:
    reader = fleet.tier(listing_s=1.0)
    for index in range(50):
        assert reader.get(KEY, index) is None
    assert fleet.store.calls == [("list", f"blocks/{MODEL}/")]
    fill(fleet.tier(), range(1))
    assert reader.get(KEY, 0) is None
    fleet.clock.now_s += 1.1
    assert reader.get(KEY, 0) == block_of(0)


def test_the_queue_is_bounded_and_what_finds_no_room_is_not_written(fleet: Fleet) -> None:
    tier = fleet.tier(queue_bytes=4 * BLOCK_SIZE_BYTES)
    for index in range(7):
        tier.put(KEY, index, block_of(index))
    assert tier.stats()["shared"].used_bytes == 4 * BLOCK_SIZE_BYTES
    assert tier.flush(10)
    assert tier.stats()["shared"].used_bytes == 0
    reader = fleet.tier()
    assert [reader.get(KEY, index) is not None for index in range(7)] == [True] * 4 + [False] * 3


def blocks_of(tier: SharedTier) -> int:
    return sum(tier.get(KEY, index) is not None for index in range(20))


def test_what_found_no_room_is_written_from_the_local_tier_before_the_model_is_told_of(fleet: Fleet) -> None:
    local = MemoryTier(1 << 30)
    tier = fleet.tier(local, queue_bytes=4 * BLOCK_SIZE_BYTES)
    cache = OverShared(local, tier)
    for index in range(20):
        cache.put(KEY, index, block_of(index))
    told: list[int] = []
    tier.afterwards(MODEL, lambda: told.append(blocks_of(fleet.tier())))
    assert tier.flush(10)
    assert told == [20]
    reader = fleet.tier()
    assert all(reader.get(KEY, index) == block_of(index) for index in range(20))


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


GOOD = encode(KEY, {0: block_of(0, SMALL_BYTES)}) or b""
DAMAGE = {
    "a bit of the block": _flipped(GOOD, HEADER_BYTES + 500),
    "a bit of the checksum": _flipped(GOOD, 2),
    "a bit of the header": _flipped(GOOD, 40),
    "cut in the block": GOOD[:-1],
    "cut in the header": GOOD[:100],
    "empty": b"",
    "too long": GOOD + b"x",
    "something else": b"<html>no such thing</html>" * 400,
    "another model's": encode(OTHER, {0: block_of(0, SMALL_BYTES)}) or b"",
    "another file's": encode(CacheKey(MODEL, "other"), {0: block_of(0, SMALL_BYTES)}) or b"",
    "another block's": encode(KEY, {1: block_of(1, SMALL_BYTES)}) or b"",
    "another run's": encode(KEY, {8: block_of(8, SMALL_BYTES)}) or b"",
    "no block": encode(KEY, {}) or b"",
}


@pytest.mark.parametrize("damaged", DAMAGE.values(), ids=DAMAGE.keys())
def test_an_object_that_is_not_what_it_should_be_is_a_miss_and_gives_way(fleet: Fleet, damaged: bytes) -> None:
    name = run_name(MODEL, place_of(KEY, 0), 1)
    fleet.store.put(name, damaged)
    tier = fleet.tier()
    assert tier.get(KEY, 0) is None
    assert fleet.store.get(name) is None
    fill(tier, range(1), SMALL_BYTES)
    assert fleet.tier().get(KEY, 0) == block_of(0, SMALL_BYTES)


def test_foreign_names_among_the_blocks_are_left_aside(fleet: Fleet) -> None:
    for name in ("readme.txt", "f/x.y", "f/1.1", "f/000001.zz", "f/000000.01/deeper"):
        fleet.store.put(f"blocks/{MODEL}/{name}", b"?")
    assert fleet.tier().get(KEY, 0) is None


def test_an_object_that_vanishes_is_a_miss(fleet: Fleet) -> None:
    fill(fleet.tier(), range(1))
    reader = fleet.tier()
    assert reader.get(KEY, 1) is None  # it has the listing now
    fleet.store.delete(run_name(MODEL, place_of(KEY, 0), 1))
    assert reader.get(KEY, 0) is None


def test_a_store_that_fails_rests_longer_and_longer_and_is_logged_once(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    fill(fleet.tier(), range(8))
    tier = fleet.tier()
    fleet.store.down = True
    fleet.store.calls.clear()
    with caplog.at_level(logging.INFO):
        for rest_s in (10, 20, 40, 80, 160, 300, 300):
            assert tier.get(KEY, 0) is None
            fleet.clock.now_s += rest_s - 0.5
            assert tier.get(KEY, 0) is None
            tier.put(KEY, 9, block_of(9))
            assert tier.stats()["shared"].used_bytes == 0  # nothing waits for a store that rests
            fleet.clock.now_s += 0.5
        assert len(fleet.store.calls) == 7
        fleet.store.down = False
        assert tier.get(KEY, 0) == block_of(0)
    assert [record.getMessage()[:30] for record in caplog.records] == [
        "The shared cache fails, and re",
        "The shared cache watched://sto",
    ]


def test_writes_that_fail_are_forgotten(fleet: Fleet) -> None:
    tier = fleet.tier()
    tier.put(KEY, 0, block_of(0))
    fleet.store.down = True
    assert tier.flush(10)
    assert tier.stats()["shared"].used_bytes == 0
    assert tier.get(KEY, 0) is None


def test_over_the_shared_tier_the_local_one_says_what_is_kept(fleet: Fleet) -> None:
    local, shared = MemoryTier(1 << 30), fleet.tier()
    cache = OverShared(local, shared)
    assert cache.put(KEY, 0, block_of(0)) is False
    assert shared.flush(10)
    fleet.store.calls.clear()
    assert cache.cached_bytes(MODEL) == BLOCK_SIZE_BYTES
    cache.hold(MODEL)()
    assert fleet.store.calls == []
    other = OverShared(MemoryTier(1 << 30), fleet.tier())
    assert other.get(KEY, 0) == block_of(0)
    fleet.store.calls.clear()
    assert other.get(KEY, 0) == block_of(0)
    assert fleet.store.calls == []
    assert set(other.stats()) == {"memory", "shared"}


def test_an_object_that_is_larger_than_any_is_not_read_and_gives_way(fleet: Fleet) -> None:
    name = run_name(MODEL, place_of(KEY, 0), 1)
    fleet.store.put(name, bytes(MOST_BYTES + 1))
    reader = fleet.tier()
    assert reader.get(KEY, 0) is None
    assert fleet.store.asked("get") == []
    assert fleet.store.list(name) == []
