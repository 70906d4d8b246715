from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hubfs.blobs.http.client import HttpClient
from hubfs.hubs.tfhub import tfjs
from hubfs.sources.files import FilesSource, Manifest
from hubfs.sources.hosted import kept_files, probe_files
from hubfs.sources.source import Form, Source
from tests.contracts.source_contract import HANDLE, SourceContract
from tests.support.hosted import put_tfjs
from tests.support.http_clients import NO_HEADERS, http_client
from tests.support.http_origin import HttpOrigin
from tests.support.sources import source_of


class TestHostedFiles(SourceContract):
    form = Form.FILES
    virtues: dict[str, object] = {}  # noqa: RUF012 - a constant

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        with HttpOrigin() as origin, http_client() as client:
            put_tfjs(origin, "/model", files, **self.virtues)
            url = f"{origin.url}/model"
            urls = {path: tfjs.url_of(url, path) for path in files}
            manifest = Manifest(url, Form.FILES, probe_files(client, HANDLE, url, urls, NO_HEADERS))
            yield self.reopened(source_of(manifest, HANDLE), client, urls)

    def reopened(
        self,
        source: FilesSource,
        client: HttpClient,
        urls: Mapping[str, str],
    ) -> FilesSource:
        return source


class TestHostedFilesOnAHostWithoutValidators(TestHostedFiles):
    virtues = {"etag": None}  # noqa: RUF012 - a constant


class TestHostedFilesFromAnIndex(TestHostedFiles):
    def reopened(self, source: FilesSource, client: HttpClient, urls: Mapping[str, str]) -> FilesSource:
        kept = kept_files(client, HANDLE, source.to_index(), lambda path: (urls[path], NO_HEADERS))
        return source_of(kept, HANDLE)
