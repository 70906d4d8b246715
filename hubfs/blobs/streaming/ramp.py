"""How many connections a `RangedStream` uses, and how large the pieces are that it asks for: pure.

It begins with one connection, because on a line that one fills others only make the bytes that are wanted now wait for
those that are wanted later. The number doubles as long as that brings more bytes a second, and only while the reader
waits for bytes; when it brought nothing, the last doubling is taken back, and tried again later, ever more rarely.
"""

from dataclasses import dataclass, replace

FIRST_PIECE_BYTES = 256 << 10
LARGEST_PIECE_BYTES = 4 << 20
"""At 400 Mbit/s this takes 84 ms: beside it a round trip of 20 ms hardly counts, and sixteen of them are 64 MiB."""

LARGEST_ALONE_BYTES = 16 << 20
"""... while one connection brings more than the reader takes: over loopback 407 MB in pieces of 4 MiB cost 0.28 s of
processor time, and 0.08 s in one transfer."""

PIECE_S = 0.5
"""Bytes behind a piece that is late are held back: on a slow line pieces are smaller, down to the first one's size."""

_WORTH_IT = 1.2
"""Twice the connections that bring less than a fifth more than before share a line that is full."""

_WAITING = 0.1
"""A reader that waits for less of its time than this is the slower one."""

_QUICK_S = 0.005
"""A round that is over so soon is not the line's work, but that of the requests and the processors (4 MiB in it are
840 MB/s): larger pieces help, more connections do not. Over loopback they would cost three times the CPU."""

_SLOW_PATIENCE_ROUNDS = 4
"""Where a large piece takes longer than `PIECE_S`, the first bytes come alone: two connections on a line of 16 Mbit/s
brought the first MB after 0.9-1.6 s, one after 0.5 s."""

_MOST_PATIENCE_ROUNDS = 16


@dataclass(frozen=True)
class Round:
    """What happened while as many pieces came in as there are connections.

    `waited_s` is how much of `took_s` the reader waited for bytes, `latency_s` how long a piece took to begin, on
    average; `refused` says that the host could not take one more request.
    """

    received_bytes: int
    took_s: float
    waited_s: float
    latency_s: float = 0.0
    refused: bool = False

    def rate(self, connections: int) -> float:
        """Bytes per second that so many connections would bring in pieces of the largest size.

        Pieces grow beside the connections, and latency counts for ever less: rounds are compared as if they had grown
        already. It does count: on a line of 1 Gbit/s a piece of 4 MiB takes 34 ms, and a single connection waits for
        20 ms more before each.
        """
        while_they_came = self.received_bytes / max(self.took_s - self.latency_s, self.took_s / 4, 1e-6)
        large_bytes = connections * LARGEST_PIECE_BYTES
        return large_bytes / (self.latency_s + large_bytes / max(while_they_came, 1e-6))


@dataclass(frozen=True)
class Pace:
    """`connections` that may be busy at a time, and `piece_bytes`, the size of the next piece.

    `before` is the rate (bytes per second) that the last doubling has to beat, None if it is not on trial; after
    `patience_rounds` without a trial comes the next one.
    """

    connections: int = 1
    piece_bytes: int = FIRST_PIECE_BYTES
    before: float | None = None
    patience_rounds: int = 1
    held_rounds: int = 0

    def after(self, passed: Round, most_connections: int) -> "Pace":
        """The pace of the next round."""
        rate = passed.rate(self.connections)
        waited = passed.waited_s >= _WAITING * passed.took_s  # else the rate is the reader's
        most_bytes = LARGEST_ALONE_BYTES if self.connections == 1 and not waited else LARGEST_PIECE_BYTES
        fitting_bytes = int(rate / self.connections * PIECE_S) if waited else most_bytes
        largest_bytes = min(2 * self.piece_bytes, most_bytes, fitting_bytes)
        held = replace(self, piece_bytes=max(FIRST_PIECE_BYTES, largest_bytes), before=None)
        if passed.refused:
            return _fewer(held)
        if not waited or passed.took_s < _QUICK_S:
            return held
        if self.before is not None:
            worth_it = rate >= _WORTH_IT * self.before
            return _more(held, rate, most_connections) if worth_it else _fewer(held)
        least_rounds = 1 if fitting_bytes >= LARGEST_PIECE_BYTES else _SLOW_PATIENCE_ROUNDS
        if self.held_rounds + 1 >= max(self.patience_rounds, least_rounds):
            return _more(held, rate, most_connections)
        return replace(held, held_rounds=self.held_rounds + 1)

    def room(self, under_way: int, held: int) -> int:
        """How many pieces may begin, with so many `under_way`, and `held` in all: these, and what came before its turn.

        One more is held than there are connections, so that a line is busy while the reader works on the first piece.
        """
        return max(0, min(self.connections - under_way, self.connections + 1 - held))


def _more(pace: Pace, rate: float, most_connections: int) -> Pace:
    more = min(2 * pace.connections, most_connections)
    return replace(pace, connections=more, before=rate if more > pace.connections else None, held_rounds=0)


def _fewer(pace: Pace) -> Pace:
    patience_rounds = min(2 * pace.patience_rounds, _MOST_PATIENCE_ROUNDS)
    return replace(pace, connections=max(1, pace.connections // 2), patience_rounds=patience_rounds, held_rounds=0)
