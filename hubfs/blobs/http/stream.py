"""An archive on an HTTP host, read from start to end by ranges."""

import logging
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.head import heads_end_with
from hubfs.blobs.http.object import HttpObject, identity_of
from hubfs.blobs.http.open_sockets import shut_down
from hubfs.blobs.http.pinned import PinnedObject
from hubfs.blobs.http.transfer import Transfer
from hubfs.blobs.http.url import without_secrets
from hubfs.blobs.retry import Retries
from hubfs.blobs.streaming.ranges import RangesIgnored
from hubfs.blobs.streaming.stream import MOST_CONNECTIONS, EndedEarly, RangedStream, wait_after
from hubfs.errors import Damaged, TimedOut, Unavailable
from hubfs.memory_budget import MemoryBudget
from hubfs.waiting import Cancellation

# Every read takes as much memory before it knows what it gets. Reads of 1 MiB cost twice the page faults of these.
_CHUNK_BYTES = 256 * 1024
# A reader may be waiting for these very bytes; on a slow line a chunk leaves before it is full.
_HOLD_BACK_S = 0.05


class HttpRanges:
    """`pinned`, whose host has ranges, and said its size."""

    def __init__(self, pinned: PinnedObject, url: str, identity: str, size_bytes: int) -> None:
        self._pinned = pinned
        self.url = url
        self.identity = identity
        self.size_bytes = size_bytes

    def begin(self, offset_bytes: int, end_bytes: int, stop: Cancellation) -> "HttpRangeRead":
        """See `Ranges`."""
        with heads_end_with(stop):
            transfer = self._pinned.open_range(offset_bytes, end_bytes)
        return HttpRangeRead(transfer, self.url, end_bytes - offset_bytes)


class HttpRangeRead:
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
        """See `RangeRead`."""
        reached_bytes = 0
        for chunk in chunks_of(self._transfer, self._size_bytes):
            reached_bytes += len(chunk)
            yield chunk
        # Reading behind the last byte also makes the connection free for the next range.
        if reached_bytes == self._size_bytes and self._transfer.read(1):
            raise Damaged(f"{self._url} sent more bytes than the {self._size_bytes} of a range")

    def give_up(self) -> None:
        """See `RangeRead`."""
        with self._lock:
            if self._open:
                _shut_down(self._transfer)

    def close(self) -> None:
        """See `RangeRead`."""
        with self._lock:
            self._open = False
        self._transfer.close()


def _shut_down(transfer: Transfer) -> None:
    """Ends what another thread reads of `transfer`."""
    connection = transfer._response.raw.connection  # noqa: SLF001 - None once all was read
    connected = getattr(connection, "sock", None)
    if isinstance(connected, socket.socket):
        shut_down(connected)


def chunks_of(transfer: Transfer, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The transfer, in pieces worth handling, at most `limit_bytes` of it.

    What came before an error is yielded before it is raised. Parts of 64 KiB, as sockets give them, are joined while
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


_log = logging.getLogger(__name__)


class HttpStream:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, unless that is `known`, and raises as `HttpClient.probe` does. `size_bytes` is
    None where the host does not say. A host with ranges is asked for them over up to `connections` connections, within
    `allowance` (see `RangedStream`); any other one is read over one.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        known: HttpObject | None = None,
        connections: int = MOST_CONNECTIONS,
        allowance: MemoryBudget | None = None,
    ) -> None:
        self._client = client
        self._pinned = PinnedObject(client, url, headers or {}, known)
        self._identity = identity_of(self._pinned.seen)
        self.stamp = self._pinned.seen.stamp  # a replica that is seen later may tell another date
        self._url = without_secrets(url)
        self._ranged = self._ranged_stream(connections, allowance)

    @property
    def url(self) -> str:
        """See `ByteStream`."""
        return self._url

    @property
    def identity(self) -> str:
        """See `ByteStream`: from the ETag, else from date and size, else unique to this object."""
        return self._identity

    @property
    def pinned(self) -> bool:
        """Whether the identity says which bytes these are; see `HttpObject`."""
        return self._pinned.seen.pinned

    @property
    def size_bytes(self) -> int | None:
        """How many bytes there are, if the host says so."""
        return self._pinned.size_bytes

    def chunks(self) -> Generator[bytes, None, None]:
        """See `ByteStream`: 256 KiB each on a fast line, less on a slow one.

        A transfer that broke is asked again from where it broke; attempts count anew after every 64 KiB.
        Raises `Damaged`, `Stale`, `AccessDenied`, `TimedOut`, `Unavailable`, `Cancelled`.
        """
        reached_bytes = 0
        if self._ranged is not None:
            try:
                with closing(self._ranged.chunks()) as chunks:
                    for chunk in chunks:
                        reached_bytes += len(chunk)
                        yield chunk
                return
            except RangesIgnored as error:
                _log.info("%s; it is read over one connection from byte %d on", error, reached_bytes)
        yield from self._over_one_connection(reached_bytes)

    def _ranged_stream(self, connections: int, allowance: MemoryBudget | None) -> RangedStream | None:
        size_bytes = self._pinned.size_bytes
        if connections == 1 or size_bytes is None or not self._pinned.seen.accepts_ranges:
            return None
        return RangedStream(
            HttpRanges(self._pinned, self._url, self._identity, size_bytes),
            retry=self._client.settings.retry,
            cancellation=self._client.cancellation,
            connections=connections,
            allowance=allowance,
        )

    def _over_one_connection(self, reached_bytes: int) -> Iterator[bytes]:
        size_bytes = self._pinned.size_bytes
        retries = Retries(self._client.settings.retry, self._client.cancellation)
        while True:
            try:
                with self._pinned.open_at(reached_bytes) as transfer:
                    for chunk in chunks_of(transfer):
                        reached_bytes += len(chunk)
                        if size_bytes is not None and reached_bytes > size_bytes:
                            raise Damaged(f"{self._url} has more bytes than the {size_bytes} it announced")
                        retries.progress(len(chunk))
                        yield chunk
                if size_bytes is None or reached_bytes == size_bytes:
                    return
                raise EndedEarly(f"{self._url} ended after {reached_bytes} of {size_bytes} bytes")
            except (TimedOut, Unavailable) as error:  # noqa: PERF203 - a request costs a thousand times more
                if reached_bytes and not self._pinned.resumable:
                    raise
                wait_after(error, retries)
