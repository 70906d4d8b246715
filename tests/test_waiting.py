import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from hubfs.errors import Cancelled, TimedOut, Unavailable
from hubfs.waiting import Cancellation, GaveUp, SingleFlight, await_result
from tests.support.waiting import Stopwatch, eventually, waiting_threads


def soon(act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.05, act)
    timer.start()
    return timer


def test_check_raises_from_the_cancel_on(cancellation: Cancellation) -> None:
    cancellation.check()
    assert not cancellation.cancelled
    cancellation.cancel()
    assert cancellation.cancelled
    with pytest.raises(Cancelled):
        cancellation.check()


def test_sleep_lasts_as_long_as_it_should_and_ends_at_once_on_cancel(cancellation: Cancellation) -> None:
    started_s = time.monotonic()
    cancellation.sleep(0.05)
    assert time.monotonic() - started_s >= 0.05
    timer = soon(cancellation.cancel)
    with pytest.raises(Cancelled):
        cancellation.sleep(200)
    assert time.monotonic() - started_s < 100
    timer.join()


def test_callbacks_run_once_in_the_thread_that_cancels(cancellation: Cancellation) -> None:
    ran: list[int] = []
    cancellation.on_cancel(lambda: ran.append(threading.get_ident()))
    cancellation.on_cancel(lambda: ran.append(threading.get_ident()))
    cancellation.cancel()
    cancellation.cancel()
    assert ran == [threading.get_ident()] * 2


def test_a_callback_that_was_taken_back_does_not_run(cancellation: Cancellation) -> None:
    ran: list[str] = []
    same = ran.append
    take_back = cancellation.on_cancel(lambda: same("taken back"))
    cancellation.on_cancel(lambda: same("kept"))
    take_back()
    take_back()
    cancellation.cancel()
    take_back()
    assert ran == ["kept"]


def test_a_callback_that_comes_too_late_runs_at_once(cancellation: Cancellation) -> None:
    cancellation.cancel()
    ran: list[bool] = []
    cancellation.on_cancel(lambda: ran.append(True))()
    assert ran == [True]


def test_a_callback_may_use_the_cancellation(cancellation: Cancellation) -> None:
    seen: list[bool] = []

    def callback() -> None:
        cancellation.on_cancel(lambda: seen.append(cancellation.cancelled))

    cancellation.on_cancel(callback)
    cancellation.cancel()
    assert seen == [True]


def registered_in_a_race_with_the_cancel() -> list[bool]:
    cancellation = Cancellation()
    ran: list[bool] = []
    start = threading.Barrier(2)

    def register() -> None:
        start.wait(60)
        cancellation.on_cancel(lambda: ran.append(True))

    thread = threading.Thread(target=register)
    thread.start()
    start.wait(60)
    cancellation.cancel()
    thread.join()
    return ran


def test_every_callback_runs_once_however_it_races_with_the_cancel() -> None:
    assert all(registered_in_a_race_with_the_cancel() == [True] for _ in range(200))


def test_wait_for_ends_when_it_is_notified(cancellation: Cancellation) -> None:
    condition, done = threading.Condition(), []

    def finish() -> None:
        with condition:
            done.append(True)
            condition.notify_all()

    timer = soon(finish)
    with condition:
        cancellation.wait_for(condition, lambda: bool(done), 60, "it")
    timer.join()


def test_wait_for_notices_what_nobody_announced(cancellation: Cancellation) -> None:
    condition, done = threading.Condition(), []
    timer = soon(lambda: done.append(True))
    with condition:
        cancellation.wait_for(condition, lambda: bool(done), 60, "it")
    timer.join()


def test_wait_for_ends_after_its_bound_and_says_what_it_waited_for(cancellation: Cancellation) -> None:
    condition = threading.Condition()
    started_s, watch = time.monotonic(), Stopwatch()
    with condition, pytest.raises(TimedOut, match=r"waited 0\.1 s for bytes of a/b"):
        cancellation.wait_for(condition, lambda: False, 0.1, "bytes of a/b")
    assert time.monotonic() - started_s >= 0.1
    assert watch.took_s() < 5


def test_wait_for_looks_for_a_cancel_four_times_a_second(cancellation: Cancellation) -> None:
    waited_s = []

    class Watched(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waited_s.append(timeout)
            return super().wait(timeout)

    timer = soon(cancellation.cancel)
    condition = Watched()
    with condition, pytest.raises(Cancelled):
        cancellation.wait_for(condition, lambda: False, 30, "it")
    assert waited_s
    assert set(waited_s) == {0.25}
    timer.join()


def test_what_is_there_already_is_not_waited_for_even_when_cancelled(cancellation: Cancellation) -> None:
    cancellation.cancel()
    condition = threading.Condition()
    with condition:
        cancellation.wait_for(condition, lambda: True, 0, "it")


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
        assert self.go.wait(60)
        if self._error is not None:
            raise self._error
        return 42


def test_16_callers_with_one_key_work_once(flights: SingleFlight[str, int]) -> None:
    work = Work()
    with ThreadPoolExecutor(16) as callers:
        results = [callers.submit(flights.run, "k", work) for _ in range(16)]
        assert work.begun.wait(60)
        assert eventually(lambda: waiting_threads() == 15)
        work.go.set()
        assert [result.result(timeout=60) for result in results] == [42] * 16
    assert work.calls == 1


def test_other_keys_do_not_wait(flights: SingleFlight[str, int]) -> None:
    work = Work()
    with ThreadPoolExecutor(1) as caller:
        caller.submit(flights.run, "slow", work)
        assert work.begun.wait(60)
        assert flights.run("quick", lambda: 7) == 7
        work.go.set()


def test_an_error_reaches_all_and_the_next_caller_works_anew(flights: SingleFlight[str, int]) -> None:
    work = Work(Unavailable("no route"))
    with ThreadPoolExecutor(8) as callers:
        results = [callers.submit(flights.run, "k", work) for _ in range(8)]
        assert work.begun.wait(60)
        assert eventually(lambda: waiting_threads() == 7)
        work.go.set()
        assert {str(result.exception(timeout=10)) for result in results} == {"no route"}
    assert work.calls == 1
    assert flights.run("k", lambda: 1) == 1


def test_who_waits_for_work_that_gives_up_works_anew(flights: SingleFlight[str, int]) -> None:
    ahead = Work(GaveUp("busy"))
    with ThreadPoolExecutor(9) as callers:
        first = callers.submit(flights.run, "k", ahead)
        assert ahead.begun.wait(60)
        readers = [callers.submit(flights.run, "k", lambda: 7) for _ in range(8)]
        assert eventually(lambda: waiting_threads() == 8)
        ahead.go.set()
        assert isinstance(first.exception(timeout=60), GaveUp)
        assert {reader.result(60) for reader in readers} == {7}
    assert ahead.calls == 1


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
        assert work.begun.wait(60)
        with pytest.raises(TimedOut, match="google/spice/2"):
            flights.run("google/spice/2", work)
        work.go.set()
        assert first.result(timeout=60) == 42


def test_a_cancel_ends_those_who_wait(flights: SingleFlight[str, int], cancellation: Cancellation) -> None:
    work = Work()
    with ThreadPoolExecutor(2) as callers:
        callers.submit(flights.run, "k", work)
        assert work.begun.wait(60)
        waiter = callers.submit(flights.run, "k", work)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            waiter.result(timeout=60)
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
