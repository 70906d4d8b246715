"""The archives of model directories: each is built when it is asked for, and kept while there is room."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hubfs.errors import Stale, TimedOut, Unavailable
from hubfs.formats.packing.archive import index_beside, write_archive
from hubfs.formats.packing.listing import Listing
from hubfs.hubs.tfhub.serve.folder import ArchiveFolder
from hubfs.hubs.tfhub.serve.models import Model, ModelDirectory
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # at a model that somebody is changing right now
_BUILD_TIMEOUT_S = 600.0
_THREADS = 2
_HEADER_BYTES = 4096
"""What a member takes in an archive and its index beside its bytes, at most in practice."""


@dataclass(eq=False)
class _Build:
    """An archive that is there or coming. `users` are the replies that wait for it or send it."""

    handle: ModelId
    fingerprint: str
    path: Path
    size_bytes: int  # with its index; as long as it is being built, what it may be at most
    done: "asyncio.Future[None]"
    users: int = 0

    @property
    def is_idle(self) -> bool:
        return self.users == 0 and self.done.done()


class Archives:
    """Model → its archive in `folder`, with its index beside it, built anew when a file of the model changed.

    All archives together take at most `limit_bytes`: the one that was lent longest ago makes room, never one that is
    being sent or built. All state belongs to the event loop's thread; the pool's threads only list and write files.
    Requests for a model that is being listed or built wait for the one listing or build. The folder is its owner's to
    delete, after `close`.
    """

    def __init__(self, folder: ArchiveFolder, models: ModelDirectory, limit_bytes: int) -> None:
        self._folder = folder
        self._models = models
        self._limit_bytes = limit_bytes
        self._builds: dict[ModelId, _Build] = {}
        self._all: dict[_Build, None] = {}  # superseded ones that are still sent, too; lent longest ago first
        self._listings: dict[ModelId, asyncio.Future[Listing]] = {}
        self._numbers = itertools.count(1)
        self._cancellation = Cancellation()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hubfs-archive")

    def cancel(self) -> None:
        """Gives up the builds that are running: who waits for them gets `Cancelled`."""
        self._cancellation.cancel()

    async def close(self) -> None:
        """Cancels, and returns when no thread writes any more."""
        self.cancel()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    @asynccontextmanager
    async def lent(self, model: Model) -> AsyncIterator[Path]:
        """The model's archive, which stays where it is for as long as it is lent.

        Raises `Stale` while the model keeps changing, `Unavailable` when it cannot be archived or there is no room for
        its archive, `TimedOut` (the build goes on), `Cancelled`.
        """
        if model.packed:
            yield model.path
            return
        build = await self._built(model)
        try:
            yield build.path
        finally:
            self._give_back(build)

    async def _built(self, model: Model) -> _Build:
        """The build, of which the caller is a user."""
        for _ in range(_ATTEMPTS):
            with suppress(Stale):
                build = self._build_of(model.handle, await self._listed(model))
                build.users += 1
                try:
                    await _finished(build)
                except BaseException:
                    self._give_back(build)
                    raise
                return build
        raise Stale(f"{model.handle} is being changed right now: try again when that is done")

    async def _listed(self, model: Model) -> Listing:
        """What the model holds now: requests that come while it is listed wait for that listing."""
        if model.handle not in self._listings:
            listing = asyncio.ensure_future(asyncio.to_thread(self._models.listing, model))
            self._listings[model.handle] = listing
            listing.add_done_callback(lambda _: self._listings.pop(model.handle))
        return await asyncio.shield(self._listings[model.handle])

    def _build_of(self, handle: ModelId, listing: Listing) -> _Build:
        build = self._builds.get(handle)
        if build is not None and not self._serves(build, listing):
            del self._builds[handle]
            if build.is_idle:
                self._delete(build)
            build = None
        if build is None:
            build = self._builds[handle] = self._start(handle, listing)
        self._all.pop(build, None)
        self._all[build] = None
        return build

    def _serves(self, build: _Build, listing: Listing) -> bool:
        return build.fingerprint == listing.fingerprint and (not build.done.done() or self._folder.has(build.path))

    def _start(self, handle: ModelId, listing: Listing) -> _Build:
        for name in listing.skipped:
            _log.warning("%s: %r is left out: hidden, a symlink to somewhere else, or not a file", handle, name)
        most_bytes = sum(member.size_bytes + _HEADER_BYTES for member in listing.members) + _HEADER_BYTES
        self._make_room(handle, most_bytes)
        path = self._folder.path() / f"{next(self._numbers)}.tar.gz"
        done = asyncio.get_running_loop().run_in_executor(self._pool, write_archive, listing, path, self._cancellation)
        build = _Build(handle, listing.fingerprint, path, most_bytes, done)
        done.add_done_callback(lambda _: self._settle(build))
        return build

    def _make_room(self, handle: ModelId, coming_bytes: int) -> None:
        """Deletes what was lent longest ago until there is room. Raises `Unavailable`."""
        if coming_bytes > self._limit_bytes:
            raise Unavailable(
                f"the archive of {handle} may take {coming_bytes} bytes, and archives may take {self._limit_bytes} in "
                "all (--archive-size)"
            )
        excess_bytes = sum(build.size_bytes for build in self._all) + coming_bytes - self._limit_bytes
        for build in [*self._all]:
            if excess_bytes <= 0:
                return
            if build.is_idle:
                excess_bytes -= build.size_bytes
                self._delete(build)
        if excess_bytes > 0:
            raise Unavailable(f"all room for archives is in use, so that of {handle} cannot be made now")

    def _give_back(self, build: _Build) -> None:
        build.users -= 1
        if build.is_idle and self._builds.get(build.handle) is not build:  # superseded meanwhile
            self._delete(build)

    def _delete(self, build: _Build) -> None:
        self._all.pop(build, None)
        if self._builds.get(build.handle) is build:
            del self._builds[build.handle]
        for file in filter(self._folder.has, (build.path, index_beside(build.path))):
            file.unlink(missing_ok=True)

    def _settle(self, build: _Build) -> None:
        error = None if build.done.cancelled() else build.done.exception()
        if error is None and not build.done.cancelled():
            _log.info("%s: archived", build.handle)
            with suppress(OSError):
                files = [file for file in (build.path, index_beside(build.path)) if file.exists()]
                build.size_bytes = sum(file.stat().st_size for file in files)
            if build.is_idle and self._builds.get(build.handle) is not build:
                self._delete(build)
            return
        self._delete(build)  # the next request tries again
        _log.warning(
            "%s: not archived: %s%s",
            build.handle,
            error,
            f" ({error.__cause__})" if error and error.__cause__ else "",
        )


async def _finished(build: _Build) -> None:
    """Raises what ended the build early, or `TimedOut`."""
    finished, _ = await asyncio.wait({build.done}, timeout=_BUILD_TIMEOUT_S)
    if not finished:
        raise TimedOut(f"{build.handle} is still being archived after {_BUILD_TIMEOUT_S:g} s: try again later")
    build.done.result()
