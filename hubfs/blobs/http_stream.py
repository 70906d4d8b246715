"""An archive on an HTTP host, read from the start to the end."""

import time
from collections.abc import Iterator, Mapping

from hubfs.blobs.http import HttpClient, Transfer
from hubfs.blobs.identity import identity_of
from hubfs.blobs.pinned import PinnedObject
from hubfs.blobs.retry import Retries
from hubfs.blobs.url import redacted
from hubfs.errors import Damaged, HubfsError, TimedOut, Unavailable

_CHUNK_BYTES = 256 * 1024
_LARGEST_READ_BYTES = 1 << 20
# A reader may be waiting for these very bytes; on a slow line a chunk leaves before it is full.
_HOLD_BACK_S = 0.05


class HttpStream:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, and raises as `HttpClient.probe` does. `size_bytes` is None where the host
    does not say.
    """

    def __init__(self, client: HttpClient, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._client = client
        self._pinned = PinnedObject(client, url, headers or {})
        self._identity = identity_of(self._pinned.seen)
        self._url = redacted(url)

    @property
    def url(self) -> str:
        """See `ByteStream`."""
        return self._url

    @property
    def identity(self) -> str:
        """See `ByteStream`: from the ETag, else from date and size, else unique to this object."""
        return self._identity

    @property
    def size_bytes(self) -> int | None:
        """How many bytes there are, if the host says so."""
        return self._pinned.size_bytes

    def chunks(self) -> Iterator[bytes]:
        """See `ByteStream`: at most 1 MiB each, 256 KiB or more on a fast line.

        A transfer that broke is asked again from where it broke; attempts count anew after every byte of progress.
        Raises `Damaged`, `Stale`, `AccessDenied`, `NotFound`, `TimedOut`, `Unavailable`, `Cancelled`.
        """
        size_bytes = self._pinned.size_bytes
        retries = Retries(self._client.settings.retry, self._client.cancellation)
        reached_bytes = 0
        while True:
            try:
                with self._pinned.open_at(reached_bytes) as transfer:
                    for chunk in _chunks_of(transfer):
                        reached_bytes += len(chunk)
                        if size_bytes is not None and reached_bytes > size_bytes:
                            raise Damaged(f"{self._url} has more bytes than the {size_bytes} it announced")
                        retries.progress()
                        yield chunk
                if size_bytes is None or reached_bytes == size_bytes:
                    return
                raise _EndedEarly(f"{self._url} ended after {reached_bytes} of {size_bytes} bytes")
            except (TimedOut, Unavailable) as error:  # noqa: PERF203 - a request costs a thousand times more
                if reached_bytes and not self._pinned.resumable:
                    raise
                self._wait_after(error, retries)

    def _wait_after(self, error: HubfsError, retries: Retries) -> None:
        try:
            retries.wait_after(error)
        except _EndedEarly as last:
            raise Damaged(str(last)) from last


class _EndedEarly(Unavailable):
    """The host ended a transfer in good order, before the announced size."""


def _chunks_of(transfer: Transfer) -> Iterator[bytes]:
    """The transfer, in pieces worth handling. What came before an error is yielded before it is raised."""
    parts: list[bytes] = []
    held_bytes, since_s = 0, 0.0
    try:
        while part := transfer.read(_LARGEST_READ_BYTES - held_bytes):
            now_s = time.monotonic()
            since_s = since_s if parts else now_s
            parts.append(part)
            held_bytes += len(part)
            if held_bytes >= _CHUNK_BYTES or now_s - since_s >= _HOLD_BACK_S:
                yield b"".join(parts)
                parts, held_bytes = [], 0
    except (TimedOut, Unavailable):
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)
