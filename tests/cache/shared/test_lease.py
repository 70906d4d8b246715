"""Leases: one owner, who may lose them by silence."""

import json
from collections.abc import Iterator

import pytest

from hubfs.cache.shared.lease import Lease
from hubfs.errors import Cancelled, Unavailable
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.support.shared_cache import Watched, memory_store

NAME = "leases/model/pass"


class Desk:
    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.store = Watched(memory_store(self.cancellation))
        self.clock, self.timer = Clock(), Clock(0.0)

    def lease(self, owner: str, clock: Clock | None = None) -> Lease:
        return Lease(
            self.store,
            NAME,
            owner,
            cancellation=self.cancellation,
            ttl_s=15.0,
            clock=clock or self.clock,
            timer=self.timer,
        )

    def pass_by(self, seconds_s: float) -> None:
        self.clock.now_s += seconds_s
        self.timer.now_s += seconds_s


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.cancellation.cancel()


def test_one_has_it_until_it_is_released(desk: Desk) -> None:
    one, two = desk.lease("one"), desk.lease("two")
    assert one.acquire()
    assert not two.acquire()
    two.release()
    assert not two.acquire()
    one.release()
    assert two.acquire()
    assert not one.acquire()


def test_it_carries_its_owner_and_the_time(desk: Desk) -> None:
    desk.lease("one").acquire()
    assert json.loads(desk.store.get(NAME) or b"") == {"owner": "one", "time_s": desk.clock.now_s}


def test_an_owner_whose_answer_was_lost_has_it(desk: Desk) -> None:
    assert desk.lease("one").acquire()
    assert desk.lease("one").acquire()


def test_it_is_kept_by_refreshing(desk: Desk) -> None:
    one, two = desk.lease("one"), desk.lease("two")
    one.acquire()
    for _ in range(10):
        assert not two.acquire()
        desk.pass_by(14)
        assert one.refresh()
    assert not two.acquire()


def test_it_lapses_without_and_is_taken_over(desk: Desk) -> None:
    one, two = desk.lease("one"), desk.lease("two")
    one.acquire()
    assert not two.acquire()
    desk.pass_by(14.9)
    assert not two.acquire()
    desk.pass_by(0.2)
    assert two.acquire()
    assert not one.refresh()
    one.release()
    assert not desk.lease("three").acquire()


def test_a_clock_that_is_wrong_takes_nothing_away(desk: Desk) -> None:
    two = desk.lease("two", Clock(desk.clock.now_s + 200))
    desk.lease("one").acquire()
    assert not two.acquire()
    desk.pass_by(14)
    assert not two.acquire()


def test_one_left_behind_long_ago_is_taken_over_at_once(desk: Desk) -> None:
    desk.lease("one").acquire()
    desk.pass_by(400)
    assert desk.lease("two").acquire()


HUGE = [b"[" * 100_000, b'{"time_s": 1' + b"0" * 400 + b"}"]


@pytest.mark.parametrize("foreign", [b"", b"[]", b"\xff", b'{"owner": 1}', b'{"time_s": "x"}', *HUGE])
def test_what_is_no_lease_is_taken_over(desk: Desk, foreign: bytes) -> None:
    desk.store.put(NAME, foreign)
    assert desk.lease("one").acquire()


def test_a_store_that_is_down_and_a_cancel_are_told(desk: Desk) -> None:
    lease = desk.lease("one")
    desk.store.down = True
    with pytest.raises(Unavailable):
        lease.acquire()
    desk.cancellation.cancel()
    with pytest.raises(Cancelled):
        lease.acquire()
