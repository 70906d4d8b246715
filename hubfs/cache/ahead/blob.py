"""Fetches ahead of one reader."""

import threading

from hubfs.blobs.blob import Prefetchable
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.ahead.policy import START, ReadAheadPolicy, refused


class ReadAheadBlob(WrappedBlob):
    """One reader's view of a blob: notices sequential reading and fetches ahead. Made per open file.

    `_lock` guards `_streams`; it is not held while anything is fetched.
    """

    _blob: Prefetchable

    def __init__(self, blob: Prefetchable, policy: ReadAheadPolicy) -> None:
        super().__init__(blob)
        self._policy = policy
        self._lock = threading.Lock()
        self._streams = START

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """See `Blob`."""
        with self._lock:
            self._streams, ahead = self._policy.plan(self._streams, offset_bytes, size_bytes, self.size_bytes)
        if ahead is not None:
            reached_bytes = self._blob.prefetch(ahead.start, len(ahead))
            if reached_bytes < ahead.stop:
                with self._lock:
                    self._streams = refused(self._streams, ahead, reached_bytes)
        return self._blob.read_at(offset_bytes, size_bytes)
