from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob
from hubfs.models.troubles import Troubles, WatchedBlob
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.testing import MemorySource
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract

NAME = "variables/variables.data-00000-of-00001"


class TestWatchedBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        cancellation = Cancellation()
        source = MemorySource({NAME: payload})
        entry = source.find(NAME)
        prefetcher = Prefetcher(cancellation)
        blob = WatchedBlob(source.open(entry), Troubles(), str(source.handle), NAME)
        blob.follow, release = prefetcher.opened(source, entry)
        yield blob
        release()
        cancellation.cancel()
