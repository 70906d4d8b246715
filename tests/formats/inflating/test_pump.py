import threading
from collections.abc import Generator

import pytest

from hubfs.errors import Cancelled, Damaged
from hubfs.formats.inflating.pump import pumped
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually

MIB = 1 << 20


class Source:
    """Chunks of 1 MiB, counted; stops before chunk `gate` until the test opens it; ends with `error`, if any."""

    def __init__(self, count: int, *, gate: int | None = None, error: Exception | None = None) -> None:
        self.opened = threading.Event()
        self.pulled = 0
        self.closed = threading.Event()
        self.threads: set[str] = set()
        self._count, self._gate, self._error = count, gate, error

    def chunks(self) -> Generator[bytes, None, None]:
        try:
            for number in range(self._count):
                if number == self._gate:
                    assert self.opened.wait(60)
                self.pulled += 1
                self.threads.add(threading.current_thread().name)
                yield bytes([number]) * MIB
            if self._error is not None:
                raise self._error
        finally:
            self.closed.set()


def test_everything_comes_in_order_and_is_pulled_by_another_thread(cancellation: Cancellation) -> None:
    source = Source(20)
    got = [chunk[0] for chunk in pumped(source.chunks(), ahead=3, cancellation=cancellation)]
    assert got == list(range(20))
    assert source.threads == {"pump_0"}
    assert source.closed.is_set()


def test_no_more_is_pulled_than_agreed(cancellation: Cancellation) -> None:
    source = Source(20)
    output = pumped(source.chunks(), ahead=3, cancellation=cancellation)
    next(output)
    assert eventually(lambda: source.pulled == 4)  # one taken, three held
    assert not eventually(lambda: source.pulled > 4, 0.3)
    output.close()


def test_an_error_comes_behind_what_came_before_it(cancellation: Cancellation) -> None:
    output = pumped(Source(3, error=Damaged("cut")).chunks(), ahead=8, cancellation=cancellation)
    assert [next(output)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Damaged, match="cut"):
        next(output)


def test_closing_it_closes_the_source(cancellation: Cancellation) -> None:
    source = Source(20)
    output = pumped(source.chunks(), ahead=2, cancellation=cancellation)
    next(output)
    output.close()
    assert source.closed.wait(60)


def test_closing_it_does_not_wait_for_a_slow_source_and_closes_it_when_it_comes(cancellation: Cancellation) -> None:
    source = Source(20, gate=2)
    output = pumped(source.chunks(), ahead=8, cancellation=cancellation)
    next(output)
    assert eventually(lambda: source.pulled == 2)
    output.close()
    assert not source.closed.is_set()
    source.opened.set()
    assert source.closed.wait(60)
    assert source.pulled <= 3


def test_a_cancel_ends_the_wait_for_a_chunk(cancellation: Cancellation) -> None:
    slow = Source(20, gate=1)
    waiting = pumped(slow.chunks(), ahead=1, cancellation=cancellation)
    next(waiting)
    threading.Timer(0.2, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        next(waiting)
    slow.opened.set()
    assert slow.closed.wait(60)


def test_a_cancel_never_looks_like_the_end_of_the_chunks(cancellation: Cancellation) -> None:
    source = Source(20)
    output = pumped(source.chunks(), ahead=3, cancellation=cancellation)
    next(output)
    assert eventually(lambda: source.pulled == 4)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(output)
    assert source.closed.wait(60)
