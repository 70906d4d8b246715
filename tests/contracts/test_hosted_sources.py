from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hubfs.blobs.http.client import HttpClient
from hubfs.hubs.resolver import Form, Location
from hubfs.sources.source import Source
from hubfs.sources.tfjs import TfjsSource
from tests.contracts.source_contract import HANDLE, SourceContract
from tests.support.hosted import put_tfjs
from tests.support.http_clients import http_client
from tests.support.http_origin import HttpOrigin


class TestTfjsSource(SourceContract):
    form = Form.FILES
    virtues: dict[str, object] = {}  # noqa: RUF012 - a constant

    @contextmanager
    def source_of(self, files: Mapping[str, bytes]) -> Iterator[Source]:
        with HttpOrigin() as origin, http_client() as client:
            put_tfjs(origin, "/model", files, **self.virtues)
            location = Location(f"{origin.url}/model", Form.FILES)
            source = TfjsSource.probe(client, origin.url, HANDLE, location, paths=files, wrap=lambda _, blob: blob)
            yield self.reopened(source, client, location)

    def reopened(self, source: TfjsSource, client: HttpClient, location: Location) -> TfjsSource:
        return source


class TestTfjsSourceOnAHostWithoutValidators(TestTfjsSource):
    virtues = {"etag": None}  # noqa: RUF012 - a constant


class TestTfjsSourceFromAnIndex(TestTfjsSource):
    def reopened(self, source: TfjsSource, client: HttpClient, location: Location) -> TfjsSource:
        return TfjsSource.from_index(
            client, "https://hub.example", HANDLE, source.to_index(), lambda _, blob: blob, locate=lambda: location
        )
