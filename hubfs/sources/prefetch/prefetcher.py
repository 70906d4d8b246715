"""Follows the readers of a model, and fetches what a loader will want next, while it is busy with the graph."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from weakref import WeakKeyDictionary

from hubfs.blobs.blob import Prefetchable
from hubfs.cache.block_cache import Release, once
from hubfs.errors import Cancelled, HubfsError
from hubfs.sources.prefetch.plan import Look, Plan, Want
from hubfs.sources.prefetch.readers import Complete, ModelReaders
from hubfs.sources.prefetch.saved_model import sign_of
from hubfs.sources.source import Entry, Source
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_TICK_S = 0.025
"""How often a prefetch that waits for room looks again. At 1 GB/s 25 MiB land meanwhile, less than are under way."""

_HEAD_START_S = 0.005
"""The file that was opened is asked for so long before the others, and so has the connection that is open already: its
reader would wait a round trip longer for another one."""

VERIFIED_AHEAD_BYTES = 4 << 20
"""A file that is larger is verified as soon as it is here, and not by its opener: 440 MB take 50 ms."""


class Prefetcher:
    """Is told what readers do, and fetches what they will want next. Never waits, never fails a reader. One per mount.

    Plans say which ranges a loader will want, `ModelReaders` which of these nobody has asked for yet. How far it may
    be ahead of the readers say the blobs, which refuse what there is no memory for; it asks again when some of that was
    written to disk, or read. One thread carries all bursts out, a piece at a time; where a plan wants to look into a
    file, which may have to be fetched, another does, one at a time for each model. They run only while there is
    something to do, and end on `cancellation`. `_lock` guards `_readers` (with what they hold), `_bursts` and
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
        self._work(source, readers)

    def opened(
        self, source: Source, entry: Entry, complete: Complete = lambda _source, _entry, _blob: None
    ) -> tuple[Callable[[int, int], None], Release]:
        """Somebody opened a file. Returns what is to be told offset and size of each read, and the end of the use.

        `complete` is called for each large file of the model once everything of it was asked for.
        """
        with self._lock:
            readers = self._readers.setdefault(source, ModelReaders())
            readers.complete = complete
            readers.opened(entry.path, self._timer())
        self._work(source, readers)
        return partial(self._read, source, readers, entry), once(lambda: self._released(readers))

    def _read(self, source: Source, readers: ModelReaders, entry: Entry, offset_bytes: int, size_bytes: int) -> None:
        with self._lock:
            readers.read(entry.path, offset_bytes, size_bytes, entry.size_bytes, self._timer())
            if self._running and source in self._bursts:
                return
        self._work(source, readers)

    def _released(self, readers: ModelReaders) -> None:
        with self._lock:
            readers.released(self._timer())

    def _work(self, source: Source, readers: ModelReaders) -> None:
        """Has the thread run if there is something to do."""
        with self._lock:
            if not readers.works:
                return
            self._bursts[source] = readers
            if self._running:
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
                    _log.debug("%s: nobody follows, the prefetch ends", source.handle)
                    readers.end()
            self._bursts = {source: readers for source, readers in self._bursts.items() if readers.works}
            self._running = bool(self._bursts)
            return list(self._bursts.items())

    def _advance(self, source: Source, readers: ModelReaders) -> None:
        """Asks for as much of a burst as there is room for."""
        try:
            is_first = self._learn(source, readers)
            self._look(source, readers)
            while True:
                with self._lock:
                    want = readers.next()
                if want is None:
                    return
                if not self._ask(source, readers, want):
                    return
                if is_first:
                    is_first = False
                    self._cancellation.sleep(_HEAD_START_S)
        except Cancelled:
            raise
        except HubfsError as error:
            _log.debug("%s: the prefetch ends: %s", source.handle, error)
        except Exception:  # noqa: BLE001 - whatever it is, the other bursts go on, and no reader is harmed
            _log.exception("%s: the prefetch ends", source.handle)
        with self._lock:
            readers.end()

    def _ask(self, source: Source, readers: ModelReaders, want: Want) -> bool:
        """Whether there was room for all of it. Raises what the source does."""
        entry = source.find(want.path)
        blob = source.open(entry)
        end_bytes = want.end_bytes
        if isinstance(blob, Prefetchable):
            end_bytes = blob.prefetch(want.offset_bytes, want.size_bytes)
        with self._lock:
            ended = readers.asked(want, end_bytes)
        if ended and isinstance(blob, Prefetchable) and entry.size_bytes > VERIFIED_AHEAD_BYTES:
            readers.complete(source, entry, blob)
        return end_bytes >= want.end_bytes

    def _learn(self, source: Source, readers: ModelReaders) -> bool:
        """Tells plans what the model has, unless its entries are not all known yet: nobody waits for them here.

        Returns whether there was a plan that had not been told.
        """
        with self._lock:
            plans = readers.unlearned()
        if not plans or not source.complete:
            return False
        entries = source.entries()
        with self._lock:
            for plan in plans:
                plan.learn(entries)
        _log.debug("%s: more will be wanted of %s", source.handle, ", ".join(plan.begun_by for plan in plans))
        return True

    def _look(self, source: Source, readers: ModelReaders) -> None:
        """Has a thread look where a plan wants to."""
        with self._lock:
            wanted = readers.look()
        if wanted is None:
            return
        try:
            threading.Thread(target=self._see, args=(source, readers, *wanted), name="prefetch", daemon=True).start()
        except RuntimeError as error:  # no thread is left: nothing was seen
            _log.debug("Nothing is looked at just now: %s", error)
            with self._lock:
                readers.saw(*wanted, None)

    def _see(self, source: Source, readers: ModelReaders, plan: Plan, look: Look) -> None:
        """Looks, and says what was found. Never raises."""
        seen = None
        try:
            seen = look.understand(source.open(source.find(look.path)))
        except HubfsError as error:
            _log.debug("%s: %s tells nothing of what will be wanted: %s", source.handle, look.path, error)
        except Exception:  # noqa: BLE001 - whatever it is, no reader is harmed
            _log.exception("%s: %s tells nothing of what will be wanted", source.handle, look.path)
        with self._lock:
            readers.saw(plan, look, seen)
        self._work(source, readers)
