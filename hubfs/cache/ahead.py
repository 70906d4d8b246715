"""Fetching ahead of one reader: a pure policy, all the constants of fetching with their reasons, and the blob.

Nothing here asks a network: the blob below, which can prefetch, is told which range comes next.
"""

import threading
from dataclasses import dataclass
from typing import NamedTuple

from hubfs.blobs.blob import Prefetchable, WrappedBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES

FETCHES = 16
"""Requests for ranges that are made side by side. One connection to a store brings about 50 MB/s, and answers after a
round trip of about 20 ms: 16 of them fill a link of several Gbit/s, and one Python process digests no more."""

RUN_BLOCKS = 4
"""At most so many neighbouring blocks in a request: 4 MiB take 80 ms at 50 MB/s, so that a round trip of 20 ms costs a
fifth. Longer ones would cost memory (a run is held whole until its last byte came), and keep its readers waiting."""

LIMIT_BYTES = FETCHES * RUN_BLOCKS * BLOCK_SIZE_BYTES
"""The longest window: what keeps all fetches busy."""

GROWTH = 4
"""A window is so many times what was read in sequence. The kernel issues reads of 1 MiB several at a time: after the
first 1 MiB of a big tensor 4 MiB are under way, a round trip later 16 MiB, then 64 MiB. Who stops after n bytes has
caused at most 4 n to be fetched in vain."""

SLACK_BYTES = 4 * BLOCK_SIZE_BYTES
"""A read that begins this near to where the last one ended continues it. The kernel's read-ahead (1 MiB a read, several
of them at once, by several threads) comes slightly out of order, and a reader that fills a buffer of 1 MiB at a time
asks for some bytes twice."""

STREAMS = 4
"""So many sequential readers are told apart on one handle: who reads the tail or an index in between, or two tensors in
turns, does not lose the window."""

ALIGNED_BYTES = 8 * BLOCK_SIZE_BYTES
"""Large windows end at multiples of this, the unit that a fleet's daemons take turns by: half a unit would be waited
for twice."""


class Stream(NamedTuple):
    """A place that somebody reads on from.

    `expected_bytes`: where a sequential reader goes on; `read_bytes`: how much was read in sequence;
    `fetched_bytes`: up to where the fetch was asked for already; `left_out_bytes`: how much was left out on the way,
    and taken off `read_bytes`.
    """

    expected_bytes: int = 0
    read_bytes: int = 0
    fetched_bytes: int = 0
    left_out_bytes: int = 0


Streams = tuple[Stream, ...]
"""Of one handle, the one that was read last first."""

START: Streams = (Stream(),)
"""Nobody has read yet: who begins at the beginning reads in sequence."""


@dataclass(frozen=True)
class ReadAheadPolicy:
    """A window ahead of each sequential reader, at most `limit_bytes` long (0: none)."""

    limit_bytes: int = LIMIT_BYTES

    def plan(
        self, streams: Streams, offset_bytes: int, size_bytes: int, file_size_bytes: int
    ) -> tuple[Streams, range | None]:
        """The streams after this read, and the byte range to fetch ahead, if any.

        A read far from where any stream expects one is a stream of its own: nothing is fetched ahead of it until a
        second read goes on there. Backwards reading never goes on.
        """
        end_bytes = min(offset_bytes + size_bytes, file_size_bytes)
        nearest = min(streams, key=lambda stream: abs(offset_bytes - stream.expected_bytes))
        if abs(offset_bytes - nearest.expected_bytes) > SLACK_BYTES:
            new = Stream(end_bytes, max(0, end_bytes - offset_bytes), end_bytes)
            return (new, *streams[: STREAMS - 1]), None
        after, ahead = self._go_on(nearest, offset_bytes, end_bytes, file_size_bytes)
        if len(streams) == 1:
            return (after,), ahead
        return (after, *(stream for stream in streams if stream is not nearest)), ahead

    def _go_on(
        self, stream: Stream, offset_bytes: int, end_bytes: int, file_size_bytes: int
    ) -> tuple[Stream, range | None]:
        expected_bytes, read_bytes, fetched_bytes, left_out_bytes = stream
        new_bytes = max(0, end_bytes - offset_bytes)
        if end_bytes <= expected_bytes:  # again, backwards, or what was left out
            returned_bytes = min(new_bytes, left_out_bytes)
            read_bytes += new_bytes + returned_bytes
            return Stream(expected_bytes, read_bytes, fetched_bytes, left_out_bytes - returned_bytes), None
        # What is left out counts against the sequence, so that a reader with strides never has a window. The kernel,
        # whose reads are taken up by several threads, comes back for it: then it counts no longer.
        gap_bytes = min(read_bytes, max(0, offset_bytes - expected_bytes))
        read_bytes += new_bytes - gap_bytes
        left_out_bytes += gap_bytes
        window_bytes = min(GROWTH * read_bytes, self.limit_bytes)
        # Whole blocks, and from the next one on: the one that the read ends in is fetched by the read itself.
        start_bytes = max(fetched_bytes, _block_end(end_bytes))
        stop_bytes = _block_end(end_bytes + window_bytes) if window_bytes else 0
        if window_bytes >= 2 * ALIGNED_BYTES:
            stop_bytes -= stop_bytes % ALIGNED_BYTES
        stop_bytes = min(stop_bytes, file_size_bytes)
        # Not a block at a time, however small the reads are: many small requests would cost a round trip each.
        step_bytes = min(RUN_BLOCKS * BLOCK_SIZE_BYTES, window_bytes // 2)
        if stop_bytes <= start_bytes or (stop_bytes - start_bytes < step_bytes and stop_bytes < file_size_bytes):
            return Stream(end_bytes, read_bytes, fetched_bytes, left_out_bytes), None
        return Stream(end_bytes, read_bytes, stop_bytes, left_out_bytes), range(start_bytes, stop_bytes)


def refused(streams: Streams, ahead: range, reached_bytes: int) -> Streams:
    """The streams after a fetch of `ahead` was begun only up to `reached_bytes`: the rest is asked for again."""
    return tuple(
        stream._replace(fetched_bytes=reached_bytes) if stream.fetched_bytes == ahead.stop else stream
        for stream in streams
    )


def _block_end(offset_bytes: int) -> int:
    """The first block boundary that is not before `offset_bytes`."""
    return -(-offset_bytes // BLOCK_SIZE_BYTES) * BLOCK_SIZE_BYTES


class ReadAheadBlob(WrappedBlob):
    """One reader's view of a blob: notices sequential reading and fetches ahead. Made per open file.

    `_lock` guards `_streams`; it is not held while anything is fetched.
    """

    _blob: Prefetchable

    def __init__(self, blob: Prefetchable, policy: ReadAheadPolicy) -> None:
        super().__init__(blob)
        self._policy = policy
        self._lock = threading.Lock()
        self._streams = START

    @property
    def whole(self) -> Prefetchable:
        """The blob that all readers share."""
        return self._blob

    @property
    def was_read_in_order(self) -> bool:
        """Whether a reader came to the end, having read at least half of all bytes in sequence."""
        with self._lock:
            streams = self._streams
        return any(
            one.expected_bytes >= self.size_bytes and 2 * one.read_bytes >= self.size_bytes > 0 for one in streams
        )

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Blocks that the policy plans are asked for first, and are under way meanwhile."""
        with self._lock:
            self._streams, ahead = self._policy.plan(self._streams, offset_bytes, size_bytes, self.size_bytes)
        if ahead is not None:
            reached_bytes = self._blob.prefetch(ahead.start, len(ahead))
            if reached_bytes < ahead.stop:
                with self._lock:
                    self._streams = refused(self._streams, ahead, reached_bytes)
        return self._blob.read_at(offset_bytes, size_bytes)
