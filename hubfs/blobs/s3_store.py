"""A store of objects in a bucket of S3, or of a server that speaks its protocol: SeaweedFS, MinIO, Ceph."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fsspec.asyn import get_loop

from hubfs.blobs.fsspec_store import FsspecStore, translated
from hubfs.blobs.gcs.client import GcsSettings
from hubfs.blobs.http.transfer import refusal
from hubfs.blobs.retry import Busy
from hubfs.blobs.store import StoredObject
from hubfs.errors import AccessDenied, HubfsError, InvalidConfig, NotFound
from hubfs.waiting import Cancellation

_CLOSE_S = 1.0

_THERE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
"""How stores refuse `If-None-Match: *`: there is an object, or another request is making one just now."""

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")
"""Exceptions of botocore, which only s3fs imports."""


class RefusedByS3(AccessDenied):
    """The store refuses, or nobody has credentials for it."""

    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for keys that may read and write there"


class S3Store(FsspecStore):
    """An `ObjectStore` below `s3://bucket/prefix`, by s3fs. No mutable state, so no lock.

    Credentials, region and endpoint are those that botocore finds: `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
    `AWS_ENDPOINT_URL`, … An object is created by `If-None-Match: *`.
    """

    def __init__(self, url: str, settings: GcsSettings, cancellation: Cancellation) -> None:
        bucket, _, folder = url.partition("://")[2].partition("/")
        if not bucket:
            raise InvalidConfig("The store of objects names no bucket; write s3://bucket/prefix")
        self._bucket = bucket
        self._folder = f"{folder.strip('/')}/".lstrip("/")
        super().__init__(url, settings, cancellation)
        self._fs.retries = 1  # `retrying` counts attempts

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """The objects whose names begin with `prefix`. By the bucket: for a folder that is empty s3fs asks thrice."""
        whole = self._folder + prefix
        try:
            found = self._ask(lambda: self._call("find", self._bucket, prefix=whole, detail=True), prefix, 0)
        except NotFound:
            return []
        root = f"{self._bucket}/{self._folder}"
        # A name that ends with a slash is the placeholder of a folder.
        return [
            StoredObject(str(path).removeprefix(root), int(info["size"]))
            for path, info in sorted(found.items())
            if str(path).startswith(f"{self._bucket}/{whole}") and not str(path).endswith("/")
        ]

    def close(self) -> None:
        """Ends the connections."""
        client = self._fs._s3  # noqa: SLF001 - the public property would connect
        if client is not None:
            closing = asyncio.run_coroutine_threadsafe(client.close(), get_loop())
            with suppress(Exception):  # a connection that cannot be closed ends with the process
                closing.result(_CLOSE_S)

    def _options(self, settings: GcsSettings) -> Mapping[str, Any]:
        """What s3fs is told.

        Not to keep listings or instances, to get an object by one request (else it asks for the size first, and for
        pieces, which may be of two objects), and to leave attempts to `retrying`.
        """
        client = {
            "connect_timeout": settings.connect_timeout_s,
            "read_timeout": settings.timeout_s,  # between two bytes
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        return {"max_concurrency": 1, "config_kwargs": client}

    async def _put(self, path: str, data: bytes, *, if_absent: bool) -> bool:
        try:
            return await super()._put(path, data, if_absent=if_absent)
        except OSError as error:
            # s3fs calls it FileExistsError only where the store names the condition, which S3 alone does.
            if if_absent and _reply_of(error).get("Error", {}).get("Code") in _THERE:
                return False
            raise

    def _translated(self, error: Exception, url: str, bound_s: float) -> HubfsError:
        if type(error).__name__ in _NO_CREDENTIALS:
            return RefusedByS3(f"{url}: there are no credentials")
        reply = _reply_of(error).get("ResponseMetadata", {})
        wish = {"Retry-After": str(reply.get("HTTPHeaders", {}).get("retry-after", ""))}
        refused = refusal(url, int(reply.get("HTTPStatusCode", HTTPStatus.OK)), wish)
        if isinstance(refused, Busy):  # SlowDown among them
            return refused
        found = translated(error, url, bound_s)
        return RefusedByS3(str(found)) if isinstance(found, AccessDenied) else found


def _reply_of(error: Exception) -> Mapping[str, Any]:
    """What the store said, as botocore tells it; empty if `error` is of something else."""
    for raised in (error, error.__cause__):
        reply = getattr(raised, "response", None)
        if isinstance(reply, Mapping):
            return reply
    return {}
