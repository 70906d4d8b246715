import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.formats.gzip import recorder as index_recorder
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.waiting import Cancellation
from tests.contracts.blob_contract import BlobContract
from tests.support.checkpoints import index_of


class TestGzipBlob(BlobContract):
    @pytest.fixture(autouse=True)
    def _many_spans(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(index_recorder, "SPACING_BYTES", 200_000)

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        archive = gzip.compress(payload, 1)
        index = index_of(archive)
        assert len(index) >= min(len(payload), 10)
        with ThreadPoolExecutor(3) as pool:
            yield GzipBlob(
                MemoryBlob("archive", archive), index, name="archive", pool=pool, cancellation=Cancellation()
            )
