"""Stores of objects on whatever fsspec can reach: the one place that imports fsspec, which few mounts need."""

import asyncio
import concurrent.futures
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import get_loop
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from hubfs.blobs.gcs.client import GcsSettings
from hubfs.blobs.http.url import without_secrets
from hubfs.blobs.retry import retrying
from hubfs.blobs.store import LARGEST_OBJECT_BYTES, StoredObject
from hubfs.errors import AccessDenied, HubfsError, InvalidConfig, NotFound, TimedOut, Unavailable, quoted
from hubfs.waiting import Cancellation

T = TypeVar("T")

_SLOWEST_BYTES_PER_S = 32 << 10


class FsspecStore:
    """An `ObjectStore` on any file system of fsspec: `file:///mnt/nfs/cache`, `memory://…`; base of the one on S3.

    Everything runs on fsspec's event loop, or in a thread beside it where the implementation blocks. No mutable state,
    so no lock.
    """

    def __init__(self, url: str, settings: GcsSettings, cancellation: Cancellation) -> None:
        self.url = without_secrets(url)
        self._settings = settings
        self._cancellation = cancellation
        own = {"use_listings_cache": False, "skip_instance_cache": True}
        try:
            self._fs, root = fsspec.core.url_to_fs(url, **own, **self._options(settings))
        except (ValueError, ImportError, OSError, TypeError) as error:
            raise InvalidConfig(f"{self.url} cannot be used as a store of objects: {error}") from error
        self._root = f"{root.rstrip('/')}/"
        # Its files are shared objects with a position: it must not be used by two threads.
        self._blocks = not isinstance(self._fs, MemoryFileSystem)

    def _options(self, settings: GcsSettings) -> Mapping[str, Any]:  # noqa: ARG002 - for those who subclass
        """What the file system is told when it is made."""
        return {"auto_mkdir": True} if self.url.startswith("file:") else {}

    def get(self, name: str) -> bytes | None:
        """The content of an object, or None if there is none."""
        try:
            data = self._ask(lambda: self._call("cat_file", self._root + name), name, LARGEST_OBJECT_BYTES)
        except NotFound:
            return None
        return bytes(data)

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Stores an object, and whether it did; `if_absent` is as strict as the implementation's mode "create" is."""
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
        """Deletes an object, if it is there."""
        try:
            self._ask(lambda: self._call("rm_file", self._root + name), name, 0)
        except NotFound:
            return

    def list(self, prefix: str) -> Sequence[StoredObject]:
        """The objects whose names begin with `prefix`. Asks for the folder that the prefix ends in."""
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
            raise self._translated(error, url, bound_s) from error
        finally:
            forget()
            _give_up(future)

    def _translated(self, error: Exception, url: str, bound_s: float) -> HubfsError:
        return translated(error, url, bound_s)


def _give_up(future: "concurrent.futures.Future[Any]") -> None:
    future.cancel()


_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)


def translated(error: Exception, url: str, bound_s: float) -> HubfsError:
    """What `error` is called on our side of the door."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"{url}: there is no such object, or no such bucket")
    if isinstance(error, PermissionError):
        return AccessDenied(f"{url}: the store refused; configure credentials that may read and write it")
    if isinstance(error, _TIMEOUTS):
        return TimedOut(f"{url}: the store did not answer in {bound_s:g} s")
    return Unavailable(f"{url}: the store cannot be used: {type(error).__name__}: {quoted(error)}")
