"""The archives of model directories: each is built once, when it is asked for first."""

import asyncio
import itertools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hubfs.cancellation import Cancellation
from hubfs.errors import Stale, TimedOut
from hubfs.hub.handle import Handle
from hubfs.serve.archive import index_beside, write_archive
from hubfs.serve.listing import Listing, list_members
from hubfs.serve.models import Model

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # at a model that somebody is changing right now
_BUILD_TIMEOUT_S = 600.0
_GRACE_S = 60.0  # for replies that are about to open the archive that has just been superseded
_THREADS = 2


@dataclass(frozen=True)
class _Build:
    fingerprint: str
    path: Path
    done: "asyncio.Future[None]"

    def serves(self, listing: Listing) -> bool:
        # The file may be gone: whatever cleans temporary folders does not ask.
        return self.fingerprint == listing.fingerprint and (not self.done.done() or self.path.exists())


class Archives:
    """Model → its archive in `folder`, with its index beside it, built anew when a file of the model changed.

    All state belongs to the event loop's thread; the pool's threads only list and write files. Requests for a model
    that is being built wait for the one build. A superseded archive is deleted after a minute; the folder is its
    owner's to delete, after `close`.
    """

    def __init__(self, folder: Path, holds: Callable[[Path], bool]) -> None:
        self._folder = folder
        self._holds = holds
        self._builds: dict[Handle, _Build] = {}
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

    async def archive_of(self, model: Model) -> Path:
        """The model's archive.

        Raises `Stale` while the model keeps changing, `Unavailable` when it cannot be archived, `TimedOut` (the build
        goes on), `Cancelled`.
        """
        if model.packed:
            return model.path
        for _ in range(_ATTEMPTS):
            with suppress(Stale):
                return await self._built(model, await asyncio.to_thread(list_members, model.path, self._holds))
        raise Stale(f"{model.handle} is being changed right now: try again when that is done")

    async def _built(self, model: Model, listing: Listing) -> Path:
        build = self._builds.get(model.handle)
        if build is None or not build.serves(listing):
            if build is not None:
                build.done.add_done_callback(partial(self._retire, build.path))
            build = self._builds[model.handle] = self._start(model.handle, listing)
        finished, _ = await asyncio.wait({build.done}, timeout=_BUILD_TIMEOUT_S)
        if not finished:
            raise TimedOut(f"{model.handle} is still being archived after {_BUILD_TIMEOUT_S:g} s: try again later")
        build.done.result()
        return build.path

    def _start(self, handle: Handle, listing: Listing) -> _Build:
        for name in listing.skipped:
            _log.warning("%s: %r is left out: a symlink to somewhere else, or not a file", handle, name)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{next(self._numbers)}.tar.gz"
        done = asyncio.get_running_loop().run_in_executor(self._pool, write_archive, listing, path, self._cancellation)
        build = _Build(listing.fingerprint, path, done)
        done.add_done_callback(lambda _: self._settle(handle, build))
        return build

    def _retire(self, path: Path, done: "asyncio.Future[None]") -> None:
        for file in (path, index_beside(path)):
            done.get_loop().call_later(_GRACE_S, file.unlink, True)

    def _settle(self, handle: Handle, build: _Build) -> None:
        error = None if build.done.cancelled() else build.done.exception()
        if error is None and not build.done.cancelled():
            _log.info("%s: archived", handle)
            return
        if self._builds.get(handle) is build:  # the next request tries again
            del self._builds[handle]
        _log.warning(
            "%s: not archived: %s%s", handle, error, f" ({error.__cause__})" if error and error.__cause__ else ""
        )
