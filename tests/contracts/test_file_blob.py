import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.blobs.blob import Blob
from hubfs.blobs.file import FileBlob
from tests.contracts.blob_contract import BlobContract


class TestFileBlob(BlobContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        with tempfile.NamedTemporaryFile(dir=self.directory) as file:
            file.write(payload)
            file.flush()
            path = Path(file.name)
            yield FileBlob(path, len(payload), path.stat().st_mtime_ns)
