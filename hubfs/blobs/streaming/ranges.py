"""What a `RangedStream` stands on: an object that is read by ranges, and a range on its way."""

import socket
import threading
import time
from collections.abc import Iterator

from hubfs.blobs.http.blob import PinnedObject
from hubfs.blobs.http.reply import heads_end_with, shut_down
from hubfs.blobs.http.transfer import Transfer
from hubfs.errors import Damaged, TimedOut, Unavailable
from hubfs.waiting import Cancellation

# Every read takes as much memory before it knows what it gets. Reads of 1 MiB cost twice the page faults of these.
_CHUNK_BYTES = 256 * 1024
# A reader may be waiting for these very bytes; on a slow line a chunk leaves before it is full.
_HOLD_BACK_S = 0.05


class Ranges:
    """`pinned`, whose host has ranges, and said its size: read from any byte on. Thread-safe.

    `url` is without credentials and query.
    """

    def __init__(self, pinned: PinnedObject, url: str, size_bytes: int) -> None:
        self._pinned = pinned
        self.url = url
        self.size_bytes = size_bytes

    def begin(self, offset_bytes: int, end_bytes: int, stop: Cancellation) -> "RangeRead":
        """Begins to read a range; one attempt. To be closed. Raises `RangesIgnored`, and any other `HubfsError`.

        A cancel of `stop` ends the wait for a reply that does not begin, with any of them.
        """
        with heads_end_with(stop):
            transfer = self._pinned.open_range(offset_bytes, end_bytes)
        return RangeRead(transfer, self.url, end_bytes - offset_bytes)


class RangeRead:
    """`size_bytes` bytes of `url`, from a transfer that begins with them.

    `_lock` guards `_open`: a connection that was given back is no longer ours to shut down. It is held for no call that
    could block.
    """

    def __init__(self, transfer: Transfer, url: str, size_bytes: int) -> None:
        self._transfer = transfer
        self._url = url
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._open = True

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the range as they come, none of them more; fewer if the host sends fewer.

        Raises `Damaged` if it sends more, and any other `HubfsError`.
        """
        reached_bytes = 0
        for chunk in chunks_of(self._transfer, self._size_bytes):
            reached_bytes += len(chunk)
            yield chunk
        # Reading behind the last byte also makes the connection free for the next range.
        if reached_bytes == self._size_bytes and self._transfer.read(1):
            raise Damaged(f"{self._url} sent more bytes than the {self._size_bytes} of a range")

    def give_up(self) -> None:
        """Ends the transfer, from any thread: its reader gets an error. Does not block."""
        with self._lock:
            if self._open:
                _shut_down(self._transfer)

    def close(self) -> None:
        """Called by the thread that read, in the end."""
        with self._lock:
            self._open = False
        self._transfer.close()


def _shut_down(transfer: Transfer) -> None:
    """Ends what another thread reads of `transfer`."""
    connection = transfer._response.connection  # noqa: SLF001 - None once all was read
    connected = getattr(connection, "sock", None)
    if isinstance(connected, socket.socket):
        shut_down(connected)


def chunks_of(transfer: Transfer, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The transfer, in pieces worth handling, at most `limit_bytes` of it.

    Bytes before an error are yielded before it is raised. Parts of 64 KiB, as sockets give them, are joined while
    they are in the processor's cache: 407 MB cost 0.10 s of CPU this way, and no less read into a buffer of 4 MiB.
    """
    parts: list[bytes] = []
    held_bytes, since_s = 0, 0.0
    left_bytes = limit_bytes
    try:
        while part := _read(transfer, _CHUNK_BYTES - held_bytes, left_bytes):
            now_s = time.monotonic()
            since_s = since_s if parts else now_s
            parts.append(part)
            held_bytes += len(part)
            if left_bytes is not None:
                left_bytes -= len(part)
            if held_bytes >= _CHUNK_BYTES or now_s - since_s >= _HOLD_BACK_S:
                yield b"".join(parts)
                parts, held_bytes = [], 0
    except (TimedOut, Unavailable):
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _read(transfer: Transfer, size_bytes: int, left_bytes: int | None) -> bytes:
    if left_bytes is not None:
        size_bytes = min(size_bytes, left_bytes)
    return transfer.read(size_bytes) if size_bytes else b""
