"""A store that is busy, and one that fails: what becomes of requests."""

import logging
from collections.abc import Callable, Iterator

import pytest

from hubfs.blobs.retry import Busy
from hubfs.cache.shared.health import PATIENCE_S
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.tier import SharedTier
from hubfs.errors import Cancelled, HubfsError, TimedOut, Unavailable
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import KEY
from tests.support.shared_cache import Watched, memory_store


class Sleeps(Cancellation):
    """Sleeps by a clock that is set, and notes for how long."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.slept_s: list[float] = []
        self.then: Callable[[], None] = lambda: None

    def sleep(self, seconds_s: float) -> None:
        self.then()
        self.check()
        self.slept_s.append(seconds_s)
        self.clock.now_s += seconds_s


class Desk:
    def __init__(self) -> None:
        self.clock = Clock(0.0)
        self.sleeps = Sleeps(self.clock)
        self.raw = Watched(memory_store(self.sleeps))
        self.refusals: list[HubfsError] = []
        self.store = RestingStore(self.raw, self.sleeps, timer=self.clock, chance=lambda: 1.0)
        self.raw.refuse = lambda: self.refusals.pop(0) if self.refusals else None


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    desk.raw.put("name", b"data")
    desk.raw.calls.clear()
    yield desk
    desk.sleeps.cancel()


def busy(count: int, wish_s: float | None = None) -> list[HubfsError]:
    return [Busy("SlowDown", wish_s) for _ in range(count)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get("name") == b"data",
        lambda store: store.put("other", b"data", if_absent=True),
        lambda store: len(store.list("na")) == 1,
        lambda store: store.delete("name") is None,
    ],
    ids=["get", "put", "list", "delete"],
)
def test_every_request_that_is_refused_is_asked_again_more_and_more_slowly(
    desk: Desk, ask: Callable[[RestingStore], bool]
) -> None:
    desk.refusals = busy(4)
    assert ask(desk.store)
    assert desk.sleeps.slept_s == [0.25, 0.5, 1.0, 2.0]
    assert len(desk.raw.calls) == 5
    assert not desk.store.resting


def test_the_next_requests_go_slower_too_and_quicker_with_each_answer(desk: Desk) -> None:
    desk.refusals = busy(3)
    assert desk.store.get("name")
    desk.sleeps.slept_s.clear()
    for _ in range(4):
        assert desk.store.get("name")
    assert desk.sleeps.slept_s == [0.5, 0.25]


def test_a_store_may_say_for_how_long(desk: Desk) -> None:
    desk.refusals = busy(1, 3.0)
    assert desk.store.get("name")
    assert desk.sleeps.slept_s == [3.0]


def test_a_store_that_refuses_for_ever_is_left_alone_within_the_bound(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.refusals = busy(1000)
    with caplog.at_level(logging.INFO), pytest.raises(Busy):
        desk.store.get("name")
    assert PATIENCE_S <= desk.clock.now_s <= PATIENCE_S + 4
    assert desk.store.resting
    asked = len(desk.raw.calls)
    for _ in range(10):
        with pytest.raises(Unavailable, match="left alone"):
            desk.store.get("name")
    assert len(desk.raw.calls) == asked
    assert desk.clock.now_s <= PATIENCE_S + 4
    desk.clock.now_s += 10
    desk.sleeps.slept_s.clear()
    with pytest.raises(Busy):
        desk.store.get("name")
    assert len(desk.raw.calls) == asked + 1
    assert desk.sleeps.slept_s == []
    desk.clock.now_s += 20
    desk.refusals.clear()
    with caplog.at_level(logging.INFO):
        assert desk.store.get("name")
    assert [record.getMessage()[:28] for record in caplog.records] == [
        "The shared cache is busy, an",
        "The shared cache fails, and ",
        "The shared cache watched://s",
    ]


def test_who_waits_for_a_busy_store_is_told_when_others_find_that_it_fails(desk: Desk) -> None:
    desk.refusals = busy(1)

    def fail() -> None:
        desk.sleeps.then = lambda: None
        desk.refusals = [TimedOut("no answer")]
        with pytest.raises(TimedOut):
            desk.store.list("")

    desk.sleeps.then = fail
    with pytest.raises(Unavailable, match="left alone"):
        desk.store.get("name")


def test_an_error_that_is_no_refusal_leaves_the_store_alone_at_once(desk: Desk) -> None:
    desk.refusals = [Unavailable("nobody listens")]
    with pytest.raises(Unavailable, match="nobody listens"):
        desk.store.get("name")
    assert desk.store.resting
    assert desk.sleeps.slept_s == []


def test_a_cancel_ends_the_wait_for_a_busy_store(desk: Desk) -> None:
    desk.refusals = busy(1000)
    desk.sleeps.then = desk.sleeps.cancel
    with pytest.raises(Cancelled):
        desk.store.get("name")


def test_a_busy_store_is_said_once_a_minute(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(10):
            desk.refusals = busy(1)
            assert desk.store.get("name")
        assert len(caplog.records) == 1
        desk.clock.now_s += 60
        desk.refusals = busy(1)
        assert desk.store.get("name")
    assert len(caplog.records) == 2


def test_a_read_through_a_store_that_refuses_for_ever_is_a_miss_within_the_bound(desk: Desk) -> None:
    desk.refusals = busy(100_000)
    tier = SharedTier(desk.store, desk.sleeps, timer=desk.clock)
    assert [tier.get(KEY, index) for index in range(8)] == [None] * 8
    assert desk.clock.now_s <= PATIENCE_S + 4
