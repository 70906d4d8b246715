from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from hubfs.blobs.blob import Blob
from hubfs.blobs.memory import MemoryBlob
from hubfs.catalogue.handle import parse_handle
from hubfs.hubs.resolver import Form
from hubfs.sources.listed import ListedSource, tree_of
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract

NAME = "variables/variables.data-00000-of-00001"


class OneFile(ListedSource):
    form: ClassVar[Form] = Form.UNCOMPRESSED


class TestFollowedBlob(BlobContract):
    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        cancellation = Cancellation()
        source = OneFile(
            "https://hub.example",
            parse_handle("a/model/1"),
            "gs://models/a",
            "v1",
            entries=tree_of("gs://models/a", {NAME: len(payload)}),
            blob_of=lambda path: MemoryBlob(path, payload),
            wrap=lambda _, blob: blob,
            on_failure=None,
        )
        entry = source.find(NAME)
        prefetcher = Prefetcher(cancellation)
        blob, release = prefetcher.opened(source, entry, source.open(entry))
        assert blob is not source.open(entry)
        yield blob
        release()
        cancellation.cancel()
