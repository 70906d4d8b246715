"""The source of a model that is hosted as an archive: extracted lazily, while it streams."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hubfs.blobs.blob import Blob, ByteStream
from hubfs.blobs.retry import Permanent
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.cache.ahead import Ahead
from hubfs.cache.block_cache import BlockCache, CacheKey, block_size_at, blocks_of
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.block_run import slice_blocks
from hubfs.cache.turns import Member, NoTurns, Turn, Turns
from hubfs.cancellation import Cancellation
from hubfs.errors import Cancelled, Damaged, HubfsError, IsADirectory, Stale
from hubfs.formats.index_file import IndexFile
from hubfs.formats.limits import bounded
from hubfs.formats.parallel_gzip import PLENTY_BYTES, inflate, shared_memory_bytes
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.memory_budget import MemoryBudget
from hubfs.sources.archive_index import ArchiveIndex, placed_entries
from hubfs.sources.archive_pass import BlockSeen, MemberSeen, walk
from hubfs.sources.archive_progress import Abandoned, ArchiveProgress
from hubfs.sources.archive_recording import ArchiveRecording, placed_entry
from hubfs.sources.archive_repeats import Repeats
from hubfs.sources.archive_spans import ArchiveSpans
from hubfs.sources.archive_waiters import Place
from hubfs.sources.member_blob import MemberBlob
from hubfs.sources.source import Entry, EntryKind, Extent, with_holes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSettings:
    """How passes run.

    `ahead_bytes`: how far a pass runs ahead of its readers at most once the disk keeps nothing of what it makes, since
    the memory tier would lose blocks before they are read. While the disk keeps everything there is no such bound, if
    `eager`; if not, a pass never runs further ahead, and ends when nobody reads on. `inflate_workers`: how many threads
    of another process inflate; 0: the pass itself does. `shared_bytes`: how much memory is shared with that process,
    where it can work with so little. `shared_s`: how long the error of a pass that did not
    reach the origin is everybody's answer. The kernel lets readers of the same bytes ask one at a time: each would
    begin a pass of its own, and wait until that fails, too.
    """

    ahead_bytes: int
    eager: bool = True
    inflate_workers: int = 0
    shared_bytes: int = PLENTY_BYTES
    shared_s: float = 1.0


class ArchiveSource:
    """Entries appear, and bytes can be read, as a pass over the archive goes by them.

    One pass runs at a time, in a thread of its own, and writes every block into the cache. It is begun by the first
    question that it must answer. A reader gets its block from the pass directly (see `ArchiveProgress`), so a cache
    that keeps nothing still makes progress. A whole pass notes down an index: with it, a block that the cache has lost
    is read by its `spans`; without it (None: the origin answers no ranges) another pass is begun.

    `on_complete` is called when a whole pass was verified, before anybody is told so. After every one: what the cache
    kept of an earlier one may have been evicted. A pass is made when it is this daemon's turn among `turns`; what
    another daemon's pass brings into a cache that both share needs none.

    `checksums` are given where the host names no version of the archive, so that the identity does not tell whether it
    is still the same: whatever a pass brings is held against them, and what differs is `Stale`.

    There is no lock here: `_progress` has its own, and `_blobs` is changed by `dict.setdefault` only, which is atomic.
    """

    def __init__(
        self,
        handle: Handle,
        url: str,
        model: str,
        identity: str,
        *,
        stamp: Stamp = UNDATED,
        open_stream: Callable[[], ByteStream],
        cache: BlockCache,
        cancellation: Cancellation,
        settings: ArchiveSettings,
        on_complete: Callable[["ArchiveSource"], None],
        spans: ArchiveSpans | None = None,
        checksums: BlockChecksums | None = None,
        ahead: Ahead | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.handle = handle
        self.url = url
        self.form = Form.COMPRESSED
        self.model = model
        self.identity = identity
        self._stamp = stamp
        self._open_stream = open_stream
        self._cache = cache
        self._cancellation = cancellation
        self._settings = settings
        self._spans = spans
        self._checksums = checksums
        self._ahead = ahead or Ahead(MemoryBudget(PLENTY_BYTES))
        self._on_complete = on_complete
        self._turns = turns or NoTurns()
        self._progress = ArchiveProgress(
            handle,
            url,
            ahead_bytes=lambda: min(settings.ahead_bytes, self._ahead.pass_bytes()),
            begin_pass=self._begin_pass,
            cancellation=cancellation,
            shared_s=settings.shared_s,
        )
        self._blobs: dict[str, Blob] = {}

    @classmethod
    def from_index(cls, model: str, known: ArchiveIndex, **collaborators: Any) -> "ArchiveSource":
        """A source that was complete before, without asking the network."""
        source = cls(known.handle, known.url, model, known.identity, stamp=known.stamp, **collaborators)
        source._progress.adopt(known.entries)
        source._progress.mark_complete()
        return source

    def adopt(self, file: IndexFile) -> None:
        """Becomes complete by an index that was published beside the archive: no pass is needed."""
        if self._spans is not None and self._progress.adopt([placed_entry(member) for member in file.members]):
            self._spans.adopt(file)
            self._progress.index_made()
            self._tell_complete()

    def to_index(self) -> dict[str, Any]:
        """What `ArchiveIndex` needs, for JSON."""
        placed = self._progress.placed()
        checksums = None
        if self._checksums is not None:
            checksums = {
                one.entry.kept_path: self._checksums.of(one.entry.kept_path, one.entry.stored_bytes) for one in placed
            }
        return ArchiveIndex(self.handle, self.url, self.identity, placed, self._stamp, checksums).to_json()

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        return self._progress.complete

    @property
    def failure(self) -> HubfsError | None:
        """Why nothing of this source may be served any more; it does not recover."""
        return self._progress.failure

    @property
    def extent(self) -> Extent:
        """See `Source`: of the members that came by."""
        return self._progress.extent

    @property
    def streams(self) -> bool:
        """Whether a pass runs."""
        return self._progress.running

    def find(self, path: str) -> Entry:
        """See `Source`: waits until the member comes by, or the archive ends without it."""
        return self._progress.find(path)

    def stamp(self, path: str) -> Stamp:  # noqa: ARG002 - every entry has the archive's
        """See `Source`."""
        return self._stamp

    def entries(self) -> Sequence[Entry]:
        """See `Source`: waits for the end of the archive."""
        return self._progress.entries()

    def open(self, entry: Entry) -> Blob:
        """See `Source`: the same one every time."""
        found = self.find(entry.path)
        if found.kind is EntryKind.DIRECTORY:
            raise IsADirectory(f"{self.handle}/{entry.path} is a directory")
        blob = with_holes(MemberBlob(CacheKey(self.model, found.kept_path), found, self), found)
        return self._blobs.setdefault(found.path, blob)

    def read(self, entry: Entry, offset_bytes: int, size_bytes: int) -> bytes:
        """What is stored of a file: out of the cache, else from its spans, else as soon as a pass comes by."""
        self._progress.check()
        indexes = blocks_of(offset_bytes, size_bytes, entry.stored_bytes)
        if not indexes:
            return b""
        blocks = []
        for index in indexes:
            block = self._cached(entry, index)
            came_by = block is None and self._progress.came_by(entry, index)
            lost_bytes = block_size_at(index, entry.stored_bytes) if came_by else 0
            while block is None:
                indexes_made = self._progress.indexes_made
                by_spans = self._read_by_spans(entry, offset_bytes, size_bytes)
                if by_spans is not None:
                    self._ahead.lost(lost_bytes)
                    return by_spans
                with self._progress.expecting(entry, index, indexes_made) as awaited:
                    # Again, now that no block can go by unseen: it may have between the first look and this.
                    block = self._cached(entry, index)
                    if block is None:
                        block = awaited()
                        self._ahead.lost(lost_bytes if block is not None else 0)
            self._progress.note_read(entry, index)
            self._ahead.read((CacheKey(self.model, entry.kept_path), index))
            blocks.append(block)
        return slice_blocks(blocks, indexes.start, offset_bytes, size_bytes)

    def prefetch(self, entry: Entry, offset_bytes: int, size_bytes: int) -> int:
        """See `MemberReader`: what the cache lacks is fetched by its spans. A pass brings everything by itself."""
        end_bytes = min(offset_bytes + size_bytes, entry.stored_bytes)
        key = CacheKey(self.model, entry.kept_path)
        if self._spans is None or all(
            self._cache.has(key, index) for index in blocks_of(offset_bytes, size_bytes, entry.stored_bytes)
        ):
            return end_bytes  # the index need not be loaded to know that
        by_spans = self._spans.blob(entry.path)
        return end_bytes if by_spans is None else by_spans.prefetch(offset_bytes, size_bytes)

    def _cached(self, entry: Entry, index: int) -> bytes | None:
        """A block of another length is none of this file: it would move all bytes behind it."""
        block = self._cache.get(CacheKey(self.model, entry.kept_path), index)
        return block if block is not None and len(block) == block_size_at(index, entry.stored_bytes) else None

    def _read_by_spans(self, entry: Entry, offset_bytes: int, size_bytes: int) -> bytes | None:
        """None where there is no index that fits the archive."""
        blob = self._spans.blob(entry.path) if self._spans is not None else None
        if self._spans is None or blob is None:
            return None
        try:
            return blob.read_at(offset_bytes, size_bytes)
        except (Damaged, Permanent) as error:
            # The pass that follows tells whether the archive is damaged, or only its index.
            _log.warning("%s: the archive cannot be read by its index: %s", self.handle, error)
            self._spans.discard()
            return None
        except Stale as stale:
            self._progress.fail(stale)
            self._cache.drop(self.model)
            raise

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
                with self._turns.pass_turn(self.model, self._has_arrived) as turn:
                    if turn.mine:
                        self._pass_by(self._open_pinned_stream(), turn)
                    elif self._spans is not None:
                        self._spans.look_again()
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

    def _has_arrived(self, members: Sequence[Member] | None) -> bool:
        """See `Arrived`: hands out what another daemon's pass has brought so far."""
        self._progress.lives()
        if members:
            self._take_over(members)
        if members is None and not self.complete and not self._adopt(self._turns.index(self.model)):
            return False
        missing = self._progress.missing()
        found: dict[Place, bytes | None] = {(entry.kept_path, index): None for entry, index in missing}
        for entry, index in missing:
            # While that pass runs this is asked again and again: a look is not to count as a miss each time.
            if members is None or self._cache.has(CacheKey(self.model, entry.kept_path), index):
                found[entry.kept_path, index] = self._cached(entry, index)
        self._progress.hand_out(found)
        return self.complete and None not in found.values()

    def _take_over(self, members: Sequence[Member]) -> None:
        """Makes known what another daemon's pass came by, unless it contradicts what came by here."""
        for member in members:  # one by one: a name may come twice
            try:
                self._progress.adopt(placed_entries(self.handle, [member]))
            except Damaged as damage:  # noqa: PERF203 - what is wrong with one is no reason to leave the others aside
                _log.warning("What another daemon says of the archive of %s is left aside: %s", self.handle, damage)

    def _adopt(self, index: Mapping[str, Any] | None) -> bool:
        """Becomes complete by what another daemon's pass found, if that is of use."""
        if index is None:
            return False
        try:
            known = ArchiveIndex.from_json(self.handle, index)
        except Damaged as damage:
            _log.warning("Another daemon's index of %s is left aside: %s", self.handle, damage)
            return False
        if self._checksums is not None:
            if known.checksums is None:
                return False
            self._checksums.adopt(known.checksums)
        if not self._progress.adopt(known.entries):
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
        if self._checksums is None and stream.identity != self.identity:
            raise Stale(f"{self.url} is no longer what it was when {self.handle} was first read; it is fetched anew")
        return stream

    def _pass_by(self, stream: ByteStream, turn: Turn) -> None:
        settings = self._settings
        shared_bytes = shared_memory_bytes(stream.size_bytes, settings.inflate_workers, settings.shared_bytes)
        recording = ArchiveRecording(self.url, useful=self._spans is not None and not self._spans.known)
        inflated = inflate(
            lambda: recording.compressed(stream.chunks()),
            stream.size_bytes,
            workers=settings.inflate_workers,
            cancellation=self._cancellation,
            on_checkpoint=recording.checkpoint,
            on_lost=recording.void,
            most_shared_bytes=settings.shared_bytes,
        )
        kept = settings.eager
        came: set[str] = set()
        with closing(inflated), self._ahead.passing(shared_bytes):
            passing = bounded(recording.inflated(inflated), lambda: stream.size_bytes or recording.read_bytes)
            repeats = Repeats(
                self._progress, lambda path, index: self._cache.get(CacheKey(self.model, path), index) if kept else None
            )
            for passed in walk(passing, stream.size_bytes, is_verified=lambda: recording.is_gzip):
                self._cancellation.check()
                self._progress.lives()
                for seen in self._what_counts(repeats, passed):
                    if not isinstance(seen, BlockSeen):
                        turn.tell(seen.placed.to_json())
                        continue
                    if self._checksums is not None:
                        self._checksums.check(seen.path, seen.index, seen.block)
                        came.add(seen.path)
                    key = CacheKey(self.model, seen.path)
                    if not kept and not self._turns.others_wait:  # before it is there for others to push out
                        self._ahead.passed((key, seen.index), len(seen.block))
                    kept &= self._cache.put(key, seen.index, seen.block)
                    if not kept:
                        turn.let_go()
                        if not self._turns.others_wait:
                            self._progress.pace(seen)
                    self._progress.deliver(seen)
        if self._checksums is not None and not self._paths_with_blocks() <= came:
            raise Stale(f"{self.url} lacks some of what it held when {self.handle} was first read; it is fetched anew")
        self._tell_complete()
        self._keep_spans(recording)

    def _keep_spans(self, recording: ArchiveRecording) -> None:
        """From now on lost blocks are read by the index that was made; says why there is none, if there should be."""
        file = recording.index_file(self._progress.placed())
        if self._spans is not None and file is not None:
            self._spans.adopt(file)
            self._progress.index_made()
        elif recording.why_none:
            _log.warning(
                "%s has no index, so that a block that the cache loses costs another reading of it: %s; pack it as one "
                "gzip member, as `tar -cz` does",
                *(self.url, recording.why_none),
            )

    def _what_counts(self, repeats: Repeats, seen: MemberSeen | BlockSeen) -> Iterable[MemberSeen | BlockSeen]:
        """See `Repeats`. Raises `Damaged` for what contradicts what came by before, `Stale` where nothing pins that."""
        try:
            return repeats.of(seen)
        except Damaged as other:
            if self._checksums is None or not self.complete:
                raise
            raise Stale(f"{self.url}: {other}; it is fetched anew") from other

    def _paths_with_blocks(self) -> set[str]:
        return {one.entry.kept_path for one in self._progress.placed() if one.entry.stored_bytes}
