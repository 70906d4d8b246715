"""A ranged read of an object, from its request to its bytes."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from hubfs.blobs.gcs.object import GcsObject
from hubfs.errors import NotFound, Stale, Unavailable

Reply = tuple[Mapping[str, str], bytes]
"""Headers and body."""

PendingReply = Future[Reply]


class PendingRead:
    """A read that is under way; either `result` or `give_up` ends it. `end_bytes` is where the next one begins.

    `finish` waits for the reply, within bounds, and translates what happened instead. `began_s` is when the read began,
    on the monotonic clock.
    """

    def __init__(
        self, obj: GcsObject, offset_bytes: int, size_bytes: int, future: PendingReply, finish: Callable[[], Reply]
    ) -> None:
        self._object = obj
        self._future = future
        self._finish = finish
        self.offset_bytes = offset_bytes
        self.size_bytes = size_bytes
        self.end_bytes = offset_bytes + size_bytes
        self.began_s = time.monotonic()

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._future.done()

    def result(self) -> bytes:
        """Waits for the bytes; see `GcsClient.read`."""
        obj = self._object
        try:
            reply, body = self._finish()
        except NotFound as error:
            raise Stale(
                f"{obj.url} was replaced or deleted since it was listed (generation {obj.generation})"
            ) from error
        if reply.get("X-Goog-Generation", obj.generation) != obj.generation:
            raise Stale(f"{obj.url} was replaced since it was listed (generation {obj.generation})")
        if len(body) != self.size_bytes:
            raise Unavailable(
                f"{obj.url}: asked for {self.size_bytes} bytes at {self.offset_bytes}, the store sent {len(body)}"
            )
        return body

    def give_up(self) -> None:
        """Ends the transfer; does nothing to one that is done. Does not block."""
        self._future.cancel()
