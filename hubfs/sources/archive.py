"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from hubfs.blobs.blob import ByteStream
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, BlockCache, CacheKey
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, Damaged, EntryNotFound, HubfsError, IsADirectory, Stale, TimedOut
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.archive_index import ArchiveIndex, PlacedEntry
from hubfs.sources.archive_pass import BlockSeen, walk
from hubfs.sources.member_blob import MemberBlob
from hubfs.sources.source import ROOT, Entry, EntryKind, with_parents

_log = logging.getLogger(__name__)

_STALL_S = 300.0
"""A reader gives up when the pass makes no progress for so long. The transfer's own time-outs come much earlier."""

_IDLE_S = 60.0
"""A pass that waited for its readers (see `ArchiveSettings`) for so long ends; a later reader begins another."""


@dataclass(frozen=True)
class ArchiveSettings:
    """`ahead_bytes`: how far a pass runs ahead of its readers once the disk keeps nothing of what it makes.

    The memory tier would lose blocks before they are read. While the disk keeps everything there is no such bound.
    """

    ahead_bytes: int


class _Waiter:
    """Readers of one block that has not come by yet. Guarded by the source's condition."""

    def __init__(self, passes_made: int) -> None:
        self.readers = 0
        # A pass under way may be past the block already; the one after it must come by.
        self.hopeless_after = passes_made + 2
        self.block: bytes | None = None


class _Abandoned(Exception):
    """The pass ends early: its readers are gone, or are waiting for what came by before."""


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    One pass runs at a time, in a thread of its own, and writes every block into the cache. It is begun by the first
    question that it must answer; again when a block is wanted that the cache has lost. A reader gets its block from the
    pass directly, so a cache that keeps nothing still makes progress.

    `on_complete` is called when a whole pass was verified, before anybody is told so. After every one: what the cache
    kept of an earlier one may have been evicted.

    `_condition` guards every field below it in `__init__`, and is notified whenever one changes; it is held for no I/O.
    """

    def __init__(
        self,
        handle: Handle,
        url: str,
        model: str,
        identity: str,
        *,
        open_stream: Callable[[], ByteStream],
        cache: BlockCache,
        cancellation: Cancellation,
        settings: ArchiveSettings,
        on_complete: Callable[["ArchiveSource"], None],
    ) -> None:
        self.handle = handle
        self.url = url
        self.form = Form.COMPRESSED
        self.model = model
        self.identity = identity
        self._open_stream = open_stream
        self._cache = cache
        self._cancellation = cancellation
        self._settings = settings
        self._on_complete = on_complete

        self._condition = threading.Condition()
        self._entries: dict[str, Entry] = {"": ROOT}
        self._starts_bytes: dict[str, int] = {}  # where a file begins, counted in bytes of files
        self._blobs: dict[str, MemberBlob] = {}
        self._complete = False
        self._failure: HubfsError | None = None  # for good: damaged, or changed at the origin
        self._waiters: dict[tuple[str, int], _Waiter] = {}
        self._questions: list[Callable[[], bool]] = []  # one per reader who waits: whether it is answered
        self._running = False
        self._pass_number = 0
        self._passes_made = 0  # without an error: to the end, or as far as anybody wanted
        self._pass_error: HubfsError | None = None  # how pass number `_pass_number` ended, if it did and badly
        self._position_bytes = 0  # how far this pass is, counted as in `_starts_bytes`
        self._read_bytes = 0  # where the furthest block begins that a reader has read behind this pass
        self._progress = 0  # grows with every block, over all passes

    @classmethod
    def from_index(cls, handle: Handle, model: str, index: Mapping[str, Any], **collaborators: Any) -> "ArchiveSource":
        """A source that was complete before, without asking the network. Raises `Damaged` for a malformed index."""
        known = ArchiveIndex.from_json(handle, index)
        source = cls(handle, known.url, model, known.identity, **collaborators)
        for placed in known.entries:
            source._add(placed.entry, placed.start_bytes)
        source._complete = True
        return source

    def to_index(self) -> dict[str, Any]:
        """What `from_index` needs, for JSON."""
        with self._condition:
            entries = [entry for entry in self._entries.values() if entry is not ROOT]
            placed = tuple(PlacedEntry(entry, self._starts_bytes.get(entry.path, 0)) for entry in entries)
        return ArchiveIndex(self.handle, self.url, self.identity, placed).to_json()

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        with self._condition:
            return self._complete

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        with self._condition:
            return self._failure

    def find(self, path: str) -> Entry:
        """See `Source`: waits until the member comes by, or the archive ends without it."""
        with self._condition:
            if path not in self._entries:
                self._ask(lambda: path in self._entries or self._complete, f"{self.handle}/{path}")
            self._check()
            entry = self._entries.get(path)
        if entry is None:
            raise EntryNotFound(f"{self.handle} has no entry {path!r}")
        return entry

    def entries(self) -> Sequence[Entry]:
        """See `Source`: waits for the end of the archive."""
        with self._condition:
            self._ask(lambda: self._complete, f"the end of {self.url}")
            self._check()
            return sorted(
                (entry for entry in self._entries.values() if entry is not ROOT), key=lambda entry: entry.path
            )

    def open(self, entry: Entry) -> MemberBlob:
        """See `Source`: the same one every time."""
        found = self.find(entry.path)
        if found.kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        blob = MemberBlob(CacheKey(self.model, found.path), found, self.read_block)
        with self._condition:
            return self._blobs.setdefault(found.path, blob)

    def read_block(self, entry: Entry, index: int) -> bytes:
        """Block `index` of a file: out of the cache, else as soon as a pass comes by it."""
        with self._condition:
            self._check()
        key = CacheKey(self.model, entry.path)
        block = self._cache.get(key, index)
        place = (entry.path, index)
        if block is None:
            with self._condition:
                waiter = self._waiters.get(place)
                if waiter is None:
                    waiter = self._waiters[place] = _Waiter(self._passes_made)
                waiter.readers += 1
            try:
                # Again, now that no block can go by unseen: it may have between the first look and the registration.
                block = self._cache.get(key, index) or self._await(waiter, f"{self.handle}/{entry.path}")
            finally:
                with self._condition:
                    waiter.readers -= 1
                    if not waiter.readers:
                        self._waiters.pop(place, None)
        with self._condition:
            self._check()
            place_bytes = self._starts_bytes[entry.path] + index * BLOCK_SIZE_BYTES
            if place_bytes <= self._position_bytes:  # what the cache had of what is still to come hurries no pass
                self._read_bytes = max(self._read_bytes, place_bytes)
                self._condition.notify_all()
        return block

    def _await(self, waiter: _Waiter, what: str) -> bytes:
        with self._condition:
            self._ask(lambda: waiter.block is not None or self._passes_made >= waiter.hopeless_after, what)
            self._check()
            if waiter.block is None:
                raise Damaged(f"{self.url}: the archive no longer holds all of {what}")
            return waiter.block

    def _check(self) -> None:
        """Raises the failure, if there is one. Held: `_condition`."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # raised again and again, it would keep every frame it passed

    def _ask(self, answered: Callable[[], bool], what: str) -> None:
        """Sees to it that a pass runs, and waits for `answered()` or a failure for good. Held: `_condition`.

        Raises what ended the pass, if that is nothing for good (the next question begins a new one).
        """
        number = 0
        self._questions.append(answered)
        self._condition.notify_all()  # the pass may be waiting to be wanted
        try:
            while not answered() and self._failure is None:
                if not self._running:
                    if number == self._pass_number and self._pass_error is not None:
                        raise self._pass_error
                    self._start_pass()
                number, progress = self._pass_number, self._progress
                try:
                    self._cancellation.wait_for(
                        self._condition,
                        lambda: answered() or self._failure is not None or not self._running,
                        _STALL_S,
                        what,
                    )
                except TimedOut:
                    if self._progress == progress:
                        raise
        finally:
            self._questions.remove(answered)

    def _start_pass(self) -> None:
        """Held: `_condition`."""
        # Started first: if the system has no thread to give, no pass is under way. It cannot end before this does.
        threading.Thread(target=self._run_pass, name=f"pass {self.handle}", daemon=True).start()
        self._running = True
        self._pass_number += 1
        self._pass_error = None
        self._position_bytes = self._read_bytes = 0

    def _run_pass(self) -> None:
        error = self._make_pass()
        if error is not None and not isinstance(error, Cancelled):
            _log.error("%s: %s", self.handle, error)
        try:
            if isinstance(error, (Damaged, Stale)):
                with self._condition:
                    self._failure = error
                self._cache.drop(self.model)
        finally:
            with self._condition:
                self._pass_error = error
                self._passes_made += error is None
                self._running = False
                self._condition.notify_all()

    def _make_pass(self) -> HubfsError | None:
        """Makes one pass, and returns what ended it early, if that is an error. Never raises."""
        try:
            release = self._cache.hold(self.model)
            try:
                self._pass_by(self._open_pinned_stream())
                self._tell_complete()
            finally:
                release()
        except _Abandoned:
            return None
        except Damaged as damage:
            return Damaged(f"{self.url}: {damage}" if self.url not in str(damage) else str(damage))
        except HubfsError as known:
            return known
        except Exception as unexpected:  # noqa: BLE001 - nobody else sees what ends this thread
            _log.exception("%s: unexpected error", self.url)
            return HubfsError(f"{self.url}: unexpected {unexpected!r}; the log has the traceback")
        return None

    def _tell_complete(self) -> None:
        try:
            self._on_complete(self)
        finally:
            with self._condition:
                self._complete = True

    def _open_pinned_stream(self) -> ByteStream:
        stream = self._open_stream()
        if stream.identity != self.identity:
            raise Stale(f"{self.url} is no longer what it was when {self.handle} was first read; it is fetched anew")
        return stream

    def _pass_by(self, stream: ByteStream) -> None:
        chunks = stream.chunks()
        kept = True
        try:
            for seen in walk(chunks):
                self._cancellation.check()
                if isinstance(seen, BlockSeen):
                    kept &= self._cache.put(CacheKey(self.model, seen.path), seen.index, seen.block)
                    if not kept:
                        self._pace(len(seen.block))
                    self._deliver(seen)
                else:
                    with self._condition:
                        self._add(seen.entry, self._position_bytes)
                        self._condition.notify_all()
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _add(self, entry: Entry, start_bytes: int) -> None:
        """Raises `Damaged` if the archive changed unnoticed. Held: `_condition` (or nobody else knows the source)."""
        if self._complete and self._entries.get(entry.path) != entry:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} is new")
        if entry.kind is EntryKind.FILE and self._starts_bytes.setdefault(entry.path, start_bytes) != start_bytes:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} was elsewhere")
        for known in with_parents(entry):
            self._entries.setdefault(known.path, known)

    def _deliver(self, seen: BlockSeen) -> None:
        with self._condition:
            waiter = self._waiters.get((seen.path, seen.index))
            if waiter is not None:
                waiter.block = seen.block
            self._position_bytes += len(seen.block)
            self._progress += 1
            self._condition.notify_all()

    def _pace(self, block_bytes: int) -> None:
        """Waits while the block in hand is more than `ahead_bytes` ahead of the readers, and nobody waits for it."""
        idle_until_s = monotonic() + _IDLE_S
        with self._condition:
            while not self._wanted():
                if self._waited_for():
                    raise _Abandoned  # all who wait want what came by before
                if self._position_bytes + block_bytes - self._read_bytes <= self._settings.ahead_bytes:
                    return
                if monotonic() >= idle_until_s:
                    raise _Abandoned
                self._cancellation.check()
                self._condition.wait(0.25)

    def _wanted(self) -> bool:
        """Whether somebody waits for something that is still to come. Held: `_condition`."""
        if not self._complete:
            return self._waited_for()  # only the end can tell; and it makes the model complete
        return any(
            waiter.block is None and self._starts_bytes[path] + index * BLOCK_SIZE_BYTES >= self._position_bytes
            for (path, index), waiter in self._waiters.items()
        )

    def _waited_for(self) -> bool:
        """Whether a question is open: a reader who has its answer may not have woken up yet. Held: `_condition`."""
        return any(not answered() for answered in self._questions)
