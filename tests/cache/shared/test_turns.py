"""Turns: who fetches, and who waits for it."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.cache.shared.layout import place_of, run_lease_name
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedTier
from hubfs.cache.shared.turns import SharedTurns
from hubfs.cache.turns import NoTurns
from hubfs.errors import Cancelled
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import KEY, MODEL, block_of
from tests.support.shared_cache import Watched, memory_store
from tests.support.turns import never, still_waits, take
from tests.support.waiting import eventually


class Desk:
    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.store = Watched(memory_store(self.cancellation))

    def daemon(self, *, ttl_s: float = 15.0, patience_s: float = 60.0) -> tuple[SharedTier, SharedTurns]:
        store = RestingStore(self.store, self.cancellation)
        tier = SharedTier(store, self.cancellation)
        indexes = SharedIndexes(store, tier.afterwards)
        turns = SharedTurns(store, tier, indexes, self.cancellation, ttl_s=ttl_s, poll_s=0.02, patience_s=patience_s)
        return tier, turns

    def leases(self) -> list[str]:
        return [obj.name for obj in self.store.list("") if "leases/" in obj.name or obj.name.endswith(".lease")]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.cancellation.cancel()


@pytest.fixture
def pool(desk: Desk) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        desk.cancellation.cancel()


def test_without_a_shared_cache_whoever_wants_to_fetch_does() -> None:
    with NoTurns().pass_turn(MODEL, never) as turn:
        assert turn.mine
    assert NoTurns().index(MODEL) is None


def test_one_fetches_and_the_other_waits_until_it_has_arrived(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (tier, first), (other, second) = desk.daemon(), desk.daemon()

    def read() -> bool:
        with second.pass_turn(MODEL, lambda _: other.get(KEY, 0) is not None) as turn:
            return turn.mine

    with first.pass_turn(MODEL, never) as turn:
        assert turn.mine
        waiting = pool.submit(read)
        assert still_waits(waiting)
        tier.put(KEY, 0, block_of(0))
    assert waiting.result(60) is False
    assert other.get(KEY, 0) == block_of(0)
    assert eventually(lambda: not desk.leases())


def test_who_waits_is_next_when_nothing_arrives(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (_, first), (_, second) = desk.daemon(), desk.daemon()
    with first.pass_turn(MODEL, never):
        waiting = pool.submit(take, second)
        assert still_waits(waiting)
        assert pool.submit(take, second, f"{MODEL}0").result(60) is True
    assert waiting.result(60) is True


def test_who_waits_for_blocks_asks_by_listings_and_finds_them(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (tier, first), (other, second) = desk.daemon(), desk.daemon(ttl_s=3600.0)
    looked = threading.Event()

    def arrived() -> bool:
        looked.set()
        return other.get(KEY, 0) is not None

    def read() -> bytes | None:
        with second.run_turn(KEY, range(8), arrived):
            return other.get(KEY, 0)

    with first.run_turn(KEY, range(8), lambda: tier.get(KEY, 0) is not None):
        (lease,) = desk.leases()
        desk.store.calls.clear()
        waiting = pool.submit(read)
        assert looked.wait(60)
        assert still_waits(waiting)
        waited = list(desk.store.calls)
        tier.put(KEY, 0, block_of(0))
    assert waiting.result(60) == block_of(0)
    assert {method for method, _ in waited} <= {"list", "get"}  # a name that many write is refused by buckets
    assert waited.count(("get", lease)) <= 1
    assert eventually(lambda: not desk.leases())


def test_who_waits_for_blocks_is_next_when_others_came(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (tier, first), (other, second) = desk.daemon(), desk.daemon()

    def read() -> bool:
        with second.run_turn(KEY, range(1, 2), lambda: other.get(KEY, 1) is not None):
            return other.get(KEY, 1) is None

    with first.run_turn(KEY, range(1), lambda: tier.get(KEY, 0) is not None):
        waiting = pool.submit(read)
        assert still_waits(waiting)
        tier.put(KEY, 0, block_of(0))
    assert waiting.result(60) is True
    assert eventually(lambda: not desk.leases())


@pytest.mark.slow
def test_who_waits_for_blocks_takes_over_from_a_holder_that_died(desk: Desk) -> None:
    (tier, _), (other, second) = desk.daemon(), desk.daemon(ttl_s=1.5)
    desk.store.put(run_lease_name(MODEL, place_of(KEY, 0)), json.dumps({"owner": "?", "time_s": time.time()}).encode())
    with second.run_turn(KEY, range(8), lambda: other.get(KEY, 0) is not None):
        assert tier.get(KEY, 0) is None
    assert eventually(lambda: not desk.leases())


def test_a_lease_left_behind_long_ago_is_no_wait_for_its_holder(desk: Desk) -> None:
    other, second = desk.daemon(ttl_s=3600.0)
    desk.store.put(run_lease_name(MODEL, place_of(KEY, 0)), b'{"owner": "?", "time_s": 0}')
    with second.run_turn(KEY, range(8), lambda: other.get(KEY, 0) is not None):
        assert other.get(KEY, 0) is None


def test_a_store_that_dies_while_somebody_waits_for_blocks_lets_it_fetch(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (_, first), (other, second) = desk.daemon(), desk.daemon(ttl_s=3600.0)

    def read() -> bool:
        with second.run_turn(KEY, range(8), lambda: other.get(KEY, 0) is not None):
            return True

    with first.run_turn(KEY, range(8), lambda: False):
        waiting = pool.submit(read)
        assert still_waits(waiting)
        desk.store.down = True
        assert waiting.result(60) is True
        desk.store.down = False


def test_what_has_arrived_already_needs_no_lease(desk: Desk) -> None:
    _, turns = desk.daemon()
    with turns.pass_turn(MODEL, lambda _: True) as turn:
        assert not turn.mine
    assert desk.store.calls == []


@pytest.mark.slow
def test_a_lease_outlives_its_time_while_it_is_needed(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (_, first), (_, second) = desk.daemon(ttl_s=2.0), desk.daemon(ttl_s=2.0)
    with first.pass_turn(MODEL, never):
        waiting = pool.submit(take, second)
        assert not eventually(waiting.done, 5)
    assert waiting.result(60) is True


def test_a_store_that_is_down_lets_everybody_fetch(desk: Desk) -> None:
    desk.store.down = True
    assert take(desk.daemon()[1]) is True
    assert take(desk.daemon()[1]) is True


def test_a_store_that_dies_while_somebody_waits_lets_it_fetch(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (_, first), (_, second) = desk.daemon(), desk.daemon()
    with first.pass_turn(MODEL, never):
        waiting = pool.submit(take, second)
        assert still_waits(waiting)
        desk.store.down = True
        assert waiting.result(60) is True
        desk.store.down = False


def test_nobody_waits_longer_than_its_patience(desk: Desk) -> None:
    (_, first), (_, second) = desk.daemon(), desk.daemon(patience_s=0.2)
    with first.pass_turn(MODEL, never):
        assert take(second) is True


def test_a_cancel_ends_the_wait(desk: Desk, pool: ThreadPoolExecutor) -> None:
    (_, first), (_, second) = desk.daemon(), desk.daemon()
    with first.pass_turn(MODEL, never):
        waiting = pool.submit(take, second)
        assert still_waits(waiting)
        threading.Timer(0.05, desk.cancellation.cancel).start()
        with pytest.raises(Cancelled):
            waiting.result(60)


def test_the_lease_is_given_back_only_when_the_bytes_are_stored(desk: Desk) -> None:
    tier, turns = desk.daemon()
    with turns.pass_turn(MODEL, never):
        tier.put(KEY, 0, block_of(0))
    assert eventually(lambda: not desk.leases())
    calls = [(method, name.split("/")[0]) for method, name in desk.store.calls]
    assert calls.index(("put", "blocks")) < calls.index(("delete", "leases"))


def test_an_error_while_fetching_gives_the_lease_back(desk: Desk) -> None:
    def fail() -> None:
        with desk.daemon()[1].pass_turn(MODEL, never):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert eventually(lambda: not desk.leases())
