"""An object that is read by ranges, as a stream: pieces come over several connections, and leave in their order."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from hubfs.blobs.retry import Busy, Permanent, Retries, RetryPolicy
from hubfs.blobs.streaming.ramp import Pace, Round
from hubfs.blobs.streaming.ranges import Ranges
from hubfs.errors import Damaged, HubfsError, TimedOut, Unavailable
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation

MOST_CONNECTIONS = 16

# The transfers have bounds of their own, and end long before; this is for the day when a thread dies silently.
_PATIENCE_S = 3600.0


class RangedStream:
    """The bytes of `ranges`, over up to `connections` connections. Thread-safe; a generator is for one thread.

    Pieces that are under way or wait for their turn are taken from `allowance` (None: without bound), but for the first
    piece: however little is left, the stream goes on.
    """

    def __init__(
        self,
        ranges: Ranges,
        *,
        retry: RetryPolicy,
        cancellation: Cancellation,
        connections: int = MOST_CONNECTIONS,
        allowance: MemoryBudget | None = None,
    ) -> None:
        self.url, self.size_bytes = ranges.url, ranges.size_bytes
        self._ranges = ranges
        self._retry = retry
        self._cancellation = cancellation
        self._connections = connections
        self._allowance = allowance

    def chunks(self) -> Generator[bytes, None, None]:
        """Yields all bytes once. The first leave as they come, over one connection; `Pace` says when others join.

        A piece is asked again from where it broke; attempts count anew after every 64 KiB. One that is not
        wanted yet gives way when its host cannot take it, and comes when it is its turn. Raises `Damaged`, `Stale`,
        `AccessDenied`, `NotFound`, `TimedOut`, `Unavailable`, `Cancelled`; `RangesIgnored` (an `Unavailable`) behind
        the last byte that came as it was asked for.
        """
        reading = _Reading(self._ranges, self._retry, self._connections, self._allowance)
        forget = self._cancellation.on_cancel(reading.end)
        try:
            while not reading.finished:
                if chunk := reading.next_chunk():
                    yield chunk
        finally:
            forget()
            reading.close()


@dataclass(eq=False)
class _Piece:
    """A range, and what came of it: `chunks` wait for their turn, `reached_bytes` is the offset behind them."""

    reached_bytes: int
    end_bytes: int
    taken_bytes: int
    under_way: bool = False
    error: BaseException | None = None
    chunks: deque[bytes] = field(default_factory=deque)

    @property
    def complete(self) -> bool:
        return self.reached_bytes == self.end_bytes


class _Reading:
    """One reading of the object, by one thread; those of `_pool` fetch. Any of them that finds room begins more.

    `_changed` guards `_pieces` (in their order; the first one is being read), what is in them, and the counts of the
    round. It is held for no I/O. `_stop` ends every wait and every transfer of this reading.
    """

    def __init__(self, ranges: Ranges, retry: RetryPolicy, connections: int, allowance: MemoryBudget | None) -> None:
        self._ranges = ranges
        self._retry = retry
        self._most_connections = connections
        self._allowance = allowance
        self._stop = Cancellation()
        self._pool = ThreadPoolExecutor(connections, "hubfs-range")
        self._changed = threading.Condition()
        self._pieces: deque[_Piece] = deque()
        self._asked_bytes = 0
        self._pace = Pace()
        self._waits_since_s: float | None = None
        self._begin_round()

    @property
    def finished(self) -> bool:
        """Whether all was given out."""
        return not self._pieces and self._asked_bytes == self._ranges.size_bytes

    def next_chunk(self) -> bytes:
        """The next bytes; none at the end of a piece."""
        self._begin_more()
        self._stop.check()
        with self._changed:
            first = self._pieces[0]
            self._wait_until(lambda: bool(first.chunks) or not first.under_way)
            if first.chunks:
                return first.chunks.popleft()
            if first.error:
                raise first.error
            if first.complete:
                self._pieces.popleft()
        if first.complete:
            self._give_back(first)
        return b""

    def end(self) -> None:
        """Ends every transfer and every wait; does not block."""
        self._stop.cancel()

    def close(self) -> None:
        """Ends the reading. The threads end by themselves, at once but for one that is connecting."""
        self.end()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            left = list(self._pieces)
            self._pieces.clear()
        for piece in left:
            self._give_back(piece)

    def _wait_until(self, predicate: Callable[[], bool]) -> None:
        self._waits_since_s = time.monotonic()
        self._stop.wait_for(self._changed, predicate, _PATIENCE_S, f"bytes of {self._ranges.url}")
        self._waited_s += time.monotonic() - self._waits_since_s
        self._waits_since_s = None

    def _begin_more(self) -> None:
        for piece in self._plan():
            self._pool.submit(self._fetch, piece)

    def _plan(self) -> list[_Piece]:
        """The pieces to fetch from now on."""
        with self._changed:
            if self._stop.cancelled:
                return []
            if self._ended >= self._pace.connections:
                self._pace = self._pace.after(self._passed_round(), self._most_connections)
                self._begin_round()
            begun = []
            if self._pieces and self._lacks(self._pieces[0]):
                begun.append(self._pieces[0])
            under_way = len(begun) + sum(piece.under_way for piece in self._pieces)
            for _ in range(self._pace.room(under_way, len(self._pieces))):
                piece = self._next_piece()
                if piece is None:
                    break
                self._pieces.append(piece)
                begun.append(piece)
            for piece in begun:
                piece.under_way = True
            return begun

    @staticmethod
    def _lacks(piece: _Piece) -> bool:
        return not (piece.under_way or piece.complete or piece.error)

    def _next_piece(self) -> _Piece | None:
        """The piece behind the last one; None if that one is the end, or there is no room, or no use."""
        start_bytes = self._asked_bytes
        size_bytes = min(self._pace.piece_bytes, self._ranges.size_bytes - start_bytes)
        if size_bytes == 0 or any(piece.error for piece in self._pieces):
            return None
        taken_bytes = size_bytes if self._allowance and self._allowance.try_take(size_bytes) else 0
        if self._allowance and self._pieces and not taken_bytes:
            return None
        self._asked_bytes += size_bytes
        return _Piece(start_bytes, self._asked_bytes, taken_bytes)

    def _begin_round(self) -> None:
        self._began_s = time.monotonic()
        if self._waits_since_s is not None:
            self._waits_since_s = self._began_s
        self._waited_s = self._latency_s = 0.0
        self._ended = self._received_bytes = 0
        self._refused = False

    def _passed_round(self) -> Round:
        now_s = time.monotonic()
        waited_s = self._waited_s + (0.0 if self._waits_since_s is None else now_s - self._waits_since_s)
        latency_s = self._latency_s / self._ended
        return Round(self._received_bytes, now_s - self._began_s, waited_s, latency_s, self._refused)

    def _give_back(self, piece: _Piece) -> None:
        if self._allowance and piece.taken_bytes:
            self._allowance.give_back(piece.taken_bytes)

    def _fetch(self, piece: _Piece) -> None:
        """Brings `piece` to its end, or to an error; or to where its host refused it, if others come before it."""
        retries = Retries(self._retry, self._stop)
        error: BaseException | None = None
        try:
            while not piece.complete and not self._gives_way(piece, retries):
                pass
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is raised where the bytes are read
            error = raised
        with self._changed:
            piece.error, piece.under_way = error, False
            self._ended += 1
            self._changed.notify_all()
        self._begin_more()  # the reader may be busy for a while with what it has

    def _gives_way(self, piece: _Piece, retries: Retries) -> bool:
        """One attempt at the rest of `piece`. Whether it failed, and is better left for when it is wanted."""
        before_bytes = piece.reached_bytes
        try:
            self._transfer(piece, retries)
            if piece.reached_bytes == before_bytes:
                raise EndedEarly(f"{self._ranges.url} ended after {before_bytes} of {self._ranges.size_bytes} bytes")
        except (TimedOut, Unavailable) as error:
            self._stop.check()
            if self._may_wait(piece, error, progress=piece.reached_bytes > before_bytes):
                return True
            wait_after(error, retries)
        return False

    def _may_wait(self, piece: _Piece, error: HubfsError, *, progress: bool) -> bool:
        with self._changed:
            first = not self._pieces or piece is self._pieces[0]
            if first or isinstance(error, Permanent) or (progress and not isinstance(error, Busy)):
                return False
            self._refused = True
            return True

    def _transfer(self, piece: _Piece, retries: Retries) -> None:
        self._stop.check()
        began_s = time.monotonic()
        read = self._ranges.begin(piece.reached_bytes, piece.end_bytes, self._stop)
        latency_s = time.monotonic() - began_s
        forget = self._stop.on_cancel(read.give_up)
        try:
            with self._changed:
                self._latency_s += latency_s
            for chunk in read.chunks():
                retries.progress(len(chunk))
                with self._changed:
                    piece.chunks.append(chunk)
                    piece.reached_bytes += len(chunk)
                    self._received_bytes += len(chunk)
                    if self._pieces and piece is self._pieces[0]:
                        self._changed.notify_all()
        finally:
            forget()
            read.close()


class EndedEarly(Unavailable):
    """The host ended a transfer in good order, before the announced size."""


def wait_after(error: HubfsError, retries: Retries) -> None:
    """As `Retries.wait_after`; an object that keeps ending early is `Damaged`."""
    try:
        retries.wait_after(error)
    except EndedEarly as last:
        raise Damaged(str(last)) from last
