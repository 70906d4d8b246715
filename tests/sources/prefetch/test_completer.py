"""A file that was read in order is completed behind its reader."""

import threading
from collections.abc import Iterator

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.cache.ahead import ReadAheadBlob, ReadAheadPolicy
from hubfs.errors import Unavailable
from hubfs.sources.prefetch import completer as module
from hubfs.sources.prefetch.completer import Completer, Completion
from hubfs.waiting import Cancellation
from tests.support.waiting import eventually

MIB = 1 << 20
SIZE_BYTES = 20 * MIB


class Remote(MemoryBlob):
    """Notes how far it was asked to prefetch; `room_bytes` a call are admitted."""

    def __init__(self, room_bytes: int = SIZE_BYTES) -> None:
        super().__init__("remote", bytes(SIZE_BYTES))
        self.room_bytes = room_bytes
        self.reached_bytes = 0
        self.error: Exception | None = None

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        if self.error is not None:
            raise self.error
        self.reached_bytes = offset_bytes + min(size_bytes, self.room_bytes)
        return self.reached_bytes


class Held:
    """Whether a model is held, and whether its file is whole."""

    def __init__(self, blob: Remote, *, becomes_whole: bool = True) -> None:
        self.released = threading.Event()
        self.looks = 0
        self.is_settled = True
        self._blob = blob
        self._becomes_whole = becomes_whole

    def is_whole(self) -> bool:
        self.looks += 1
        return self._becomes_whole and self.is_settled and self._blob.reached_bytes == SIZE_BYTES

    def settle(self) -> None:
        assert self._blob.reached_bytes == SIZE_BYTES
        self.is_settled = True

    def completion(self) -> Completion:
        return Completion(self._blob, self.is_whole, self.settle, self.released.set)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK_S", 0.001)


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    cancellation = Cancellation()
    yield cancellation
    cancellation.cancel()
    assert eventually(lambda: not any(thread.name == "complete" for thread in threading.enumerate()))


@pytest.fixture
def completer(cancellation: Cancellation) -> Completer:
    return Completer(cancellation)


def test_everything_is_asked_for_as_room_allows_and_held_meanwhile(completer: Completer) -> None:
    blob = Remote(room_bytes=3 * MIB)
    held = Held(blob)
    completer.complete(held.completion())
    assert held.released.wait(60)
    assert blob.reached_bytes == SIZE_BYTES
    assert held.is_whole()


def test_blocks_that_memory_alone_has_are_brought_to_disk(completer: Completer) -> None:
    """They came while the disk kept nothing, and nobody fetches them again as long as they are there."""
    held = Held(Remote(room_bytes=3 * MIB))
    held.is_settled = False
    completer.complete(held.completion())
    assert held.released.wait(60)
    assert held.is_settled


def test_a_file_that_is_whole_is_asked_for_nothing(completer: Completer) -> None:
    blob = Remote()
    blob.reached_bytes, blob.error = SIZE_BYTES, AssertionError("it was asked")
    held = Held(blob)
    completer.complete(held.completion())
    assert held.released.wait(60)
    assert held.looks == 1


@pytest.mark.parametrize("room_bytes", [0, SIZE_BYTES])
def test_it_is_given_up_where_there_is_no_progress(
    cancellation: Cancellation, room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of memory, or since the disk keeps nothing."""
    monkeypatch.setattr(module, "_IN_VAIN_S", 0.05)
    held = Held(Remote(room_bytes), becomes_whole=False)
    Completer(cancellation).complete(held.completion())
    assert held.released.wait(60)


@pytest.mark.parametrize("error", [Unavailable("nobody answers"), RuntimeError("a mistake")])
def test_an_error_ends_one_and_the_next_goes_on(completer: Completer, error: Exception) -> None:
    broken, blob = Remote(), Remote()
    broken.error = error
    first, second = Held(broken), Held(blob)
    completer.complete(first.completion())
    completer.complete(second.completion())
    assert first.released.wait(60)
    assert second.released.wait(60)
    assert blob.reached_bytes == SIZE_BYTES


def test_the_end_of_the_mount_ends_it_and_every_hold(cancellation: Cancellation) -> None:
    completer = Completer(cancellation)
    held = [Held(Remote(room_bytes=0)) for _ in range(module._MOST + 5)]
    for one in held:
        completer.complete(one.completion())
    cancellation.cancel()
    assert all(one.released.wait(60) for one in held)


def test_more_than_a_line_is_left_to_the_next_reader(completer: Completer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 0)
    held = Held(Remote())
    completer.complete(held.completion())
    assert held.released.is_set()
    assert not held.looks


@pytest.mark.parametrize(
    ("reads", "in_order"),
    [
        ([range(SIZE_BYTES)], True),
        ([range(at, at + MIB) for at in range(0, SIZE_BYTES, MIB)], True),
        ([range(at, at + MIB) for at in range(SIZE_BYTES // 2, SIZE_BYTES, MIB)], True),
        ([range(at, at + MIB) for at in range(0, SIZE_BYTES - MIB, MIB)], False),  # not to the end
        ([range(SIZE_BYTES - MIB, SIZE_BYTES)], False),  # the end alone
        ([range(MIB), range(SIZE_BYTES - MIB, SIZE_BYTES)], False),
        ([range(at, at + MIB) for at in reversed(range(0, SIZE_BYTES, MIB))], False),
        ([], False),
    ],
)
def test_what_counts_as_read_in_order(reads: list[range], *, in_order: bool) -> None:
    view = ReadAheadBlob(Remote(), ReadAheadPolicy())
    for one in reads:
        view.read_at(one.start, len(one))
    assert view.was_read_in_order is in_order
