"""An archive on an HTTP host, read from start to end by ranges."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing

from google_crc32c import extend

from hubfs.blobs.checksums import CRC32C
from hubfs.blobs.http.blob import HttpBlob, PinnedObject, RangesIgnored
from hubfs.blobs.http.client import WHOLE_BYTES, HttpClient
from hubfs.blobs.http.object import HttpObject, identity_of
from hubfs.blobs.http.url import without_secrets
from hubfs.blobs.retry import Permanent, Retries
from hubfs.blobs.streaming.ranges import Ranges, chunks_of
from hubfs.blobs.streaming.stream import MOST_CONNECTIONS, EndedEarly, RangedStream, wait_after
from hubfs.errors import Damaged, HubfsError, TimedOut, Unavailable
from hubfs.memory_budget import MemoryBudget

_log = logging.getLogger(__name__)


class HttpStream:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, unless that is `known`, and raises as `HttpClient.probe` does. `url` of a
    stream is for messages: without credentials and query. `identity` says which bytes these are: made from a strong
    validator, else unique to this object. `size_bytes` is None where the host does not say. With `locate`, `url` is a
    name, and `locate` says where the bytes are. A host with ranges is asked for them over up to `connections`
    connections, within `allowance` (see `RangedStream`); any other one is read over one. Thread-safe; a generator is
    for one thread.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        known: HttpObject | None = None,
        locate: Callable[[], str] | None = None,
        connections: int = MOST_CONNECTIONS,
        allowance: MemoryBudget | None = None,
    ) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._locate = locate
        self._pinned = PinnedObject(client, url, headers or {}, known, locate, first_bytes=WHOLE_BYTES)
        self.identity = identity_of(self._pinned.seen)
        self.stamp = self._pinned.seen.stamp  # a replica that is seen later may tell another date
        self.url = self._pinned.seen.name or without_secrets(url)
        self._ranged = self._ranged_stream(connections, allowance)

    @property
    def pinned(self) -> bool:
        """Whether the identity says which bytes these are; see `HttpObject`."""
        return self._pinned.seen.pinned

    @property
    def size_bytes(self) -> int | None:
        """How many bytes there are, if the host says so."""
        return self._pinned.size_bytes

    @property
    def is_here(self) -> bool:
        """Whether all bytes came with the first reply, and nobody has read them since."""
        return self._client.wholes.has(self._pinned.seen, self._headers or {})

    def ranged(self) -> HttpBlob:
        """The same bytes by ranges. Raises `Permanent` if the host answers none, or does not say the size."""
        seen = self._pinned.seen
        if not seen.accepts_ranges:
            raise Permanent(f"{self.url} answers no ranges")
        return HttpBlob(self._client, self._url, self._headers, known=seen, locate=self._locate)

    def chunks(self) -> Generator[bytes, None, None]:
        """Yields all bytes once, from the first on: 256 KiB each on a fast line, less on a slow one.

        Each call starts anew; of a small object, the first one has what came with the first reply. Closing the
        generator ends the transfer.
        A transfer that broke is asked again from where it broke; attempts count anew after every 64 KiB. The last chunk
        is not yielded before the whole was held against the crc32c that the host announced, if it did. Raises
        `Damaged`, `Stale`, `AccessDenied`, `TimedOut`, `Unavailable`, `Cancelled`.
        """
        announced, size_bytes = self._pinned.seen.checksum, self._pinned.size_bytes
        crc = reached_bytes = 0
        try:
            with closing(self._chunks()) as chunks:
                for chunk in chunks:
                    if announced is not None and announced.algorithm == CRC32C:
                        crc, reached_bytes = extend(crc, chunk), reached_bytes + len(chunk)
                        if reached_bytes == size_bytes and f"{crc:08x}" != announced.value:
                            raise Damaged(
                                f"{self.url} is damaged: its crc32c is {crc:08x}, and the store announced "
                                f"{announced.value}; if it stays so, ask who keeps the file to store it anew"
                            )
                    yield chunk
        except HubfsError as error:
            self._pinned.explain(error)
            raise

    def _chunks(self) -> Generator[bytes, None, None]:
        whole = self._client.wholes.take(self._pinned.seen, self._headers or {})
        if whole:
            yield whole
            return
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
            Ranges(self._pinned, self.url, size_bytes),
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
                            raise Damaged(f"{self.url} has more bytes than the {size_bytes} it announced")
                        retries.progress(len(chunk))
                        yield chunk
                if size_bytes is None or reached_bytes == size_bytes:
                    return
                raise EndedEarly(f"{self.url} ended after {reached_bytes} of {size_bytes} bytes")
            except (TimedOut, Unavailable) as error:  # noqa: PERF203 - a request costs a thousand times more
                if reached_bytes and not self._pinned.resumable:
                    raise
                wait_after(error, retries)
