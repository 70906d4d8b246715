import errno
import threading

import pytest

from hubfs.fuse.counts import OperationCounts
from hubfs.metrics.durations import BOUNDS_S, Durations, Timings


def test_operations_are_counted_by_name_and_errno() -> None:
    counts = OperationCounts()
    counts.add("read", 0, 0.0005, 100)
    counts.add("read", errno.EHOSTUNREACH, 61.0)
    counts.add("lookup", errno.ENOENT, 0.0, 8)
    found = counts.stats()
    assert (found["read"].count, found["read"].errors) == (2, {"EHOSTUNREACH": 1})
    assert (found["lookup"].count, found["lookup"].errors) == (1, {"ENOENT": 1})
    assert counts.read_bytes == 100
    duration = found["read"].duration
    assert duration.counts[BOUNDS_S.index(0.0005)] == 1, "a bound belongs to its class"
    assert duration.counts[-1] == 1
    assert duration.sum_s == pytest.approx(61.0005)


def test_operations_of_a_binding_are_counted() -> None:
    counts = OperationCounts()

    def refuse() -> bytes:
        raise OSError(errno.EROFS, "read-only")

    assert counts.timed("read", lambda: b"four")() == b"four"
    with pytest.raises(OSError, match="read-only"):
        counts.timed("unlink", refuse)()
    found = counts.stats()
    assert (found["read"].count, counts.read_bytes) == (1, 4)
    assert found["unlink"].errors == {"EROFS": 1}


def test_nothing_is_lost_between_threads() -> None:
    counts = OperationCounts()

    def count() -> None:
        for _ in range(5000):
            counts.add("read", errno.EIO, 0.001, 1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = counts.stats()["read"]
    assert (found.count, found.errors, counts.read_bytes) == (40_000, {"EIO": 40_000}, 40_000)


def test_durations_add_up() -> None:
    timings = Timings()
    timings.add(0.2)
    twice = timings.so_far() + timings.so_far() + Durations()
    assert (twice.count, twice.sum_s) == (2, 0.4)
