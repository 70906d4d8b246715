from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.blob import Blob
from hubfs.blobs.http.blob import HttpBlob
from tests.contracts.blob_contract import BlobContract
from tests.support.http_clients import http_client
from tests.support.http_origin import HttpOrigin, redirect


class TestHttpBlob(BlobContract):
    virtues: dict[str, object] = {"etag": '"v1"'}  # noqa: RUF012 - a constant

    @contextmanager
    def blob_of(self, payload: bytes) -> Iterator[Blob]:
        with HttpOrigin() as origin, http_client() as client:
            origin.put("/file", payload, **self.virtues)
            origin.route("/moved", redirect("/file"))
            yield HttpBlob(client, origin.url + "/moved")


class TestHttpBlobByDate(TestHttpBlob):
    virtues = {"last_modified": "Wed, 21 Oct 2015 07:28:00 GMT"}  # noqa: RUF012 - a constant


class TestHttpBlobWithoutRanges(TestHttpBlob):
    virtues = {"etag": '"v1"', "ranges": False}  # noqa: RUF012 - a constant


class TestHttpBlobWithoutRangesOrValidator(TestHttpBlob):
    virtues = {"ranges": False}  # noqa: RUF012 - a constant
