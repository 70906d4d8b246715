from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import pytest

from hubfs.blobs.gcs.client import GcsClient
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.cache.memory import MemoryTier
from hubfs.hubs.hub import label_of
from hubfs.model_id import model_name
from hubfs.sources.archive.passes import ArchiveSettings
from hubfs.sources.files import FilesSource
from hubfs.sources.source import Form, Source
from tests.contracts.source_contract import HANDLE, SourceContract
from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.http_clients import gcs_client, http_client
from tests.support.http_origin import HttpOrigin
from tests.support.sources import HUB, bucket_source, kept_bucket_source
from tests.support.streams import archive_source, wrap_by


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    with gcs_server() as server:
        server.create_bucket("models")
        yield server


@cache
def packed(files: tuple[tuple[str, bytes], ...]) -> bytes:
    return gzipped(tar_of(dict(files)), level=1)


class TestArchiveSource(SourceContract):
    form = Form.COMPRESSED
    memory_size_bytes = 64 << 20

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        archive = packed(tuple(files.items()))
        with HttpOrigin() as origin, http_client() as client, ThreadPoolExecutor(2) as pool:
            origin.put("/model", archive, etag=f'"{hash(archive)}"')
            stream = HttpStream(client, f"{origin.url}/model?tf-hub-format=compressed")
            cache = MemoryTier(self.memory_size_bytes)
            yield archive_source(
                HANDLE,
                stream.url,
                model_name(label_of(HUB), HANDLE, stream.identity),
                stream.identity,
                open_stream=lambda: stream,
                cache=cache,
                wrap=wrap_by(cache, pool, client.cancellation),
                cancellation=client.cancellation,
                settings=ArchiveSettings(ahead_bytes=self.memory_size_bytes // 2),
                on_complete=lambda _: None,
            )


class TestArchiveSourceWithoutMemory(TestArchiveSource):
    memory_size_bytes = 0


class TestBucketSource(SourceContract):
    form = Form.UNCOMPRESSED

    @pytest.fixture(autouse=True)
    def _server(self, server: GcsServer) -> None:
        self.server = server

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        for path, data in files.items():
            self.server.upload("models", f"spice/2/{path}", data)
        with gcs_client(self.server.url) as client:
            yield self.reopened(bucket_source(client, HANDLE, "gs://models/spice/2"), client)

    def reopened(self, source: FilesSource, client: GcsClient) -> FilesSource:
        return source


class TestBucketSourceFromAnIndex(TestBucketSource):
    def reopened(self, source: FilesSource, client: GcsClient) -> FilesSource:
        return kept_bucket_source(client, HANDLE, source.to_index())
