"""The door to stores of named objects that may be written: buckets of Google's, and whatever fsspec can reach."""

import asyncio
import concurrent.futures
import io
import json
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, TypeVar

import aiohttp
import fsspec
from fsspec.asyn import get_loop
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.url import redacted, without_secrets
from hubfs.blobs.retry import Permanent, RetryPolicy, retrying
from hubfs.errors import AccessDenied, HubfsError, InvalidConfig, NotFound, TimedOut, Unavailable, quoted
from hubfs.waiting import Cancellation

T = TypeVar("T")

_SLOWEST_BYTES_PER_S = 32 << 10
_LARGEST_OBJECT_BYTES = 16 << 20
"""What a read may have to wait for, as far as its time-out is concerned: nobody says before how large an object is."""


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


@dataclass(frozen=True)
class ObjectStoreSettings:
    """How to reach a store.

    `endpoint_url` and `token` are as in `GcsSettings`, for `gs://` only. `timeout_s`: the longest silence that is
    borne; it is short, because a reader waits, and the origin has the same bytes. `retry`: for each call.
    """

    endpoint_url: str | None = None
    token: str | None = "anon"  # noqa: S105 - the name of a way to authenticate
    timeout_s: float = 10.0
    retry: RetryPolicy = RetryPolicy(attempts=2, base_s=0.2, cap_s=1.0, retry_after_cap_s=1.0)  # noqa: RUF009 - frozen


def open_store(url: str, settings: ObjectStoreSettings, cancellation: Cancellation) -> ObjectStore:
    """The store below `url`: `gs://bucket/prefix`, or any URL that fsspec has an implementation for.

    Asks nobody anything. Raises `InvalidConfig` for a URL that nobody understands, or credentials of no use.
    """
    if url.startswith("gs://"):
        return GcsStore(url, settings, cancellation)
    return FsspecStore(url, settings, cancellation)


class GcsStore:
    """An `ObjectStore` in a bucket of Google Cloud Storage, `gs://bucket/prefix`. No state of its own, so no lock."""

    def __init__(self, url: str, settings: ObjectStoreSettings, cancellation: Cancellation) -> None:
        bucket, _, folder = url.removeprefix("gs://").partition("/")
        if not bucket:
            raise InvalidConfig(f"{redacted(url)} names no bucket; write gs://bucket/prefix")
        self._bucket = bucket
        self._root = f"{folder.strip('/')}/".lstrip("/")
        self._retry = settings.retry
        self._cancellation = cancellation
        self._client = _WritingClient(
            GcsSettings(
                endpoint_url=settings.endpoint_url,
                token=settings.token,
                timeout_s=settings.timeout_s,
                retry=settings.retry,
            ),
            cancellation,
        )

    @property
    def url(self) -> str:
        """`gs://bucket/prefix`."""
        return f"gs://{self._bucket}/{self._root}"

    def get(self, name: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._retried(lambda: self._client.fetch(self._bucket, self._root + name))

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See `ObjectStore`; the condition is `ifGenerationMatch=0`."""
        return self._retried(lambda: self._client.store(self._bucket, self._root + name, data, if_absent=if_absent))

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        self._retried(lambda: self._client.remove(self._bucket, self._root + name))

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """See `ObjectStore`."""
        found = self._client.list(self._bucket, self._root + prefix)
        return [StoredObject(obj.name.removeprefix(self._root), obj.size_bytes) for obj in found]

    def close(self) -> None:
        """See `ObjectStore`."""
        self._client.close()

    def _retried(self, attempt: Callable[[], T]) -> T:
        return retrying(attempt, self._retry, self._cancellation)


class _WritingClient(GcsClient):
    """The client of the hub's buckets, and what it takes to write. One attempt a call."""

    access = "read_write"

    def fetch(self, bucket: str, name: str) -> bytes | None:
        request = self._fs._call("GET", self._fs.url(f"{bucket}/{name}"))  # noqa: SLF001 - as in `GcsClient.read`
        try:
            return self._ask(request, f"gs://{bucket}/{name}", _LARGEST_OBJECT_BYTES)
        except NotFound:
            return None

    def store(self, bucket: str, name: str, data: bytes, *, if_absent: bool) -> bool:
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': name})}\r\n"
        head += f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        # gcsfs's own upload sends bytes, of which aiohttp warns when they are many. Emulators know `ifGenerationMatch`
        # of this kind of upload only.
        request = self._fs._call(  # noqa: SLF001 - as in `GcsClient.read`
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{{}}/o",  # noqa: SLF001 - the endpoint, as gcsfs understood it
            bucket,
            uploadType="multipart",
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            data=io.BytesIO(b"".join([head.encode(), data, f"\r\n--{boundary}--\r\n".encode()])),
            **({"ifGenerationMatch": "0"} if if_absent else {}),
        )
        try:
            self._ask(request, f"gs://{bucket}/{name}", len(data))
        except Permanent as error:
            if if_absent and getattr(error.__cause__, "status", None) == HTTPStatus.PRECONDITION_FAILED:
                return False
            raise
        return True

    def _ask(self, request: Coroutine[Any, Any, Any], url: str, size_bytes: int) -> bytes:
        _, body = self._finish(self._begin(request, url), url, size_bytes)
        return body

    def remove(self, bucket: str, name: str) -> None:
        request = self._fs._call("DELETE", "b/{}/o/{}", bucket, name)  # noqa: SLF001 - as in `GcsClient.read`
        try:
            self._ask(request, f"gs://{bucket}/{name}", 0)
        except NotFound:
            return


class FsspecStore:
    """An `ObjectStore` on any file system of fsspec: `file:///mnt/nfs/cache`, `s3://…`, `memory://…`.

    Everything runs on fsspec's event loop, or in a thread beside it where the implementation blocks. No mutable state,
    so no lock.
    """

    def __init__(self, url: str, settings: ObjectStoreSettings, cancellation: Cancellation) -> None:
        self.url = without_secrets(url)
        self._settings = settings
        self._cancellation = cancellation
        try:
            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, auto_mkdir=True)
        except (ValueError, ImportError, OSError, TypeError) as error:
            raise InvalidConfig(f"{self.url} cannot be used as a store of objects: {error}") from error
        self._root = f"{root.rstrip('/')}/"
        # Its files are shared objects with a position: it must not be used by two threads.
        self._blocks = not isinstance(self._fs, MemoryFileSystem)

    def get(self, name: str) -> bytes | None:
        """See `ObjectStore`."""
        try:
            data = self._ask(lambda: self._call("cat_file", self._root + name), name, _LARGEST_OBJECT_BYTES)
        except NotFound:
            return None
        return bytes(data)

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See `ObjectStore`. `if_absent` is as strict as the implementation's mode "create" is."""
        return self._ask(lambda: self._put(self._root + name, data, if_absent=if_absent), name, len(data))

    async def _put(self, path: str, data: bytes, *, if_absent: bool) -> bool:
        mode = {"mode": "create"} if if_absent else {}
        try:
            if not isinstance(self._fs, LocalFileSystem):
                await self._call("pipe_file", path, data, **mode)
                return True
            # Written aside: a reader, or a kill, must not see half an object.
            folder, _, _ = path.rpartition("/")
            aside = f"{folder}/.{uuid.uuid4().hex}"
            await self._call("pipe_file", aside, data)
            if not if_absent:
                await self._call("mv", aside, path)
                return True
            try:
                await self._call("link", aside, path)
            finally:
                await self._call("rm_file", aside)
        except FileExistsError:
            if if_absent:
                return False
            raise
        return True

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        try:
            self._ask(lambda: self._call("rm_file", self._root + name), name, 0)
        except NotFound:
            return

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """See `ObjectStore`: asks for the folder that the prefix ends in."""
        folder, _, _ = (self._root + prefix).rpartition("/")
        try:
            found = self._ask(lambda: self._call("find", folder, detail=True), prefix, 0)
        except NotFound:
            return []
        objects = [
            StoredObject(str(path).removeprefix(self._root), int(info["size"]))
            for path, info in sorted(found.items())
            if not str(path).rpartition("/")[2].startswith(".")
        ]
        return [obj for obj in objects if obj.name.startswith(prefix)]

    def close(self) -> None:
        """Nothing to do: fsspec keeps its connections for the process."""

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._fs.async_impl:
            return await getattr(self._fs, f"_{method}")(*arguments, **options)
        function = getattr(self._fs, method)
        if self._blocks:
            return await asyncio.to_thread(function, *arguments, **options)
        return function(*arguments, **options)

    def _ask(self, request: Callable[[], Coroutine[Any, Any, T]], name: str, size_bytes: int) -> T:
        return retrying(
            lambda: self._ask_once(request(), f"{self.url.rstrip('/')}/{name}", size_bytes),
            self._settings.retry,
            self._cancellation,
        )

    def _ask_once(self, request: Coroutine[Any, Any, T], url: str, size_bytes: int) -> T:
        """Runs `request` on the event loop, and waits as long as `size_bytes` may take."""
        bound_s = self._settings.timeout_s + size_bytes / _SLOWEST_BYTES_PER_S
        future = asyncio.run_coroutine_threadsafe(request, get_loop())
        forget = self._cancellation.on_cancel(lambda: _give_up(future))
        try:
            return future.result(bound_s)
        except concurrent.futures.CancelledError as error:
            self._cancellation.check()
            raise Unavailable(f"{url}: the request was given up") from error
        except Exception as error:  # a file system of anybody's raises anything
            raise _translated(error, url, bound_s) from error
        finally:
            forget()
            _give_up(future)


def _give_up(future: "concurrent.futures.Future[Any]") -> None:
    future.cancel()


_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError, aiohttp.ServerTimeoutError)


def _translated(error: Exception, url: str, bound_s: float) -> HubfsError:
    """What `error` is called on our side of the door."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"{url}: there is no such object, or no such bucket")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{url}: the store refused; configure credentials that may read and write it")
    if isinstance(error, _TIMEOUTS):
        return TimedOut(f"{url}: the store did not answer in {bound_s:g} s")
    return Unavailable(f"{url}: the store cannot be used: {type(error).__name__}: {quoted(error)}")
