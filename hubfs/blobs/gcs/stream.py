"""An archive in a bucket, read from the start to the end."""

from collections.abc import Iterator
from contextlib import closing

from hubfs.blobs.crc32c import combine, crc32c
from hubfs.blobs.gcs.client import AS_STORED, GcsClient
from hubfs.blobs.gcs.object import GcsObject, bucket_and_name
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.blobs.streaming.stream import MOST_CONNECTIONS
from hubfs.errors import Damaged
from hubfs.memory_budget import MemoryBudget


class GcsStream:
    """The bytes of an object, as they are at this moment; `origin` is the object, or its `gs://bucket/name`.

    A URL costs one request, which raises as `GcsClient.stat` does, and `Damaged` for a text that names no object. It is
    read as by `HttpStream`, over up to `connections` connections, within `allowance`. Thread-safe; a generator is for
    one thread.
    """

    def __init__(
        self,
        client: GcsClient,
        origin: GcsObject | str,
        *,
        connections: int = MOST_CONNECTIONS,
        allowance: MemoryBudget | None = None,
    ) -> None:
        self._client = client
        self.object = obj = origin if isinstance(origin, GcsObject) else _object_at(client, origin)
        self.url, self.identity, self.stamp, self.size_bytes = obj.url, obj.key, obj.stamp, obj.size_bytes
        self.pinned = True  # the generation says which bytes these are
        known = client.pinned(obj)
        self._stream = HttpStream(
            client.http, known.url, AS_STORED, known=known, connections=connections, allowance=allowance
        )

    def chunks(self) -> Iterator[bytes]:
        """Yields all bytes once, from the first on; a broken transfer is resumed inside. Raises as `HttpStream` does.

        The last one is not yielded before the whole was held against the crc32c that the store gives, if it does.
        """
        crc = reached_bytes = 0
        with self._client.told(self.url), closing(self._stream.chunks()) as chunks:
            for chunk in chunks:
                crc = combine(crc, crc32c(chunk), len(chunk))
                reached_bytes += len(chunk)
                if reached_bytes == self.size_bytes:
                    self._verify(crc)
                yield chunk

    def _verify(self, crc: int) -> None:
        announced = self.object.crc32c
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
