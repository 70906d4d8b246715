"""A `CachedBlob` over a blob whose blocks come by, unless they can be fetched."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.cached_blob import CachedBlob, CannotFetch
from hubfs.cache.memory import MemoryTier
from hubfs.errors import Damaged
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation

PAYLOAD = random.Random(11).randbytes(9 * BLOCK_SIZE_BYTES + 999)
KEY = CacheKey("hub/a/b/1@x", "f")
PLENTY_BYTES = 1 << 30


class Passing:
    """Blocks come by, each once it is asked for; they are fetched while `fetches` says so. Notes both."""

    key = "passing"
    size_bytes = len(PAYLOAD)

    def __init__(self) -> None:
        self.fetches = False
        self.fetched: list[tuple[int, int]] = []
        self.waited: list[int] = []
        self.while_fetching: Callable[[], None] = lambda: None
        self.looks = False

    def can_fetch(self) -> bool:
        return self.fetches

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.fetched.append((offset_bytes, size_bytes))
        self.while_fetching()
        if not self.fetches:
            raise CannotFetch
        return PAYLOAD[offset_bytes : offset_bytes + size_bytes]

    def wait_for(self, index: int, look: Callable[[], bytes | None]) -> bytes | None:
        if self.fetches:
            return None
        found = look() if self.looks else None
        self.waited.append(index)
        return found or PAYLOAD[index * BLOCK_SIZE_BYTES : (index + 1) * BLOCK_SIZE_BYTES]


class Desk:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.origin = Passing()
        self.cache = MemoryTier(PLENTY_BYTES)
        self.budget = MemoryBudget(PLENTY_BYTES)
        self.blob = CachedBlob(self.origin, self.cache, KEY, pool=pool, cancellation=Cancellation(), budget=self.budget)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with ThreadPoolExecutor(2) as pool:
        yield Desk(pool)


def test_blocks_that_come_by_are_waited_for_one_by_one_and_kept_by_who_brings_them(desk: Desk) -> None:
    assert desk.blob.read_at(5, 3 * BLOCK_SIZE_BYTES) == PAYLOAD[5 : 3 * BLOCK_SIZE_BYTES + 5]
    assert (desk.origin.waited, desk.origin.fetched) == ([0, 1, 2, 3], [])
    assert (desk.cache.cached_bytes(KEY.model), desk.budget.taken_bytes) == (0, 0)


def test_a_block_that_came_by_since_the_first_look_is_found(desk: Desk) -> None:
    desk.origin.looks = True
    block = bytes(BLOCK_SIZE_BYTES)
    found = desk.cache.get

    def get(key: CacheKey, index: int) -> bytes | None:
        seen = found(key, index)
        desk.cache.put(key, index, block)
        return seen

    desk.cache.get = get  # type: ignore[method-assign]  # a block comes in behind each look
    assert desk.blob.read_at(0, BLOCK_SIZE_BYTES) == block


def test_nothing_is_begun_ahead_while_everything_comes_by(desk: Desk) -> None:
    assert desk.blob.prefetch(100, len(PAYLOAD)) == len(PAYLOAD)
    assert (desk.origin.waited, desk.origin.fetched, desk.budget.taken_bytes) == ([], [], 0)


def test_blocks_that_can_be_fetched_are_fetched_as_of_any_blob(desk: Desk) -> None:
    desk.origin.fetches = True
    assert desk.blob.read_at(0, len(PAYLOAD)) == PAYLOAD
    assert desk.origin.waited == []
    assert desk.cache.cached_bytes(KEY.model) == len(PAYLOAD)
    assert desk.budget.taken_bytes == 0


def test_a_fetch_that_turns_out_to_be_impossible_is_waited_for_by_all_who_share_it(desk: Desk) -> None:
    desk.origin.fetches = True
    both, gone = threading.Semaphore(0), threading.Event()

    def lose() -> None:
        both.release()
        assert gone.wait(60)
        desk.origin.fetches = False

    desk.origin.while_fetching = lose
    with ThreadPoolExecutor(2) as readers:
        reads = [readers.submit(desk.blob.read_at, 0, 10) for _ in range(2)]
        assert both.acquire(timeout=60)
        gone.set()
        assert [read.result(60) for read in reads] == 2 * [PAYLOAD[:10]]
    assert set(desk.origin.waited) == {0}
    assert desk.budget.taken_bytes == 0


def test_any_other_error_of_a_fetch_is_the_readers(desk: Desk) -> None:
    desk.origin.fetches = True

    def fail() -> None:
        raise Damaged("no such bytes")

    desk.origin.while_fetching = fail
    with pytest.raises(Damaged, match="no such bytes"):
        desk.blob.read_at(0, 10)
    assert desk.origin.waited == []
