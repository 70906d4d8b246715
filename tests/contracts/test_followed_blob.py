from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.testing import MemorySource
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract

NAME = "variables/variables.data-00000-of-00001"


class TestFollowedBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        cancellation = Cancellation()
        source = MemorySource({NAME: payload})
        entry = source.find(NAME)
        prefetcher = Prefetcher(cancellation)
        blob, release = prefetcher.opened(source, entry, source.open(entry))
        assert blob is not source.open(entry)
        yield blob
        release()
        cancellation.cancel()
