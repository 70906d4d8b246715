"""gzip on several cores: the same promise as `gzip.inflate`, kept by rapidgzip in a process of its own.

rapidgzip never has the last word on an archive. It was seen to accept archives that end early, that have a
wrong length, or a byte of garbage behind them, and to refuse zeros behind them. So an archive counts as verified only
if the CRC and the length of everything that was yielded are those in its last eight bytes: true of a whole file whose
output is that of its last gzip member. An archive that is not verified so, ISA-L reads again and judges.
"""

import contextlib
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator

from isal.isal_zlib import crc32

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import Bytes, Wanted
from hubfs.formats.gzip import stream as gzip
from hubfs.formats.inflating.feed import WorkerFeed, close
from hubfs.formats.inflating.process import WorkerLost, WorkerProcess
from hubfs.formats.inflating.protocol import SLOT_BYTES, SLOTS, Kind, Message, receive, send, window_of
from hubfs.formats.inflating.pump import pumped
from hubfs.waiting import Cancellation

OnCheckpoint = Callable[[int, int], None]
"""Told of each checkpoint: its bit offset in the file, and its offset in the output. Both ascend."""

MIN_SIZE_BYTES = 8 << 20
"""Below this, one thread is done before a process has paid for its start (30 ms) and its first chunks."""

PLENTY_BYTES = 1 << 30
"""More than an inflating process shares at most."""

_LARGE_BYTES = 256 << 10
"""A chunk has what is wanted, where that is so much; else a chunk has at most so much, and the next one need not be
cut."""

_PUMPED_CHUNKS = 4
_HEAD_BYTES = 4
_DEFLATE = b"\x1f\x8b\x08"
_TEXT, _NAME, _COMMENT = 0x01, 0x08, 0x10

_TRAILER = struct.Struct("<II")

_STALL_TIMEOUT_S = 60.0
_TICK_S = 0.25
_JOIN_TIMEOUT_S = 1.0


def suits(head: bytes, size_bytes: int | None, workers: int) -> bool:
    """Whether an archive that begins with `head` (4 bytes) should be inflated in parallel. No I/O.

    rapidgzip does not verify headers, so only those where nothing can be wrong are left to it: an extra field (bgzip's:
    many members) and a checksum of the header are not among them.
    """
    return (
        workers >= 1
        and size_bytes is not None
        and size_bytes >= MIN_SIZE_BYTES
        and len(head) == _HEAD_BYTES
        and head[:3] == _DEFLATE
        and not head[3] & ~(_TEXT | _NAME | _COMMENT)
    )


def shared_memory_bytes(size_bytes: int | None, workers: int, most_shared_bytes: int) -> int:
    """What `inflate` shares with its process, at most, for an archive of this size."""
    if size_bytes is None or size_bytes < MIN_SIZE_BYTES or workers < 1:
        return 0
    return window_of(size_bytes, workers, most_shared_bytes).shared_bytes


def inflate(
    open_chunks: Callable[[], Iterable[Bytes]],
    size_bytes: int | None,
    *,
    workers: int,
    cancellation: Cancellation,
    on_checkpoint: OnCheckpoint,
    on_lost: Callable[[str], None],
    most_shared_bytes: int = PLENTY_BYTES,
    wanted: Wanted | None = None,
) -> Generator[Bytes, None, None]:
    """Yields what an archive of `size_bytes` inflates to, as `gzip.inflate` does, on `workers` cores where possible.

    `open_chunks` opens the archive at its start. It is called again when the inflating process was lost, or could not
    verify the archive: then ISA-L inflates from the start, what was yielded before is passed over, and the end is
    reached only if it was the same. Before that `on_lost` is told why: the checkpoints that came are void, and no more
    will come. `most_shared_bytes` bounds what is shared with the process, where it can work with so little. Chunks that
    the process makes are as large as is `wanted`, but for small ones. Raises what `gzip.inflate` does, `Cancelled`, and
    what the chunks raise.
    """
    head, chunks = _peek(open_chunks())
    if size_bytes is None or not suits(head, size_bytes, workers):
        yield from _in_this_process(head, chunks, size_bytes, cancellation)
        return
    inflater = ParallelInflater(
        size_bytes, workers=workers, cancellation=cancellation, most_shared_bytes=most_shared_bytes
    )
    try:
        with contextlib.closing(inflater.inflate(chunks, on_checkpoint, wanted)) as output:
            yield from output
        return
    except WorkerLost as lost:
        on_lost(str(lost))
    head, chunks = _peek(open_chunks())
    with contextlib.closing(_in_this_process(head, chunks, size_bytes, cancellation)) as output:
        yield from _behind(output, inflater.yielded_bytes, inflater.checksum)


def _in_this_process(
    head: bytes, chunks: "_Rejoined", size_bytes: int | None, cancellation: Cancellation
) -> Generator[Bytes, None, None]:
    """By ISA-L; a large archive in a thread of its own, since ISA-L lets the interpreter's lock go while it works."""

    def inflated() -> Generator[Bytes, None, None]:
        with contextlib.closing(chunks):
            yield from gzip.inflate(chunks)

    if size_bytes is None or size_bytes < MIN_SIZE_BYTES or not head.startswith(_DEFLATE):
        return inflated()
    return pumped(inflated(), ahead=_PUMPED_CHUNKS, cancellation=cancellation)


class ParallelInflater:
    """Inflates a gzip file of `size_bytes` on `workers` threads of another process, once.

    `yielded_bytes` came out so far, and have the CRC `checksum`.

    The file is one that `suits`. The process takes 80 to 170 MiB with 2 threads; it gives up when an archive that was
    compressed uncommonly well would have it take more than 512 MiB and 64 MiB a thread. `most_shared_bytes` of memory
    are shared with it, or as little as it can work with (10 MiB): with less memory it is slower.
    """

    def __init__(
        self,
        size_bytes: int,
        *,
        workers: int,
        cancellation: Cancellation,
        most_shared_bytes: int = PLENTY_BYTES,
    ) -> None:
        self.yielded_bytes = self.checksum = 0
        self._size_bytes = size_bytes
        self._window = window_of(size_bytes, workers, most_shared_bytes)
        self._cancellation = cancellation

    def inflate(
        self, chunks: Iterable[Bytes], on_checkpoint: OnCheckpoint, wanted: Wanted | None = None
    ) -> Generator[bytes, None, None]:
        """Yields what `chunks` inflate to, in order, at most 1 MiB each; the end means that all of it was verified.

        Each is copied once, out of the ring, and is as large as is `wanted`: a block need not be put together.

        A checkpoint is told before the chunk of output that contains it is yielded. `chunks` are pulled in another
        thread, which also closes them. Closing the generator ends the process, and so does the end of the thread
        that asks for the first output.

        Raises `WorkerLost` when the process was lost, or did not verify the file (see above: an engine that reads
        again must judge), `Damaged` when `chunks` are more or less than the file's size, `Cancelled`, and what
        `chunks` raise. Bytes that were yielded before are unverified.
        """
        try:
            process = WorkerProcess(self._size_bytes, self._window)
        except WorkerLost:
            close(chunks)
            raise
        feed = WorkerFeed(process, chunks, self._size_bytes, self._window)
        forget = self._cancellation.on_cancel(process.kill)
        try:
            feed.start()
            yield from self._output(process, feed, on_checkpoint, wanted or Wanted())
        finally:
            forget()
            process.close()
            feed.join(_JOIN_TIMEOUT_S)

    def _output(
        self, process: WorkerProcess, feed: WorkerFeed, on_checkpoint: OnCheckpoint, wanted: Wanted
    ) -> Iterator[bytes]:
        filled_bytes, bit, ended = 0, -1, False
        while not ended or self.yielded_bytes < filled_bytes:
            if size_bytes := self._next_size(filled_bytes - self.yielded_bytes, wanted, ended=ended):
                data = process.output_ring.read(self.yielded_bytes, size_bytes)
                for _ in range((self.yielded_bytes + size_bytes) // SLOT_BYTES - self.yielded_bytes // SLOT_BYTES):
                    with contextlib.suppress(OSError):  # it died; what it said before that is still to be read
                        send(process.output, Message(Kind.FREED))
                self.checksum = crc32(data, self.checksum)
                self.yielded_bytes += size_bytes
                yield data
                continue
            message = self._next(process, feed)
            if (
                # Should an archive have taken the process over: checkpoints are kept, so there are no more of them than
                # places in the file, and none is further ahead than the slot that contains it.
                message.kind is Kind.CHECKPOINT
                and bit < message.number <= 8 * self._size_bytes
                and message.other <= filled_bytes + SLOT_BYTES
            ):
                bit = message.number
                on_checkpoint(bit, message.other)
            elif (
                message.kind is Kind.FILLED
                and 0 < message.number <= SLOT_BYTES
                and not filled_bytes % SLOT_BYTES  # none but the last slot has room left
                and filled_bytes - self.yielded_bytes <= (SLOTS - 1) * SLOT_BYTES
            ):
                filled_bytes += message.number
            elif message.kind is Kind.ENDED:
                ended = True
            else:
                raise WorkerLost(f"the inflating process said something that makes no sense: {message}")
        self._wait_for(feed.finished.wait, feed)
        self._check(feed)
        # Without output the trailer is zeros, which prove nothing.
        if not self.yielded_bytes or feed.trailer != _TRAILER.pack(self.checksum, self.yielded_bytes % (1 << 32)):
            raise WorkerLost("rapidgzip did not verify the archive: it is damaged, or has several gzip members")

    def _next_size(self, there_bytes: int, wanted: Wanted, *, ended: bool) -> int:
        """The size of the next chunk, of the bytes that are there; 0 if more must come first."""
        if wanted.size_bytes >= _LARGE_BYTES:
            size_bytes = min(wanted.size_bytes, SLOT_BYTES)
            return min(size_bytes, there_bytes) if ended or there_bytes >= size_bytes else 0
        left_bytes = SLOT_BYTES - self.yielded_bytes % SLOT_BYTES
        return min(there_bytes, left_bytes, _LARGE_BYTES if wanted.size_bytes else SLOT_BYTES)

    def _next(self, process: WorkerProcess, feed: WorkerFeed) -> Message:
        poll = select.poll()
        poll.register(process.output, select.POLLIN)
        self._wait_for(lambda timeout_s: bool(poll.poll(timeout_s * 1000)), feed)
        try:
            message = _received(process)
        except OSError as error:  # it has the archive's bytes in its hands, and is not trusted to speak sense
            self._check(feed)
            raise WorkerLost(f"the inflating process was not understood: {error}") from error
        if message is None:
            self._check(feed)
            raise WorkerLost(f"the inflating process ended: {process.how_it_ended()}")
        if message.kind is Kind.FAILED:
            self._check(feed)
            raise WorkerLost(f"the inflating process gave up: {message.text}")
        return message

    def _wait_for(self, happened: Callable[[float], bool], feed: WorkerFeed) -> None:
        """Waits until `happened`, which waits so many seconds: for the network as long as that takes, then a minute."""
        deadline_s = time.monotonic() + _STALL_TIMEOUT_S
        while not happened(_TICK_S):
            self._cancellation.check()
            if feed.is_waiting:
                deadline_s = time.monotonic() + _STALL_TIMEOUT_S
            elif time.monotonic() > deadline_s:
                raise WorkerLost(f"the inflating process did nothing for {_STALL_TIMEOUT_S:g} s")

    def _check(self, feed: WorkerFeed) -> None:
        """Raises what ended the process, if anything here did."""
        self._cancellation.check()
        if feed.error is not None:
            raise feed.error


def _received(process: WorkerProcess) -> Message | None:
    with contextlib.suppress(ConnectionResetError):
        return receive(process.output)
    return receive(process.output)  # said once of a process that left something unread; what it sent is still there


def _peek(chunks: Iterable[Bytes]) -> tuple[bytes, "_Rejoined"]:
    """The first bytes of `chunks`, and an iterator over all of them that can be closed."""
    rest = iter(chunks)
    head, pulled = b"", deque[Bytes]()
    while len(head) < _HEAD_BYTES and (chunk := next(rest, None)) is not None:
        pulled.append(chunk)
        head += chunk[: _HEAD_BYTES - len(head)]
    return head, _Rejoined(pulled, rest)


class _Rejoined(Iterator[Bytes]):
    """What was pulled already, and then the rest."""

    def __init__(self, pulled: deque[Bytes], rest: Iterator[Bytes]) -> None:
        self._pulled, self._rest = pulled, rest

    def __next__(self) -> Bytes:
        return self._pulled.popleft() if self._pulled else next(self._rest)

    def close(self) -> None:
        close(self._rest)


def _behind(chunks: Iterable[Bytes], passed_bytes: int, checksum: int) -> Iterator[Bytes]:
    """`chunks` but for the first bytes, which must have this checksum: they were yielded before."""
    left_bytes, seen = passed_bytes, 0
    for chunk in chunks:
        passed = memoryview(chunk)[:left_bytes]
        if passed:
            seen = crc32(passed, seen)
            left_bytes -= len(passed)
            if not left_bytes and seen != checksum:
                raise Damaged("the archive inflates to other bytes than a moment ago")
        if len(passed) < len(chunk):
            yield memoryview(chunk)[len(passed) :] if passed else chunk
    if left_bytes:
        raise Damaged("the archive inflates to fewer bytes than a moment ago")
