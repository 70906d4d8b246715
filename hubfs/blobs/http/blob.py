"""A file on an HTTP host, read in ranges."""

from collections.abc import Callable, Mapping

from hubfs.blobs.checksums import Checksum
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import HttpObject, key_of
from hubfs.blobs.http.pinned import PinnedObject
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import Permanent
from hubfs.errors import HubfsError, Unavailable


class HttpBlob:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, unless that is `known`, and raises as `HttpClient.probe` does. A read is one
    attempt: wrap it in `RetryingBlob`. On a host without ranges it costs everything before it, too. With `locate`,
    which says where it leads, `url` itself is asked for nothing.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        known: HttpObject | None = None,
        locate: Callable[[], str] | None = None,
    ) -> None:
        self._pinned = PinnedObject(client, url, headers or {}, known, locate)
        if self._pinned.size_bytes is None:
            raise Permanent(f"{redacted(url)} does not say its size: it can be read as a stream only")
        self._url = redacted(url)
        self.size_bytes = self._pinned.size_bytes
        self.key = key_of(self._pinned.seen, url)
        self.checksum: Checksum | None = self._pinned.seen.checksum

    @property
    def encoding(self) -> str:
        """What the host did to the bytes, though it was asked not to; empty for nothing."""
        return self._pinned.seen.encoding

    @property
    def head(self) -> bytes:
        """The first 512 bytes; fewer only if there are no more."""
        return self._pinned.seen.head

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end of the blob.

        Raises `Stale`, `AccessDenied`, `TimedOut`, `Unavailable`, `Cancelled`.
        """
        end_bytes = min(offset_bytes + size_bytes, self.size_bytes)
        parts = []
        try:
            while offset_bytes < end_bytes:
                with self._pinned.open_at(offset_bytes, end_bytes) as transfer:
                    part = transfer.read_up_to(end_bytes - offset_bytes)
                if not part:
                    raise Unavailable(f"{self._url} ended {end_bytes - offset_bytes} bytes before its announced size")
                parts.append(part)
                offset_bytes += len(part)  # a host may answer with less than the range, which is why this is a loop
        except HubfsError as error:
            self._pinned.explain(error)
            raise
        return b"".join(parts)
