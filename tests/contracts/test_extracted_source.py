import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.hubs.tfhub.extracted.source import ExtractedSource
from hubfs.sources.source import Form, Source
from tests.contracts.source_contract import HANDLE, SourceContract


class TestExtractedSource(SourceContract):
    form = Form.COMPRESSED
    test_its_index_survives_json = None  # it has none: its directory is looked at anew after every start

    @pytest.fixture(autouse=True)
    def _cache_dir(self, tmp_path: Path) -> None:
        self.cache_dir = tmp_path

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        directory = Path(tempfile.mkdtemp(dir=self.cache_dir))
        for path, data in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
        yield ExtractedSource("https://hub.example", HANDLE, directory)
