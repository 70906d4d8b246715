"""Answers that hold for a while."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.retry import Busy
from hubfs.errors import Cancelled, ModelNotFound, TimedOut, Unavailable
from hubfs.testing import Clock
from hubfs.waiting import Cancellation, Remembered
from tests.support.calls import calls_of
from tests.support.waiting import eventually, waiting_threads


class Question:
    """Counts how often it is asked, and answers with how often it was, or raises `error`."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def __call__(self) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.asked


@pytest.fixture
def remembered(clock: Clock, cancellation: Cancellation) -> Remembered[str, int]:
    return Remembered(
        cancellation,
        ttl_s=10,
        timeout_s=5,
        errors_s={ModelNotFound: 10, Busy: 1},
        keep_last=True,
        most=100,
        timer=clock,
    )


@pytest.fixture
def ask() -> Question:
    return Question()


def test_an_answer_holds_for_its_time(remembered: Remembered[str, int], ask: Question, clock: Clock) -> None:
    assert [remembered.get("q", ask), remembered.get("q", ask)] == [1, 1]
    assert remembered.get("another", ask) == 2
    clock.now_s += 9.9
    assert remembered.get("q", ask) == 1
    clock.now_s += 0.2
    assert remembered.get("q", ask) == 3


def test_an_error_that_is_an_answer_holds_as_long(
    remembered: Remembered[str, int], ask: Question, clock: Clock
) -> None:
    ask.error = ModelNotFound("none")
    for _ in range(3):
        with pytest.raises(ModelNotFound) as raised:
            remembered.get("q", ask)
    assert ask.asked == 1
    assert len(raised.traceback) < 6, "an error that is raised again keeps every frame that it passed"
    ask.error = None
    clock.now_s += 10.1
    assert remembered.get("q", ask) == 2


def test_an_error_holds_as_long_as_its_class_says(
    remembered: Remembered[str, int], ask: Question, clock: Clock
) -> None:
    ask.error = Busy("503")
    for _ in range(2):
        with pytest.raises(Busy):
            remembered.get("q", ask)
    assert ask.asked == 1
    ask.error = None
    clock.now_s += 1.1
    assert remembered.get("q", ask) == 2


def test_another_error_is_not_kept_and_the_last_answer_stays(
    remembered: Remembered[str, int], ask: Question, clock: Clock
) -> None:
    assert remembered.last("q") is None
    assert remembered.get("q", ask) == 1
    clock.now_s += 10.1
    for error in (Unavailable("down"), ModelNotFound("none")):
        ask.error = error
        with pytest.raises(type(error)):
            remembered.get("q", ask)
    assert ask.asked == 3
    assert remembered.last("q") == 1


def test_what_is_forgotten_is_asked_and_what_is_kept_is_not(remembered: Remembered[str, int], ask: Question) -> None:
    assert remembered.get("q", ask) == 1
    remembered.forget("q")
    assert remembered.get("q", ask) == 2
    remembered.keep("q", 7)
    assert remembered.get("q", ask) == 7
    assert ask.asked == 2


def test_no_more_answers_are_kept_than_fit(remembered: Remembered[str, int], ask: Question) -> None:
    for number in range(1000):
        remembered.get(str(number), ask)
    assert sum(remembered.last(str(number)) is not None for number in range(1000)) == 100
    assert sum(remembered.under_way(str(number)) is not None for number in range(1000)) == 100


def test_an_answer_that_was_asked_for_lately_outlasts_others(remembered: Remembered[str, int], ask: Question) -> None:
    remembered.get("first", ask)
    for number in range(99):
        remembered.get(f"{number}", ask)
    remembered.get("first", ask)
    remembered.get("one more", ask)
    asked = ask.asked
    remembered.get("first", ask)
    assert ask.asked == asked
    remembered.get("0", ask)
    assert ask.asked == asked + 1


def test_answers_that_hold_no_longer_take_no_room(
    remembered: Remembered[str, int], ask: Question, clock: Clock
) -> None:
    for number in range(100):
        remembered.get(f"{number}", ask)
    clock.now_s += 1000
    remembered.get("one more", ask)
    assert len(remembered._answers) == 1


def test_a_look_at_an_answer_that_holds_is_four_calls_of_functions(ask: Question) -> None:
    remembered: Remembered[str, int] = Remembered(Cancellation(), ttl_s=60, timeout_s=1)
    remembered.get("a", ask)
    assert calls_of(lambda: remembered.get("a", ask)) <= 5  # with the function that looks


def test_many_callers_ask_once_and_callers_who_come_later_not_at_all(remembered: Remembered[str, int]) -> None:
    go, asked = threading.Event(), []

    def ask() -> int:
        asked.append(1)
        assert go.wait(60)
        return 42

    with ThreadPoolExecutor(8) as callers:
        results = [callers.submit(remembered.get, "q", ask) for _ in range(8)]
        assert eventually(lambda: waiting_threads() == 7)
        go.set()
        assert [result.result(60) for result in results] == [42] * 8
    assert remembered.get("q", ask) == 42
    assert len(asked) == 1


def test_a_question_goes_on_behind_its_caller(remembered: Remembered[str, int], cancellation: Cancellation) -> None:
    go = threading.Event()

    def ask() -> int:
        assert go.wait(60)
        return 42

    assert remembered.under_way("q") is None
    first = remembered.behind("q", ask)
    assert remembered.behind("q", ask) is first is remembered.under_way("q")
    assert not first.done()
    with ThreadPoolExecutor(1) as callers:
        waits = callers.submit(remembered.get, "q", ask)
        go.set()
        assert waits.result(60) == first.result(60) == 42
    assert remembered.behind("q", ask).result(0) == 42
    cancelled = Remembered[str, int](cancellation, ttl_s=10, timeout_s=5)
    late = threading.Event()
    slow = cancelled.behind("q", lambda: int(late.wait(60)))
    cancellation.cancel()
    with pytest.raises(Cancelled):
        cancelled.get("q", ask)
    late.set()
    assert slow.result(60) == 1


def test_nobody_waits_for_another_callers_question_without_a_bound(clock: Clock) -> None:
    hasty: Remembered[str, int] = Remembered(Cancellation(), ttl_s=10, timeout_s=0.05, timer=clock)
    go = threading.Event()
    asked = hasty.behind("q", lambda: int(go.wait(60)))
    with pytest.raises(TimedOut, match="for q"):
        hasty.get("q", lambda: 2)
    go.set()
    assert asked.result(60) == 1
