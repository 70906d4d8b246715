"""The door to stores of named objects that may be written: buckets of Google's and of S3, and what fsspec can reach."""

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple, Protocol

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryPolicy, retrying
from hubfs.errors import InvalidConfig, NotFound
from hubfs.waiting import Cancellation

LARGEST_OBJECT_BYTES = 16 << 20
"""What a read may have to wait for, as far as its time-out is concerned: nobody says before how large an object is."""

_PLAIN: Mapping[str, str] = {}


class StoredObject(NamedTuple):
    """An object as it was listed."""

    name: str
    size_bytes: int


class ObjectStore(Protocol):
    """Whole objects by name (a relative path with slashes). Thread-safe; every call is bounded and ends on cancel.

    All raise `AccessDenied`, `TimedOut`, `Unavailable`, `Cancelled`, and `NotFound` when the bucket itself is missing.
    """

    @property
    def url(self) -> str:
        """The store, for messages."""
        ...

    def get(self, name: str) -> bytes | None:
        """All bytes of an object; None if there is none of that name."""
        ...

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Stores an object, whole or not at all. With `if_absent`, False if there was one, which is left alone."""
        ...

    def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is no error."""
        ...

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """The objects whose names start with `prefix`, by name."""
        ...

    def close(self) -> None:
        """Ends the connections."""
        ...


STORE_SETTINGS = GcsSettings(
    access="read_write", timeout_s=10.0, retry=RetryPolicy(attempts=2, base_s=0.2, cap_s=1.0, retry_after_cap_s=1.0)
)
"""Silence is borne for a short time only, because a reader waits, and the origin has the same bytes."""


def open_store(url: str, settings: GcsSettings, cancellation: Cancellation) -> ObjectStore:
    """The store below `url`: `gs://bucket/prefix`, `s3://bucket/prefix`, or any URL that fsspec reads and writes.

    `settings.retry` is for each call. A store of fsspec's takes nothing but that and `timeout_s` of the settings.
    Asks nobody anything. Raises `InvalidConfig` for a URL that nobody understands, or credentials of no use.
    """
    if url.startswith("gs://"):
        return GcsStore(url, settings, cancellation)
    if url.startswith(("s3://", "s3a://")):
        from hubfs.blobs.s3_store import S3Store  # noqa: PLC0415 - as below

        return S3Store(url, settings, cancellation)
    from hubfs.blobs.fsspec_store import FsspecStore  # noqa: PLC0415 - fsspec and what it finds take a while to import

    return FsspecStore(url, settings, cancellation)


class GcsStore:
    """An `ObjectStore` in a bucket of Google Cloud Storage, `gs://bucket/prefix`. No state of its own, so no lock."""

    def __init__(self, url: str, settings: GcsSettings, cancellation: Cancellation) -> None:
        bucket, _, folder = url.removeprefix("gs://").partition("/")
        if not bucket:
            raise InvalidConfig(f"{redacted(url)} names no bucket; write gs://bucket/prefix")
        self._bucket = bucket
        self._root = f"{folder.strip('/')}/".lstrip("/")
        self._client = GcsClient(settings, cancellation)
        self._client.load_credentials()

    @property
    def url(self) -> str:
        """`gs://bucket/prefix`."""
        return f"gs://{self._bucket}/{self._root}"

    def get(self, name: str) -> bytes | None:
        """The content of an object, or None if there is none."""
        url = self._client.object_url(self._bucket, self._root + name, alt="media")
        try:
            return self._client.answer(url, self.url + name, LARGEST_OBJECT_BYTES)
        except NotFound:
            return None

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Stores an object; whether it did: not if it is there, with `if_absent`.

        The condition is `ifGenerationMatch=0`, which emulators know of multipart uploads only.
        """
        condition = {"ifGenerationMatch": "0"} if if_absent else {}
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': self._root + name})}\r\n"
        head += f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        status = self._change(
            "POST",
            self._client.upload_url(self._bucket, uploadType="multipart", **condition),
            name,
            b"".join([head.encode(), data, f"\r\n--{boundary}--\r\n".encode()]),
            {"Content-Type": f"multipart/related; boundary={boundary}"},
        )
        return status != HTTPStatus.PRECONDITION_FAILED

    def delete(self, name: str) -> None:
        """Deletes an object, if it is there."""
        with suppress(NotFound):
            self._change("DELETE", self._client.object_url(self._bucket, self._root + name), name)

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """The objects whose names begin with `prefix`."""
        found = self._client.list(self._bucket, self._root + prefix)
        return [StoredObject(obj.name.removeprefix(self._root), obj.size_bytes) for obj in found]

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def _change(self, method: str, url: str, name: str, body: bytes = b"", headers: Mapping[str, str] = _PLAIN) -> int:
        client = self._client
        with client.told(self.url + name):
            return retrying(
                lambda: client.http.change(method, url, body, headers), client.settings.retry, client.cancellation
            )
