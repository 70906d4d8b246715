import random
import threading
import time
from collections.abc import Callable

import pytest

from hubfs.blobs.http.blob import RangesIgnored
from hubfs.blobs.retry import Busy
from hubfs.blobs.streaming.ramp import FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES, Pace
from hubfs.blobs.streaming.stream import RangedStream
from hubfs.errors import Cancelled, Damaged, Stale, TimedOut, Unavailable
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation
from tests.support.http_clients import QUICK
from tests.support.ranges import ScriptedRanges
from tests.support.waiting import Stopwatch, eventually

DATA = random.Random(11).randbytes(12_345_678)


class Budget(MemoryBudget):
    """Remembers how much was taken at most."""

    most_taken_bytes = 0

    def try_take(self, size_bytes: int) -> bool:
        took = super().try_take(size_bytes)
        self.most_taken_bytes = max(self.most_taken_bytes, self.taken_bytes)
        return took


@pytest.fixture
def ranges() -> ScriptedRanges:
    return ScriptedRanges(DATA)


@pytest.fixture
def at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams begin with four connections, and stay there: what is tested is not the ramp."""
    monkeypatch.setattr(Pace, "after", lambda self, passed, most: self)
    monkeypatch.setattr("hubfs.blobs.streaming.stream.Pace", lambda: Pace(connections=4, piece_bytes=1_000_000))


def stream_of(ranges: ScriptedRanges, cancellation: Cancellation | None = None, **options: object) -> RangedStream:
    return RangedStream(ranges, retry=QUICK, cancellation=cancellation or Cancellation(), **options)  # type: ignore[arg-type]


def range_threads() -> int:
    return sum(thread.name.startswith("hubfs-range") for thread in threading.enumerate())


def failing(offset_bytes: int, error: Exception, times: int = 10**6) -> Callable[[int], None]:
    """So many ranges from `offset_bytes` on raise `error`."""
    left = [times]

    def fault(offset: int) -> None:
        if offset >= offset_bytes and left[0] > 0:
            left[0] -= 1
            raise error

    return fault


def test_it_yields_all_bytes_once_in_their_order_and_again(ranges) -> None:
    stream = stream_of(ranges)
    assert (stream.url, stream.size_bytes) == (ranges.url, len(DATA))
    assert b"".join(stream.chunks()) == DATA
    assert b"".join(stream.chunks()) == DATA


def test_ranges_follow_each_other_without_gap_or_overlap(ranges) -> None:
    list(stream_of(ranges).chunks())
    asked = sorted(ranges.begun)
    assert [start for start, _ in asked] == [0, *(end for _, end in asked[:-1])]
    assert asked[0] == (0, FIRST_PIECE_BYTES)
    assert asked[-1][1] == len(DATA)
    assert max(end - start for start, end in asked) <= LARGEST_PIECE_BYTES


def test_nothing_is_asked_of_an_empty_object() -> None:
    ranges = ScriptedRanges(b"")
    assert list(stream_of(ranges).chunks()) == []
    assert ranges.begun == []


def test_the_first_bytes_leave_before_their_piece_is_whole(ranges) -> None:
    ranges.pause_from(1 << 16)
    chunks = stream_of(ranges).chunks()
    assert next(chunks) == DATA[: 1 << 16]
    assert ranges.under_way == 1
    chunks.close()


def test_nothing_begins_before_the_first_byte_is_wanted(ranges) -> None:
    stream_of(ranges).chunks()
    time.sleep(0.1)
    assert ranges.begun == []


@pytest.mark.usefixtures("at_full_speed")
def test_pieces_come_at_the_same_time_and_wait_for_their_turn(ranges) -> None:
    held = threading.Event()

    def first_waits(offset_bytes: int) -> None:
        if offset_bytes == 0:
            assert held.wait(60)

    ranges.fault = first_waits
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(stream_of(ranges).chunks()))
    reader.start()
    # four connections: one waits, the others bring one more piece each but the last, for which there is no room
    assert eventually(lambda: len(ranges.begun) == 5)
    assert eventually(lambda: ranges.under_way == 0)
    time.sleep(0.1)
    assert len(ranges.begun) == 5
    assert got == []
    held.set()
    reader.join(60)
    assert b"".join(got) == DATA


@pytest.mark.usefixtures("at_full_speed")
def test_a_reader_that_stops_is_not_run_away_from(ranges) -> None:
    chunks = stream_of(ranges).chunks()
    next(chunks)
    time.sleep(0.3)
    assert max(end for _, end in ranges.begun) <= 5_000_000
    assert ranges.most_under_way <= 4
    assert b"".join(chunks) == DATA[1 << 16 :]
    assert ranges.most_under_way <= 4


@pytest.mark.usefixtures("at_full_speed")
def test_what_is_held_is_within_the_allowance_and_given_back(ranges) -> None:
    budget = Budget(2_500_000)
    assert b"".join(stream_of(ranges, allowance=budget).chunks()) == DATA
    assert 1_000_000 < budget.most_taken_bytes <= 2_500_000
    assert budget.taken_bytes == 0


@pytest.mark.usefixtures("at_full_speed")
def test_without_any_allowance_one_piece_at_a_time_comes_all_the_same(ranges) -> None:
    assert b"".join(stream_of(ranges, allowance=Budget(0)).chunks()) == DATA
    assert ranges.most_under_way == 1


@pytest.mark.usefixtures("at_full_speed")
def test_closing_gives_back_the_allowance_and_ends_transfers_and_threads_at_once(ranges) -> None:
    budget = Budget(10_000_000)
    ranges.pause_from(1 << 16)
    chunks = stream_of(ranges, allowance=budget).chunks()
    next(chunks)
    assert eventually(lambda: ranges.under_way == 4)
    watch = Stopwatch()
    chunks.close()
    assert watch.took_s() < 5
    assert budget.taken_bytes == 0
    assert eventually(lambda: ranges.under_way == 0 and range_threads() == 0)
    assert ranges.given_up == 4


def test_the_threads_end_with_the_stream(ranges) -> None:
    list(stream_of(ranges).chunks())
    assert eventually(lambda: range_threads() == 0)


@pytest.mark.usefixtures("at_full_speed")
def test_a_cancel_ends_a_wait_and_every_transfer(ranges) -> None:
    cancellation = Cancellation()
    ranges.pause_from(0)
    timer = threading.Timer(0.2, cancellation.cancel)
    timer.start()
    watch = Stopwatch()
    with pytest.raises(Cancelled):
        list(stream_of(ranges, cancellation).chunks())
    assert watch.took_s() < 20
    assert eventually(lambda: ranges.under_way == 0 and range_threads() == 0)
    timer.join()


@pytest.mark.usefixtures("at_full_speed")
@pytest.mark.parametrize("error", [Unavailable("broke"), TimedOut("silent"), Busy("not now")])
@pytest.mark.parametrize("place", [0, 1_000_000, 9_000_000])
def test_a_passing_error_is_passed_over(ranges, error, place: int) -> None:
    ranges.fault = failing(place, error, times=2)
    assert b"".join(stream_of(ranges).chunks()) == DATA


@pytest.mark.usefixtures("at_full_speed")
def test_a_host_that_takes_one_request_at_a_time_is_read_to_the_end(ranges) -> None:
    def one_at_a_time(_: int) -> None:
        if ranges.under_way:
            raise Busy("too many connections")

    ranges.fault = one_at_a_time
    assert b"".join(stream_of(ranges).chunks()) == DATA


@pytest.mark.usefixtures("at_full_speed")
@pytest.mark.parametrize("error", [Unavailable("gone for good"), Stale("another one"), Damaged("wrong")])
def test_what_came_before_an_error_is_yielded_before_it_is_raised(ranges, error) -> None:
    ranges.fault = failing(3_000_000, error)
    got: list[bytes] = []
    with pytest.raises(type(error), match=str(error)):
        got.extend(stream_of(ranges).chunks())
    assert b"".join(got) == DATA[:3_000_000]
    assert eventually(lambda: range_threads() == 0)


@pytest.mark.usefixtures("at_full_speed")
def test_an_error_that_lasts_is_raised_after_as_many_attempts_as_the_policy_says(ranges) -> None:
    ranges.fault = failing(0, Unavailable("gone"))
    with pytest.raises(Unavailable, match="gone"):
        list(stream_of(ranges).chunks())
    assert sum(start == 0 for start, _ in ranges.begun) == QUICK.attempts


@pytest.mark.usefixtures("at_full_speed")
def test_behind_a_range_that_is_refused_for_good_nothing_more_is_asked(ranges) -> None:
    ranges.fault = failing(2_000_000, RangesIgnored("no ranges here"))
    got: list[bytes] = []
    with pytest.raises(RangesIgnored):
        got.extend(stream_of(ranges).chunks())
    assert b"".join(got) == DATA[:2_000_000]
    assert len(ranges.begun) <= 6


def test_a_fault_of_our_own_is_raised_where_the_bytes_are_read(ranges) -> None:
    ranges.fault = failing(FIRST_PIECE_BYTES, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        list(stream_of(ranges).chunks())


@pytest.mark.usefixtures("at_full_speed")
def test_a_range_that_keeps_ending_early_is_damage(ranges) -> None:
    ranges.data = DATA[:2_500_000]  # and the size that was announced stays
    got: list[bytes] = []
    with pytest.raises(Damaged, match=f"ended after 2500000 of {len(DATA)} bytes"):
        got.extend(stream_of(ranges).chunks())
    assert b"".join(got) == DATA[:2_500_000]


def test_two_readings_do_not_disturb_each_other(ranges) -> None:
    stream = stream_of(ranges)
    one, other = stream.chunks(), stream.chunks()
    head = next(other)
    assert b"".join(one) == DATA
    assert head + b"".join(other) == DATA
