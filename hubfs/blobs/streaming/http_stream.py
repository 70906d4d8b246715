"""An archive on an HTTP host, read from start to end by ranges."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing

from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import HttpObject, identity_of
from hubfs.blobs.http.pinned import PinnedObject, RangesIgnored
from hubfs.blobs.http.url import without_secrets
from hubfs.blobs.retry import Retries
from hubfs.blobs.streaming.ranges import Ranges, chunks_of
from hubfs.blobs.streaming.stream import MOST_CONNECTIONS, EndedEarly, RangedStream, wait_after
from hubfs.errors import Damaged, TimedOut, Unavailable
from hubfs.memory_budget import MemoryBudget

_log = logging.getLogger(__name__)


class HttpStream:
    """The bytes behind `url`, as they were when this was made; `headers` are for its host only.

    Making one asks the host what it has, unless that is `known`, and raises as `HttpClient.probe` does. `size_bytes` is
    None where the host does not say. With `locate`, `url` is a name, and `locate` says where the bytes are. A host with
    ranges is asked for them over up to `connections` connections, within `allowance` (see `RangedStream`); any other
    one is read over one.
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
        self._pinned = PinnedObject(client, url, headers or {}, known, locate)
        self.identity = identity_of(self._pinned.seen)
        self.stamp = self._pinned.seen.stamp  # a replica that is seen later may tell another date
        self.url = without_secrets(url)
        self._ranged = self._ranged_stream(connections, allowance)

    @property
    def pinned(self) -> bool:
        """Whether the identity says which bytes these are; see `HttpObject`."""
        return self._pinned.seen.pinned

    @property
    def size_bytes(self) -> int | None:
        """How many bytes there are, if the host says so."""
        return self._pinned.size_bytes

    def chunks(self) -> Generator[bytes, None, None]:
        """Yields all bytes once, from the first on: 256 KiB each on a fast line, less on a slow one.

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
            Ranges(self._pinned, self.url, self.identity, size_bytes),
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
