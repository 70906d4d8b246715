"""The door to stores of named objects that may be written: buckets of Google's and of S3, and what fsspec can reach."""

import itertools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from google_crc32c import extend, value

from hubfs.blobs.checksums import CRC32C, Checksum
from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.gcs.object import GcsFolder, GcsObject
from hubfs.blobs.http.url import redacted
from hubfs.blobs.retry import RetryPolicy, retrying
from hubfs.errors import Damaged, InvalidConfig, NotFound, needing
from hubfs.waiting import Cancellation

LARGEST_OBJECT_BYTES = 16 << 20
"""What a read may have to wait for, as far as its time-out is concerned: nobody says before how large an object is."""

_PIECE_BYTES = 1 << 20

_PART_BYTES = 16 << 20
"""One request of a file: what is lost with a connection, or with the process."""

_MOST_COMPOSED = 32
"""The store puts no more objects together at once."""

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
        with needing("s3fs", redacted(url), "'hubfs[s3]'"):
            import_module("s3fs")
            from hubfs.blobs.s3_store import S3Store  # noqa: PLC0415 - as below

        return S3Store(url, settings, cancellation)
    with needing("fsspec", redacted(url)):
        from hubfs.blobs.fsspec_store import FsspecStore  # noqa: PLC0415 - fsspec and what it finds take long to import

    return FsspecStore(url, settings, cancellation)


def crc32c_of(file: Path) -> Checksum:
    """Of all bytes of a file."""
    crc = 0
    with file.open("rb") as opened:
        for piece in iter(lambda: opened.read(_PIECE_BYTES), b""):
            crc = extend(crc, piece)
    return Checksum(CRC32C, f"{crc:08x}")


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

    def put_file(self, name: str, file: Path, parts: str, sent: Callable[[int], None]) -> None:
        """Stores a file of any size, in parts that the store then puts together: the object appears whole.

        Names of parts begin with `parts`. Parts that an earlier attempt has left there are not sent again. `sent` is
        told how many bytes are there so far. Raises `Damaged` if other bytes arrived, which are deleted.
        """
        size_bytes, crc, made = file.stat().st_size, 0, list[str]()
        there = {obj.name: obj.checksum for obj in self._client.list(self._bucket, self._root + parts)}
        with file.open("rb") as opened:
            while (piece := opened.read(_PART_BYTES)) or not made:
                made.append(f"{parts}{len(made):06}")
                if there.get(self._root + made[-1]) != Checksum(CRC32C, f"{value(piece):08x}"):
                    self.put(made[-1], piece)
                crc = extend(crc, piece)
                sent(min(len(made) * _PART_BYTES, size_bytes))
        for level in itertools.count():
            if len(made) <= _MOST_COMPOSED:
                break
            groups = [made[at : at + _MOST_COMPOSED] for at in range(0, len(made), _MOST_COMPOSED)]
            made = [self._composed(f"{parts}{level}+{at:06}", group) for at, group in enumerate(groups)]
        self._composed(name, made)
        stored = self.described(name)
        for part in self.list(parts):
            self.delete(part.name)
        if stored is None or stored.checksum != Checksum(CRC32C, f"{crc:08x}"):
            self.delete(name)
            raise Damaged(f"{self.url}{name} arrived with another crc32c, and was deleted: try again")

    def _composed(self, name: str, parts: Sequence[str]) -> str:
        """Makes an object of the bytes of others; its name."""
        body = json.dumps({"sourceObjects": [{"name": self._root + part} for part in parts], "destination": {}})
        url = f"{self._client.object_url(self._bucket, self._root + name).rstrip('?')}/compose"
        self._change("POST", url, name, body.encode(), {"Content-Type": "application/json"})
        return name

    def described(self, name: str) -> GcsObject | None:
        """An object as it is now; None if there is none of that name."""
        try:
            return self._client.stat(self._bucket, self._root + name)
        except NotFound:
            return None

    def folder(self, name: str) -> GcsFolder:
        """What is directly below `name` (all, for an empty one), with names as in the bucket."""
        return self._client.folder(self._bucket, f"{self._root}{name}/" if name else self._root)

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
