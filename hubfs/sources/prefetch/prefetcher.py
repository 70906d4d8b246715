"""Carries out what the plan says: fetches what a loader will want next, while it is busy with the graph."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.cache.block_cache import Release, once
from hubfs.errors import Cancelled, HubfsError
from hubfs.sources.prefetch.plan import plan, sign_of
from hubfs.sources.prefetch.readers import ModelReaders
from hubfs.sources.source import Entry, Source
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_TICK_S = 0.025
"""How often a prefetch that waits for room looks again. At 1 GB/s 25 MiB land meanwhile, less than are under way."""


class Prefetcher:
    """Is told what readers do, and fetches what they will want next. Never waits, never fails a reader. One per mount.

    `plan` says which ranges a loader will want, `ModelReaders` which of these nobody has asked for yet. How far it may
    be ahead of the readers say the blobs, which refuse what there is no memory for; it asks again when some of that was
    written to disk, or read. One thread carries all bursts out, a piece at a time. It runs only while there is
    something to ask for, and ends on `cancellation`. `_lock` guards `_readers` (with what they hold), `_bursts` and
    `_running`; nothing that waits is called under it, and no other lock is taken.
    """

    def __init__(self, cancellation: Cancellation, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._cancellation = cancellation
        self._timer = timer
        self._lock = threading.Lock()
        self._readers: WeakKeyDictionary[Source, ModelReaders] = WeakKeyDictionary()
        self._bursts: dict[Source, ModelReaders] = {}
        self._running = False

    def looked_up(self, source: Source, path: str) -> None:
        """Somebody asks whether the model has an entry at `path`."""
        if sign_of(path) is None:
            return
        with self._lock:
            readers = self._readers.setdefault(source, ModelReaders())
            readers.looked_up(path, self._timer())
        self._work()

    def opened(self, source: Source, entry: Entry, blob: Blob) -> tuple[Blob, Release]:
        """Somebody opened a file, to be read by `blob`. Returns the blob to read by instead, and the end of the use."""
        with self._lock:
            readers = self._readers.setdefault(source, ModelReaders())
            readers.opened(entry.path, self._timer())
            if readers.begun_by is not None:
                self._bursts[source] = readers
        self._work()
        followed = _FollowedBlob(
            blob, lambda offset_bytes, size_bytes: self._read(readers, entry, offset_bytes, size_bytes)
        )
        return followed, once(lambda: self._released(readers))

    def _read(self, readers: ModelReaders, entry: Entry, offset_bytes: int, size_bytes: int) -> None:
        with self._lock:
            readers.read(entry.path, offset_bytes, size_bytes, entry.size_bytes, self._timer())

    def _released(self, readers: ModelReaders) -> None:
        with self._lock:
            readers.released(self._timer())

    def _work(self) -> None:
        """Has the thread run if there is something to do."""
        with self._lock:
            if self._running or not any(readers.works for readers in self._bursts.values()):
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name="prefetch", daemon=True).start()
        except RuntimeError as error:  # no thread is left: the next call tries again
            with self._lock:
                self._running = False
            _log.debug("Nothing is prefetched just now: %s", error)

    def _run(self) -> None:
        with suppress(Cancelled):
            while working := self._working():
                for source, readers in working:
                    self._advance(source, readers)
                self._cancellation.sleep(_TICK_S)

    def _working(self) -> list[tuple[Source, ModelReaders]]:
        """The bursts that have something to ask for; those that nobody follows end here, and so does the thread."""
        with self._lock:
            bursts = dict(self._bursts)
        failed = {source for source in bursts if source.failure is not None}
        with self._lock:
            now_s = self._timer()
            for source, readers in bursts.items():
                if source in failed or not readers.followed(now_s):
                    if readers.works:
                        _log.debug("%s: nobody follows, the prefetch ends", source.handle)
                    readers.end()
                    del self._bursts[source]
            working = [(source, readers) for source, readers in self._bursts.items() if readers.works]
            self._running = bool(working)
        return working

    def _advance(self, source: Source, readers: ModelReaders) -> None:
        """Asks for as much of a burst as there is room for."""
        try:
            if not readers.planned and not self._plan(source, readers):
                return
            while True:
                with self._lock:
                    want = readers.next()
                if want is None:
                    return
                blob = source.open(source.find(want.path))
                end_bytes = want.end_bytes
                if isinstance(blob, Prefetchable):
                    end_bytes = blob.prefetch(want.offset_bytes, want.size_bytes)
                with self._lock:
                    readers.asked(want, end_bytes)
                if end_bytes < want.end_bytes:
                    return
        except Cancelled:
            raise
        except HubfsError as error:
            _log.debug("%s: the prefetch ends: %s", source.handle, error)
        except Exception:  # noqa: BLE001 - whatever it is, the other bursts go on, and no reader is harmed
            _log.exception("%s: the prefetch ends", source.handle)
        with self._lock:
            readers.end()

    def _plan(self, source: Source, readers: ModelReaders) -> bool:
        """Makes the plan of a burst, unless the model's entries are not all known yet: nobody waits for them here."""
        opened = readers.begun_by
        if opened is None or not source.complete:
            return False
        wants = plan(source.entries(), opened)
        _log.debug("%s: %s was opened, %d ranges will be wanted", source.handle, opened, len(wants))
        with self._lock:
            readers.plan(wants)
        return True


class _FollowedBlob(WrappedBlob):
    """A reader's view of a blob; `tell` hears what he was given."""

    def __init__(self, blob: Blob, tell: Callable[[int, int], None]) -> None:
        super().__init__(blob)
        self._tell = tell

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        data = self._blob.read_at(offset_bytes, size_bytes)
        self._tell(offset_bytes, len(data))
        return data
