from itertools import pairwise
from statistics import median

import pytest

from hubfs.blobs.streaming.ramp import FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES, Pace, Round

MB = 1_000_000
MOST = 16


class Line:
    """A line and a reader, simulated: `each` connection and `all_` of them have so many bytes per second at most."""

    def __init__(self, each: float, all_: float, latency_s: float, reader: float = 1e12) -> None:
        self.each, self.all, self.latency_s, self.reader = each, all_, latency_s, reader
        self.began_s = self.sent_bytes = 0.0

    def round(self, pace: Pace) -> Round:
        """As many pieces as there are connections, all at once."""
        size_bytes = pace.connections * pace.piece_bytes
        line_s = self.latency_s + size_bytes / min(pace.connections * self.each, self.all)
        took_s = max(line_s, size_bytes / self.reader)
        self.sent_bytes += size_bytes
        return Round(size_bytes, took_s, took_s - size_bytes / self.reader, self.latency_s)

    def paces(self, rounds: int) -> list[Pace]:
        paces = [Pace()]
        for _ in range(rounds):
            paces.append(paces[-1].after(self.round(paces[-1]), MOST))
        return paces


def test_the_first_piece_comes_alone_and_is_small() -> None:
    assert Pace().connections == 1
    assert Pace().room(0, 0) == 1
    assert Pace().piece_bytes == FIRST_PIECE_BYTES


def test_where_each_connection_is_slow_all_are_used_soon() -> None:
    line = Line(each=50 * MB, all_=2000 * MB, latency_s=0.02)
    paces = line.paces(4)
    assert [pace.connections for pace in paces] == [1, 2, 4, 8, 16]
    assert line.sent_bytes <= 6 * LARGEST_PIECE_BYTES


def test_all_connections_stay_in_use_and_their_pieces_become_large() -> None:
    paces = Line(each=50 * MB, all_=2000 * MB, latency_s=0.02).paces(50)
    assert {pace.connections for pace in paces[4:]} == {MOST}
    assert paces[-1].piece_bytes == LARGEST_PIECE_BYTES


def test_a_line_that_one_connection_fills_is_left_to_one_and_tried_ever_more_rarely() -> None:
    paces = Line(each=2 * MB, all_=2 * MB, latency_s=0.02).paces(100)
    assert max(pace.connections for pace in paces) == 2
    doubled = [number for number, pace in enumerate(paces) if pace.connections == 2]
    assert doubled[0] == 4  # the first bytes come alone
    assert len(doubled) <= 9
    gaps = [later - earlier for earlier, later in pairwise(doubled)]
    assert gaps == sorted(gaps)


def test_pieces_of_a_slow_line_are_small_enough_to_come_soon() -> None:
    paces = Line(each=2 * MB, all_=2 * MB, latency_s=0.02).paces(20)
    assert max(pace.piece_bytes for pace in paces) <= 1 * MB


@pytest.mark.parametrize("all_", [60 * MB, 125 * MB, 300 * MB])
def test_a_line_that_some_fill_is_left_to_about_so_many(all_: float) -> None:
    paces = Line(each=50 * MB, all_=all_, latency_s=0.02).paces(60)
    settled = median(pace.connections for pace in paces[20:])  # now and then twice as many are tried
    assert 0.7 * all_ <= settled * 50 * MB <= 2 * all_


def test_latency_is_hidden_on_a_line_that_one_connection_fills_while_bytes_come() -> None:
    paces = Line(each=125 * MB, all_=125 * MB, latency_s=0.02).paces(60)
    assert median(pace.connections for pace in paces[20:]) == 2


def test_a_reader_that_does_not_wait_gets_no_more_connections() -> None:
    paces = Line(each=50 * MB, all_=2000 * MB, latency_s=0.0, reader=40 * MB).paces(30)
    assert {pace.connections for pace in paces[2:]} <= {1, 2}


def test_pieces_that_come_at_once_become_larger_and_not_more() -> None:
    paces = Line(each=2000 * MB, all_=2000 * MB, latency_s=0.0005).paces(30)
    assert {pace.connections for pace in paces} == {1}
    assert paces[-1].piece_bytes == LARGEST_PIECE_BYTES


def test_a_host_that_refuses_gets_half_as_many() -> None:
    pace = Pace(connections=8, piece_bytes=LARGEST_PIECE_BYTES)
    refused = Round(8 * MB, 1.0, 1.0, refused=True)
    after = pace.after(refused, MOST)
    assert after.connections == 4
    assert after.patience_rounds == 2 * pace.patience_rounds
    assert Pace().after(refused, MOST).connections == 1


def test_there_are_never_more_than_the_most() -> None:
    pace = Pace()
    for _ in range(20):
        pace = pace.after(Round(10 * MB * pace.connections, 1.0, 1.0), 3)
        assert pace.connections <= 3
    assert pace.connections == 3


@pytest.mark.parametrize(
    ("under_way", "held", "room"), [(0, 0, 4), (1, 1, 3), (4, 4, 0), (3, 4, 1), (0, 5, 0), (2, 5, 0), (0, 4, 1)]
)
def test_the_room_is_what_connections_and_window_leave(under_way: int, held: int, room: int) -> None:
    assert Pace(connections=4).room(under_way, held) == room
