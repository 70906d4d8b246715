import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hubfs.errors import Cancelled, TimedOut, Unavailable
from hubfs.waiting import Cancellation, SingleFlight, await_result
from tests.support.waiting import eventually, waiting_threads


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


@pytest.fixture
def flights(cancellation: Cancellation) -> SingleFlight[str, int]:
    return SingleFlight(cancellation, timeout_s=10)


class Work:
    """Counts its calls, and ends when it is let go."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self._error = error

    def __call__(self) -> int:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(10)
        if self._error is not None:
            raise self._error
        return 42


def test_16_callers_with_one_key_work_once(flights: SingleFlight[str, int]) -> None:
    work = Work()
    with ThreadPoolExecutor(16) as callers:
        results = [callers.submit(flights.run, "k", work) for _ in range(16)]
        assert work.begun.wait(10)
        assert eventually(lambda: waiting_threads() == 15)
        work.go.set()
        assert [result.result(timeout=10) for result in results] == [42] * 16
    assert work.calls == 1


def test_other_keys_do_not_wait(flights: SingleFlight[str, int]) -> None:
    work = Work()
    with ThreadPoolExecutor(1) as caller:
        caller.submit(flights.run, "slow", work)
        assert work.begun.wait(10)
        assert flights.run("quick", lambda: 7) == 7
        work.go.set()


def test_an_error_reaches_all_and_the_next_caller_works_anew(flights: SingleFlight[str, int]) -> None:
    work = Work(Unavailable("no route"))
    with ThreadPoolExecutor(8) as callers:
        results = [callers.submit(flights.run, "k", work) for _ in range(8)]
        assert work.begun.wait(10)
        assert eventually(lambda: waiting_threads() == 7)
        work.go.set()
        assert {str(result.exception(timeout=10)) for result in results} == {"no route"}
    assert work.calls == 1
    assert flights.run("k", lambda: 1) == 1


def test_who_hears_of_an_error_and_tries_again_at_once_works_anew(flights: SingleFlight[str, int]) -> None:
    failures: dict[int, int] = {}

    def fail_once(number: int) -> int:
        failures[number] = failures.get(number, 0) + 1
        time.sleep(0.001)
        if failures[number] == 1:
            raise Unavailable("for a moment")
        return number

    def persist(number: int) -> bool:
        for _ in range(2):
            try:
                return flights.run(str(number), lambda: fail_once(number)) == number
            except Unavailable:  # noqa: PERF203 - the loop is for this
                continue
        return False

    with ThreadPoolExecutor(16) as callers:
        assert all(callers.map(persist, [number for number in range(30) for _ in range(16)]))


def test_the_result_is_not_kept(flights: SingleFlight[str, int]) -> None:
    assert [flights.run("k", lambda value=value: value) for value in (1, 2)] == [1, 2]  # type: ignore[misc]


def test_work_may_ask_for_another_key(flights: SingleFlight[str, int]) -> None:
    assert flights.run("a", lambda: flights.run("b", lambda: 3)) == 3


def test_who_waits_gives_up_after_the_bound_and_the_worker_goes_on(cancellation: Cancellation) -> None:
    flights: SingleFlight[str, int] = SingleFlight(cancellation, timeout_s=0.1)
    work = Work()
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(flights.run, "google/spice/2", work)
        assert work.begun.wait(10)
        with pytest.raises(TimedOut, match="google/spice/2"):
            flights.run("google/spice/2", work)
        work.go.set()
        assert first.result(timeout=10) == 42


def test_a_cancel_ends_those_who_wait(flights: SingleFlight[str, int], cancellation: Cancellation) -> None:
    work = Work()
    with ThreadPoolExecutor(2) as callers:
        callers.submit(flights.run, "k", work)
        assert work.begun.wait(10)
        waiter = callers.submit(flights.run, "k", work)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            waiter.result(timeout=10)
        work.go.set()


@pytest.mark.parametrize("error", [TimeoutError("the work's own"), KeyboardInterrupt(), SystemExit(3)])
def test_whatever_the_work_raises_is_handed_on(cancellation: Cancellation, error: BaseException) -> None:
    future: Future[int] = Future()
    future.set_exception(error)
    with pytest.raises(type(error)) as caught:
        await_result(future, cancellation, 1, "it")
    assert caught.value is error


def test_a_result_that_is_there_needs_no_time(cancellation: Cancellation) -> None:
    future: Future[int] = Future()
    future.set_result(5)
    assert await_result(future, cancellation, 0, "it") == 5
