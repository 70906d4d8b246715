"""Models as a file system of fsspec: `hubfs://google/spice/2/…`, `hubfs://hf:BAAI/bge-m3/config.json`."""

import asyncio
import errno
import os
import posixpath
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from fsspec.asyn import AsyncFileSystem, get_loop
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile

from hubfs.cache.ranges import Read
from hubfs.engine import Engine
from hubfs.errors import HubfsError, NotASymlink
from hubfs.fuse.errnos import errno_for
from hubfs.library.handles import hub_in, with_every_kind
from hubfs.settings.config import load
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.node import Node, NodeKind
from hubfs.tree.open_file import OpenFile

T = TypeVar("T")

_THREADS = 32
"""So many questions and ranges at a time: each waits for the network in a thread of its own."""

_PIECE_BYTES = 4 << 20

_Bound = int | None
"""Where a range begins or ends, as in a slice."""

_WHOLE = (None, None)


class _Running:
    """The engine of a file system in this process, and the threads that ask it. Raises `InvalidConfig`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.pid = os.getpid()
        self.config = with_every_kind(load(settings))
        self.engine = Engine(self.config)
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hubfs-fs")

    def close(self) -> None:
        """Ends every wait and transfer; in the process that began them."""
        if self.pid == os.getpid():
            self.engine.close()
            self.pool.shutdown(wait=False, cancel_futures=True)


class HubFileSystem(AsyncFileSystem):  # type: ignore[misc] # fsspec has no types
    """Every hub's models, read-only, as a mount shows them; `latest` and revisions are followed, not shown as links.

    A path begins with a handle: of the hub that `hubfs mount` would mount, or of another one by its scheme. The
    settings are those of `hubfs mount`, and so are their defaults and the cache. Raises `OSError` as a mount does, with
    a message that says why. An instance may be pickled, and used after a fork: the child has an engine of its own.
    `_lock` guards `_running`.
    """

    protocol = "hubfs"

    def __init__(
        self,
        hub: str | tuple[str, ...] | None = None,
        *,
        format: str | None = None,  # noqa: A002 - as the setting is called
        cache_dir: str | None = None,
        no_disk_cache: bool | None = None,
        cache_size: str | None = None,
        memory_size: str | None = None,
        offline: bool | None = None,
        config: str | None = None,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: Any,
    ) -> None:
        super().__init__(asynchronous=asynchronous, loop=loop, **options)
        self._pid = os.getpid()
        self._settings = {
            "hub": (hub,) if isinstance(hub, str) else hub,
            "format": format,
            "cache_dir": cache_dir,
            "no_disk_cache": no_disk_cache,
            "cache_size": cache_size,
            "memory_size": memory_size,
            "offline": offline,
            "config": config,
        }
        self._lock = threading.Lock()
        self._running: _Running | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of this process: fsspec makes another one after a fork."""
        if self._pid != os.getpid():
            self._pid, self._loop = os.getpid(), None if self.asynchronous else get_loop()
            self._lock = threading.Lock()
        return self._loop

    def close(self) -> None:
        """Ends every wait and transfer; the next question begins anew."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.close()

    def _here(self) -> _Running:
        """The engine of this process. Raises `InvalidConfig`."""
        with self._lock:
            running = self._running
            if running is None or running.pid != os.getpid():
                self._running = running = _Running(self._settings)
                weakref.finalize(self, running.close)
            return running

    async def _asked(self, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread. Raises `OSError`."""
        return await asyncio.get_running_loop().run_in_executor(self._here().pool, work)

    def _found(self, path: str) -> tuple[HubTree, str]:
        """The hub, and the path there, with symlinks followed. Raises `HubfsError`."""
        running = self._here()
        hub, inner = hub_in(running.config, self._strip_protocol(path))
        tree, here = running.engine.hubs[hub], "/"
        for segment in filter(None, inner.split("/")):
            here = posixpath.join(here, segment)
            with suppress(NotASymlink):
                here = posixpath.normpath(posixpath.join(posixpath.dirname(here), tree.readlink(here)))
        return tree, here

    def _told(self, path: str, node: Node) -> dict[str, Any]:
        is_directory = node.kind in (NodeKind.DIRECTORY, NodeKind.SYMLINK)
        return {
            "name": path,
            "size": 0 if is_directory else node.size_bytes,
            "type": "directory" if is_directory else "file",
            "mtime": node.time_ns / 1e9,
        }

    def _stat(self, path: str) -> dict[str, Any]:
        with _as_os_error(path):
            tree, there = self._found(path)
            return self._told(self._strip_protocol(path), tree.stat(there, opens=True))

    def _listed(self, path: str) -> list[dict[str, Any]]:
        with _as_os_error(path):
            tree, there = self._found(path)
            shown = self._strip_protocol(path)
            node = tree.stat(there, opens=True)
            if node.kind is not NodeKind.DIRECTORY:
                return [self._told(shown, node)]
            names = tree.list(there)
            known = tree.nodes(there, names)
            return [
                self._told(
                    f"{shown}/{name}".lstrip("/"),
                    known.get(name) or (tree.stat(f"{there}/{name}") if kind is NodeKind.CONTROL else Node(kind)),
                )
                for name, kind in names
            ]

    def _opened(self, path: str, *, foreseen: bool = True) -> OpenFile:
        with _as_os_error(path):
            tree, there = self._found(path)
            return tree.open(there, foreseen=foreseen)

    def _ranges(self, path: str, wanted: Sequence[tuple[_Bound, _Bound]]) -> list[bytes | OSError]:
        """Those ranges of a file, as of a slice, or why there is none. Its reads are made side by side."""
        try:
            opened = self._opened(path, foreseen=_WHOLE in wanted)
        except OSError as error:
            return [error] * len(wanted)
        try:
            blob = opened.blob
            order = [range(blob.size_bytes)[slice(*one)] for one in wanted]
            found: list[bytes | OSError] = [b""] * len(order)

            def make(read: Read) -> None:
                try:
                    with _as_os_error(path):
                        data = blob.read_at(read.offset_bytes, read.size_bytes)
                except OSError as error:
                    for number in read.ranges:
                        found[number] = error
                    return
                for number in read.ranges:
                    start = order[number].start - read.offset_bytes
                    found[number] = data[start : start + len(order[number])]

            _side_by_side(make, opened.plan(order), self._here().pool)
            return found
        finally:
            opened.release()

    def _copy(self, path: str, to: Path, callback: Any) -> None:
        if self._stat(path)["type"] == "directory":
            to.mkdir(parents=True, exist_ok=True)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        opened = self._opened(path)
        try:
            callback.set_size(opened.blob.size_bytes)
            with to.open("wb") as file, _as_os_error(path):
                for offset_bytes in range(0, opened.blob.size_bytes, _PIECE_BYTES):
                    piece = opened.blob.read_at(offset_bytes, _PIECE_BYTES)
                    file.write(piece)
                    callback.relative_update(len(piece))
        except BaseException:
            to.unlink(missing_ok=True)  # it is not what its name says
            raise
        finally:
            opened.release()

    # What fsspec asks

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        return await self._asked(lambda: self._stat(path))

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - as fsspec has it
        found = await self._asked(lambda: self._listed(path))
        return found if detail else [one["name"] for one in found]

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        [found] = await self._asked(lambda: self._ranges(path, [(start, end)]))
        if isinstance(found, OSError):
            raise found
        return found

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: _Bound | Iterable[_Bound],
        ends: _Bound | Iterable[_Bound],
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | OSError]:
        if max_gap is not None:
            raise NotImplementedError("ranges that are near to each other are joined without max_gap")
        first = starts if isinstance(starts, Iterable) else [starts] * len(paths)
        last = ends if isinstance(ends, Iterable) else [ends] * len(paths)
        bounds = [one[1:] for one in zip(paths, first, last, strict=True)]
        wanted: dict[str, list[int]] = {}  # the places of a file's ranges: the file is opened once
        for place, path in enumerate(paths):
            wanted.setdefault(path, []).append(place)
        files = (partial(self._ranges, path, [bounds[place] for place in places]) for path, places in wanted.items())
        found = dict(zip(chain(*wanted.values()), chain(*await asyncio.gather(*map(self._asked, files))), strict=True))
        in_order = [found[place] for place in range(len(paths))]
        error = next((one for one in in_order if isinstance(one, OSError)), None)
        if error is not None and on_error != "return":
            raise error
        return in_order

    async def _get_file(self, rpath: str, lpath: str, callback: Any = DEFAULT_CALLBACK, **_: Any) -> None:
        await self._asked(lambda: self._copy(rpath, Path(lpath), callback))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "HubFile":
        if mode != "rb":
            _refuse(path)
        return HubFile(self, path, **{"cache_type": "none", **options})

    def modified(self, path: str) -> datetime:
        """When the file was made, as a mount shows it."""
        return datetime.fromtimestamp(self.info(path)["mtime"], timezone.utc)

    def ukey(self, path: str) -> str:
        """Names the bytes of a file: another one for other bytes."""
        opened = self._opened(path)
        opened.release()
        return opened.blob.key

    async def _rm_file(self, path: str, **_: Any) -> None:
        _refuse(path)

    async def _cp_file(self, _path1: str, path2: str, **_: Any) -> None:
        _refuse(path2)

    async def _pipe_file(self, path: str, *_: Any, **__: Any) -> None:
        _refuse(path)

    async def _put_file(self, _lpath: str, rpath: str, **_: Any) -> None:
        _refuse(rpath)

    async def _mkdir(self, path: str, **_: Any) -> None:
        _refuse(path)

    async def _makedirs(self, path: str, **_: Any) -> None:
        _refuse(path)


class HubFile(AbstractBufferedFile):  # type: ignore[misc] # fsspec has no types
    """An open file. What reads ahead is the engine."""

    def __init__(self, fs: HubFileSystem, path: str, **options: Any) -> None:
        self._opened = fs._opened(path)  # noqa: SLF001 - of this module
        super().__init__(fs, path, **{**options, "mode": "rb", "size": self._opened.blob.size_bytes})

    def _fetch_range(self, start: int, end: int) -> bytes:
        with _as_os_error(self.path):
            return self._opened.blob.read_at(start, end - start)

    def close(self) -> None:
        """Ends the use of the model."""
        if not self.closed:
            self._opened.release()
        super().close()


def _side_by_side(work: Callable[[T], None], items: Sequence[T], pool: Executor) -> None:
    """Does the work of each item: in threads of `pool`, and in this one, which may be one of them, where none began."""
    begun: list[tuple[T, Future[None]]] = []
    with suppress(RuntimeError):  # the pool is shut down
        for item in items[1:]:
            begun.append((item, pool.submit(work, item)))  # noqa: PERF401 - those before an error count
    for item in [*items[:1], *items[1 + len(begun) :]]:
        work(item)
    for item, task in reversed(begun):
        if task.cancel():
            work(item)
        else:
            task.result()


@contextmanager
def _as_os_error(path: str) -> Iterator[None]:
    """Raises what programs expect of a file system, with the reason as its message."""
    try:
        yield
    except HubfsError as error:
        raise OSError(errno_for(type(error)), str(error), path) from error


def _refuse(path: str) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
