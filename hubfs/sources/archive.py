"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubfs.blobs.blob import ByteStream
from hubfs.cache.block_cache import BlockCache, CacheKey
from hubfs.cache.shared_turns import NoTurns, Turns
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, Damaged, HubfsError, IsADirectory, Stale
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.archive_index import ArchiveIndex
from hubfs.sources.archive_pass import BlockSeen, walk
from hubfs.sources.archive_progress import Abandoned, ArchiveProgress
from hubfs.sources.member_blob import MemberBlob
from hubfs.sources.source import Entry, EntryKind

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSettings:
    """`ahead_bytes`: how far a pass runs ahead of its readers once the disk keeps nothing of what it makes.

    The memory tier would lose blocks before they are read. While the disk keeps everything there is no such bound.
    """

    ahead_bytes: int


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    One pass runs at a time, in a thread of its own, and writes every block into the cache. It is begun by the first
    question that it must answer; again when a block is wanted that the cache has lost. A reader gets its block from the
    pass directly (see `ArchiveProgress`), so a cache that keeps nothing still makes progress.

    `on_complete` is called when a whole pass was verified, before anybody is told so. After every one: what the cache
    kept of an earlier one may have been evicted. A pass is made when it is this daemon's turn among `turns`; what
    another daemon's pass brought into the shared cache meanwhile needs none.

    There is no lock here: `_progress` has its own, and `_blobs` is changed by `dict.setdefault` only, which is atomic.
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
        turns: Turns | None = None,
    ) -> None:
        self.handle = handle
        self.url = url
        self.form = Form.COMPRESSED
        self.model = model
        self.identity = identity
        self._open_stream = open_stream
        self._cache = cache
        self._cancellation = cancellation
        self._on_complete = on_complete
        self._turns = turns or NoTurns()
        self._progress = ArchiveProgress(
            handle, url, ahead_bytes=settings.ahead_bytes, begin_pass=self._begin_pass, cancellation=cancellation
        )
        self._blobs: dict[str, MemberBlob] = {}

    @classmethod
    def from_index(cls, handle: Handle, model: str, index: Mapping[str, Any], **collaborators: Any) -> "ArchiveSource":
        """A source that was complete before, without asking the network. Raises `Damaged` for a malformed index."""
        known = ArchiveIndex.from_json(handle, index)
        source = cls(handle, known.url, model, known.identity, **collaborators)
        source._progress.adopt(known.entries)
        source._progress.mark_complete()
        return source

    def to_index(self) -> dict[str, Any]:
        """What `from_index` needs, for JSON."""
        return ArchiveIndex(self.handle, self.url, self.identity, self._progress.placed()).to_json()

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        return self._progress.complete

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        return self._progress.failure

    def find(self, path: str) -> Entry:
        """See `Source`: waits until the member comes by, or the archive ends without it."""
        return self._progress.find(path)

    def entries(self) -> Sequence[Entry]:
        """See `Source`: waits for the end of the archive."""
        return self._progress.entries()

    def open(self, entry: Entry) -> MemberBlob:
        """See `Source`: the same one every time."""
        found = self.find(entry.path)
        if found.kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        blob = MemberBlob(CacheKey(self.model, found.path), found, self.read_block)
        return self._blobs.setdefault(found.path, blob)

    def read_block(self, entry: Entry, index: int) -> bytes:
        """Block `index` of a file: out of the cache, else as soon as a pass comes by it."""
        self._progress.check()
        key = CacheKey(self.model, entry.path)
        block = self._cache.get(key, index)
        if block is None:
            with self._progress.expecting(entry.path, index) as awaited:
                # Again, now that no block can go by unseen: it may have between the first look and this.
                block = self._cache.get(key, index) or awaited()
        self._progress.note_read(entry.path, index)
        return block

    def _begin_pass(self) -> None:
        threading.Thread(target=self._run_pass, name=f"pass {self.handle}", daemon=True).start()

    def _run_pass(self) -> None:
        error = self._make_pass()
        if error is not None and not isinstance(error, Cancelled):
            _log.error("%s: %s", self.handle, error)
        try:
            if isinstance(error, (Damaged, Stale)):
                self._progress.fail(error)
                self._cache.drop(self.model)
        finally:
            self._progress.end_pass(error)

    def _make_pass(self) -> HubfsError | None:
        """Makes one pass, and returns what ended it early, if that is an error. Never raises."""
        try:
            release = self._cache.hold(self.model)
            try:
                with self._turns.turn(self.model, "pass", self._has_arrived) as mine:
                    if mine:
                        self._pass_by(self._open_pinned_stream())
                        self._tell_complete()
            finally:
                release()
        except Abandoned:
            return None
        except Damaged as damage:
            return Damaged(f"{self.url}: {damage}" if self.url not in str(damage) else str(damage))
        except HubfsError as known:
            return known
        except Exception as unexpected:  # noqa: BLE001 - nobody else sees what ends this thread
            _log.exception("%s: unexpected error", self.url)
            return HubfsError(f"{self.url}: unexpected {unexpected!r}; the log has the traceback")
        return None

    def _has_arrived(self) -> bool:
        """Whether another daemon's pass has brought all that is waited for; hands it out."""
        self._progress.lives()
        if not self.complete and not self._adopt(self._turns.index(self.model)):
            return False
        found = {
            (path, index): self._cache.get(CacheKey(self.model, path), index)
            for path, index in self._progress.missing()
        }
        self._progress.hand_out(found)
        return None not in found.values()

    def _adopt(self, index: Mapping[str, Any] | None) -> bool:
        """Becomes complete by what another daemon's pass found, if that is of use."""
        try:
            placed = ArchiveIndex.from_json(self.handle, index).entries if index is not None else ()
        except Damaged as damage:
            _log.warning("The shared cache's index of %s is left aside: %s", self.handle, damage)
            return False
        if not self._progress.adopt(placed):
            return False
        self._tell_complete()
        return True

    def _tell_complete(self) -> None:
        try:
            self._on_complete(self)
        finally:
            self._progress.mark_complete()

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
                    if not kept and not self._turns.others_wait:
                        self._progress.pace(len(seen.block))
                    self._progress.deliver(seen)
                else:
                    self._progress.add(seen.entry)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
