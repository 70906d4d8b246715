"""An archive in a bucket, read from the start to the end."""

import time
from collections.abc import Iterator
from itertools import chain

from hubfs.blobs.crc32c import combine, crc32c
from hubfs.blobs.gcs import GcsClient
from hubfs.blobs.gcs_object import GcsObject, bucket_and_name
from hubfs.blobs.gcs_read import PendingRead
from hubfs.blobs.retry import retrying
from hubfs.errors import Damaged

_CHUNK_BYTES = 1 << 20
_SMALLEST_RANGE_BYTES = 256 << 10
_FIRST_RANGE_BYTES = 1 << 20
_LARGEST_RANGE_BYTES = 8 << 20
# A reader may be waiting for these very bytes, and nothing of a range is there before all of it is.
_RANGE_S = 1.0


class GcsStream:
    """The bytes of an object, as they are at this moment; `origin` is the object, or its `gs://bucket/name`.

    A URL costs one request, which raises as `GcsClient.stat` does, and `Damaged` for a text that names no object. The
    object is read in ranges of up to 8 MiB, smaller ones at the start and on a slow line, the next one while the
    caller works on the last. Thread-safe; a generator is for one thread.
    """

    def __init__(self, client: GcsClient, origin: GcsObject | str) -> None:
        self._client = client
        self._object = origin if isinstance(origin, GcsObject) else _object_at(client, origin)

    @property
    def url(self) -> str:
        """See `ByteStream`: `gs://bucket/name`."""
        return self._object.url

    @property
    def identity(self) -> str:
        """See `ByteStream`: bucket, name and generation."""
        return self._object.key

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self._object.size_bytes

    def chunks(self) -> Iterator[bytes]:
        """See `ByteStream`: at most 1 MiB each.

        Each range is tried as often as the client's policy says. The last one is not yielded before the whole was
        held against the crc32c that the store gives, if it does. Raises `Damaged`, `Stale`, `AccessDenied`,
        `TimedOut`, `Unavailable`, `Cancelled`.
        """
        crc = 0
        range_bytes = _FIRST_RANGE_BYTES
        ahead = self._begin(0, range_bytes)
        try:
            while ahead is not None:
                current, ahead = ahead, self._begin(ahead.end_bytes, range_bytes)
                was_there = current.done
                data = self._result(current)
                if not was_there:  # else the caller is the slower one, and how long this took is not known
                    range_bytes = _next_range_bytes(range_bytes, time.monotonic() - current.began_s)
                crc = combine(crc, crc32c(data), len(data))
                if ahead is None:
                    self._verify(crc)
                for start in range(0, len(data), _CHUNK_BYTES):
                    yield data[start : start + _CHUNK_BYTES]
        finally:
            if ahead is not None:
                ahead.give_up()

    def _begin(self, offset_bytes: int, range_bytes: int) -> PendingRead | None:
        """Begins to read the range from `offset_bytes` on; None at the end."""
        size_bytes = min(range_bytes, self.size_bytes - offset_bytes)
        return self._client.begin_read(self._object, offset_bytes, size_bytes) if size_bytes > 0 else None

    def _result(self, pending: PendingRead) -> bytes:
        """The bytes of a read that was begun; begun again if it failed for a passing reason."""

        def again() -> PendingRead:
            return self._client.begin_read(self._object, pending.offset_bytes, pending.size_bytes)

        attempts = chain([pending], iter(again, None))
        return retrying(lambda: next(attempts).result(), self._client.settings.retry, self._client.cancellation)

    def _verify(self, crc: int) -> None:
        announced = self._object.crc32c
        if announced is not None and crc != announced:
            raise Damaged(
                f"{self.url} is damaged: its crc32c is {crc:08x}, and the store announced {announced:08x}; "
                "if it stays so, ask who keeps the bucket to store it anew"
            )


def _object_at(client: GcsClient, url: str) -> GcsObject:
    try:
        bucket, name = bucket_and_name(url)
    except ValueError as error:
        raise Damaged(f"{url!r} is {error}") from error
    if not name:
        raise Damaged(f"{url!r} names a bucket, and no object in it")
    return client.stat(bucket, name)


def _next_range_bytes(range_bytes: int, took_s: float) -> int:
    """Twice as much while the line is quick, half as much while it is not."""
    if took_s < _RANGE_S:
        return min(2 * range_bytes, _LARGEST_RANGE_BYTES)
    return max(range_bytes // 2, _SMALLEST_RANGE_BYTES)
