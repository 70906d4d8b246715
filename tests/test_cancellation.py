import threading
import time
from collections.abc import Callable

import pytest

from hubfs.errors import Cancelled, TimedOut
from hubfs.waiting import Cancellation


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


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
        cancellation.sleep(30)
    assert time.monotonic() - started_s < 5
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
        start.wait(5)
        cancellation.on_cancel(lambda: ran.append(True))

    thread = threading.Thread(target=register)
    thread.start()
    start.wait(5)
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
        cancellation.wait_for(condition, lambda: bool(done), 10, "it")
    timer.join()


def test_wait_for_notices_what_nobody_announced(cancellation: Cancellation) -> None:
    condition, done = threading.Condition(), []
    timer = soon(lambda: done.append(True))
    with condition:
        cancellation.wait_for(condition, lambda: bool(done), 10, "it")
    timer.join()


def test_wait_for_ends_after_its_bound_and_says_what_it_waited_for(cancellation: Cancellation) -> None:
    condition = threading.Condition()
    started_s = time.monotonic()
    with condition, pytest.raises(TimedOut, match=r"waited 0\.1 s for bytes of a/b"):
        cancellation.wait_for(condition, lambda: False, 0.1, "bytes of a/b")
    assert 0.1 <= time.monotonic() - started_s < 5


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
