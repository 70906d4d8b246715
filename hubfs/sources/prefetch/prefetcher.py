"""Follows the readers of a model, and fetches what a loader will want next, while it is busy with the graph."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from weakref import WeakKeyDictionary

from hubfs.blobs.blob import Prefetchable
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, Release, blocks_of, once
from hubfs.errors import Cancelled, HubfsError
from hubfs.sources.prefetch.plan import Sign, Stage, Want, begins, follows, plan, sign_of
from hubfs.sources.source import Entry, Source
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)

_TICK_S = 0.025
"""How often a prefetch that waits for room looks again. At 1 GB/s 25 MiB land meanwhile, less than are under way."""


FOLLOW_S = 20.0
"""A model without an open file, and without a read, for so long is not followed any more. A loader has nothing open
while it imports the graph: 1 to 2 s were measured on 2 cores; large graphs on a busy machine take ten times as long."""

PEEK_S = 15.0
"""For so long after a lookup of `saved_model.pbtxt`, the lookup of the debug information tells nothing. The kernel
remembers for 5 s that a name is absent, and does not ask again; reading a large graph comes on top."""

_HEAD_START_S = 0.005
"""The file that was opened is asked for so long before the others, and so has the connection that is open already: its
reader would wait a round trip longer for another one."""

PIECE_BLOCKS = 64
"""At most this much is asked for at once, so that asking for a piece takes no time worth mentioning."""

VERIFIED_AHEAD_BYTES = 4 << 20
"""A file that is larger is verified as soon as it is here, and not by its opener: 440 MB take 50 ms."""

Complete = Callable[[Source, Entry, Prefetchable], None]
"""Has a file completed and verified, of which everything was asked for. Returns at once."""

Place = tuple[str, int]
"""A block: the path of its file, and its index."""


class ModelReaders:
    """One model's readers, and the burst of prefetching that their opening of `saved_model.pb` began.

    A burst is shared by all who open the model while it lasts. It is over once nobody follows (`FOLLOW_S`). Opening
    `saved_model.pb` after that, or after everything was asked for, begins another, in which blocks that a reader was
    given are not wanted again: the kernel has them. If it asks for one nevertheless, it lost its pages, and what
    earlier bursts gave does not count any more.

    Not thread-safe: the prefetcher's lock guards it.
    """

    def __init__(self) -> None:
        self.begun_by: str | None = None
        """The file whose opening began the burst; None: there is none."""
        self.planned = False
        self._stage = Stage.CERTAIN
        self._wants: deque[Want] = deque()
        self._ends: dict[str, int] = {}
        """Where the last want of each file ends, in bytes."""
        self.complete: Complete = lambda _source, _entry, _blob: None
        self._given: dict[Place, int] = {}
        self._burst = 0
        self._open_files = 0
        self._last_s = -math.inf
        self._peeked_s = -math.inf

    @property
    def works(self) -> bool:
        """Whether something is to be asked for now, or as soon as there is room."""
        if self.begun_by is None:
            return False
        return not self.planned or bool(self._wants and self._wants[0].stage <= self._stage)

    def followed(self, now_s: float) -> bool:
        """Whether there is a burst, and somebody may be following it."""
        return self.begun_by is not None and (self._open_files > 0 or now_s - self._last_s < FOLLOW_S)

    def end(self) -> None:
        """There is no burst any more."""
        self.begun_by = None
        self._wants.clear()

    def opened(self, path: str, now_s: float) -> None:
        """A reader opened a file."""
        if self.begun_by is not None and not self.followed(now_s):
            self.end()
        self._open_files += 1
        self._last_s = now_s
        if self.begun_by is not None and follows(self.begun_by, path):
            self._stage = Stage.FOLLOWED
        elif begins(path) and (self.begun_by is None or (self.planned and not self._wants)):
            self.begun_by, self.planned, self._stage = path, False, Stage.CERTAIN
            self._burst += 1

    def released(self, now_s: float) -> None:
        """A reader closed a file."""
        self._open_files -= 1
        self._last_s = now_s

    def looked_up(self, path: str, now_s: float) -> None:
        """Somebody looked whether there is a file."""
        sign = sign_of(path)
        if sign is Sign.PEEKING:
            self._peeked_s = now_s
        elif sign is Sign.LOADING and self.followed(now_s) and now_s - self._peeked_s > PEEK_S:
            self._last_s = now_s
            self._stage = Stage.FOLLOWED

    def read(self, path: str, offset_bytes: int, size_bytes: int, file_size_bytes: int, now_s: float) -> None:
        """A reader was given these bytes. A block counts as given once its end is."""
        self._last_s = now_s
        for index in blocks_of(offset_bytes, size_bytes, file_size_bytes):
            if offset_bytes + size_bytes < min((index + 1) * BLOCK_SIZE_BYTES, file_size_bytes):
                continue
            place = (path, index)
            if self._given.get(place, self._burst) != self._burst:
                self._given = {place: burst for place, burst in self._given.items() if burst == self._burst}
            self._given[place] = self._burst

    def plan(self, wants: Sequence[Want]) -> None:
        """What will be wanted in this burst."""
        self._wants = deque(wants)
        self._ends = {want.path: want.end_bytes for want in wants}
        self.planned = True

    def next(self) -> Want | None:
        """What to ask for next; None: nothing now."""
        while self.works and self._wants:
            want = self._wants[0]
            indexes = blocks_of(want.offset_bytes, want.size_bytes, want.end_bytes)
            start = next((index for index in indexes if (want.path, index) not in self._given), None)
            if start is None:
                self._wants.popleft()
                continue
            stop = start + 1
            while stop < min(start + PIECE_BLOCKS, indexes.stop) and (want.path, stop) not in self._given:
                stop += 1
            self._wants[0] = want.between(start * BLOCK_SIZE_BYTES, want.end_bytes)
            return want.between(start * BLOCK_SIZE_BYTES, min(stop * BLOCK_SIZE_BYTES, want.end_bytes))
        return None

    def asked(self, want: Want, end_bytes: int) -> bool:
        """What `next` returned was asked for, up to `end_bytes`. Returns whether that was the last of its file."""
        first = self._wants[0] if self._wants else None
        if first is None or (first.path, first.offset_bytes) != (want.path, want.offset_bytes):
            return False  # the burst is over, and another may have begun
        if end_bytes < first.end_bytes:
            self._wants[0] = first.between(end_bytes, first.end_bytes)
            return False
        self._wants.popleft()
        return self._ends[want.path] == first.end_bytes


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
            if readers.begun_by is not None:
                self._bursts[source] = readers
        self._work()
        return partial(self._read, readers, entry), once(lambda: self._released(readers))

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
        is_first = not readers.planned
        try:
            if is_first and not self._plan(source, readers):
                return
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
