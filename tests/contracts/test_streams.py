from collections.abc import Iterator
from contextlib import contextmanager

from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.blobs.streaming.stream import RangedStream
from hubfs.waiting import Cancellation
from tests.contracts.stream_contract import Stream, StreamContract
from tests.support.gcs_server import gcs_server
from tests.support.http_clients import QUICK, gcs_client, http_client
from tests.support.http_origin import HttpOrigin, redirect
from tests.support.ranges import ScriptedRanges


class TestHttpStream(StreamContract):
    virtues: dict[str, object] = {"etag": '"v1"'}  # noqa: RUF012 - a constant

    @contextmanager
    def stream_of(self, payload: bytes) -> Iterator[Stream]:
        with HttpOrigin() as origin, http_client() as client:
            origin.put("/file", payload, **self.virtues)
            origin.route("/moved", redirect("/file?signature=secret"))
            yield HttpStream(client, origin.url + "/moved?tf-hub-format=compressed")


class TestHttpStreamByDate(TestHttpStream):
    virtues = {"last_modified": "Wed, 21 Oct 2015 07:28:00 GMT"}  # noqa: RUF012 - a constant


class TestHttpStreamWithoutValidator(TestHttpStream):
    virtues = {}  # noqa: RUF012 - a constant


class TestHttpStreamWithoutRanges(TestHttpStream):
    virtues = {"etag": '"v1"', "ranges": False}  # noqa: RUF012 - a constant


class TestHttpStreamWithoutSize(TestHttpStream):
    virtues = {"ranges": False, "chunked": True}  # noqa: RUF012 - a constant


class TestRangedStream(StreamContract):
    @contextmanager
    def stream_of(self, payload: bytes) -> Iterator[Stream]:
        yield RangedStream(ScriptedRanges(payload), retry=QUICK, cancellation=Cancellation())


class TestGcsStream(StreamContract):
    @contextmanager
    def stream_of(self, payload: bytes) -> Iterator[Stream]:
        with gcs_server() as server, gcs_client(server.url) as client:
            server.create_bucket("bucket")
            server.upload("bucket", "a/b.tar.gz", payload)
            yield client.stream(client.at("gs://bucket/a/b.tar.gz"))
