"""The passes over an archive: when one is made, what it brings into the cache, and what its end means."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.blobs.stamp import UNDATED, Stamp
from hubfs.blobs.streaming.http_stream import HttpStream
from hubfs.cache.block_cache import BlockCache, CacheKey, cached_block
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.cache.turns import Member, Turn, Turns
from hubfs.errors import Cancelled, Damaged, HubfsError, Stale
from hubfs.formats.byte_reader import Wanted
from hubfs.formats.index_file import IndexedMember, IndexFile
from hubfs.formats.inflating.parallel import PLENTY_BYTES, inflate, shared_memory_bytes
from hubfs.formats.limits import bounded
from hubfs.memory_budget import MemoryBudget
from hubfs.model_id import ModelId
from hubfs.sources.archive.index import ArchiveIndex, entry_of, members_of, to_json
from hubfs.sources.archive.progress import Abandoned, ArchiveProgress
from hubfs.sources.archive.recording import ArchiveRecording
from hubfs.sources.archive.spans import ArchiveSpans
from hubfs.sources.archive.walk import BlockSeen, Repeats, walk
from hubfs.waiting import Cancellation

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSettings:
    """How passes run.

    `ahead_bytes`: how far a pass runs ahead of its readers at most once the disk keeps nothing of what it makes, since
    the memory tier would lose blocks before they are read. While the disk keeps everything there is no such bound, if
    `eager`; if not, a pass never runs further ahead, and ends when nobody reads on. `inflate_workers`: how many threads
    of another process inflate; 0: the pass itself does. `shared_bytes`: how much memory is shared with that process,
    where it can work with so little. `shared_s`: how long the error of a pass that did not reach the origin is
    everybody's answer. The kernel lets readers of the same bytes ask one at a time: each would begin a pass of its own,
    and wait until that fails, too.
    """

    ahead_bytes: int
    eager: bool = True
    inflate_workers: int = 0
    shared_bytes: int = PLENTY_BYTES
    shared_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The archive at `url`, and the collaborators of its source and of its passes.

    `model` is its name in the cache, and `identity` says which bytes it has. `size_bytes` is the archive's, where its
    host has said it. `spans` are None where the origin answers no ranges. `checksums` are given where the host names no
    version of the archive, so that the identity does not tell whether it is still the same: every block that comes is
    held against them, and a block that differs is `Stale`.
    `is_here` says whether all of it came already, with the reply that told of it; `load_whole` gives all of it as the
    cache keeps it with the index, which it does of a small one if it `keeps_whole`. A pass over what is here asks
    nobody, and waits for nobody.
    A pass is made when it is this daemon's turn among `turns`: blocks that another daemon's pass brings into a cache
    that both share need none.
    """

    handle: ModelId
    url: str
    model: str
    identity: str
    open_stream: Callable[[], HttpStream]
    cache: BlockCache
    cancellation: Cancellation
    settings: ArchiveSettings
    budget: MemoryBudget
    turns: Turns
    stamp: Stamp = UNDATED
    size_bytes: int | None = None
    is_here: Callable[[], bool] = lambda: False
    load_whole: Callable[[], bytes | None] = lambda: None
    keeps_whole: bool = False
    spans: ArchiveSpans | None = None
    checksums: BlockChecksums | None = None

    def key(self, file: IndexedMember) -> CacheKey:
        """The name in the cache of a file of the archive."""
        return CacheKey(self.model, entry_of(file).kept_path)


@dataclass(frozen=True)
class _KeptStream:
    """A small archive as the cache keeps it."""

    identity: str
    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        yield self.data


class ArchivePasses:
    """Makes the passes over an archive, and takes over what saves one.

    One pass runs at a time, and writes every block into the cache: in a thread of its own, or in the reader's if the
    whole archive is here. `progress` begins it, when a reader asks a question that only a pass can answer, and is told
    what comes by. A whole pass notes down an index for the archive's spans, by which lost blocks are read from then on;
    not of an archive that is small.

    `on_complete` is called when all of the archive is known and verified, before any reader is told so. It is called
    after every whole pass: what the cache kept of an earlier one may have been evicted.

    The files of a small archive are kept once one of them is read: before that the index has the archive itself.

    There is no lock here: `progress` has its own, and sees to it that no two passes run at once.
    """

    def __init__(self, archive: Archive, on_complete: Callable[[], None]) -> None:
        self._archive = archive
        self._on_complete = on_complete
        self._is_kept_whole = False
        self.whole: bytes | None = None
        """The bytes of a small archive, while `on_complete` is told of it."""

        self.progress = ArchiveProgress(
            archive.handle,
            archive.url,
            ahead_bytes=lambda: min(archive.settings.ahead_bytes, archive.budget.pass_bytes()),
            begin_pass=self._begin_pass,
            cancellation=archive.cancellation,
            shared_s=archive.settings.shared_s,
        )

    def adopt(self, file: IndexFile) -> None:
        """Completes the archive by an index that was published beside it: no pass is needed.

        An index that contradicts what came by already is left aside, and so is every index where there are no `spans`.
        """
        if self._archive.spans is not None and self.progress.adopt(file.members):
            self._read_by(self._archive.spans, file)
            self._tell_complete()

    def know_whole(self) -> None:
        """The cache keeps the archive itself."""
        self._is_kept_whole = True

    def fail(self, error: HubfsError) -> None:
        """Nothing of the archive may be served any more, because of `error`, and nothing of it stays in the cache."""
        self.progress.fail(error)
        self._archive.cache.drop(self._archive.model)

    def _begin_pass(self) -> Callable[[], None] | None:
        if self._is_kept_whole or self._archive.is_here():
            return partial(self._run_pass, self._pass_at_once)
        name = f"pass {self._archive.handle}"
        threading.Thread(target=self._run_pass, args=(self._pass_in_turn,), name=name, daemon=True).start()
        return None

    def _run_pass(self, make: Callable[[], None]) -> None:
        error = self._ended(make)
        if error is not None and not isinstance(error, Cancelled):
            _log.error("%s: %s", self._archive.handle, error)
        try:
            if isinstance(error, (Damaged, Stale)):
                self.fail(error)
        finally:
            self.progress.came = int  # what is recorded takes memory
            self.progress.end_pass(error)

    def _pass_in_turn(self) -> None:
        release = self._archive.cache.hold(self._archive.model)
        try:
            with self._archive.turns.pass_turn(self._archive.model, self._has_arrived) as turn:
                if turn.mine:
                    self._pass_by(self._open_pinned_stream(), turn)
                elif self._archive.spans is not None:
                    self._archive.spans.look_again()
        finally:
            release()

    def _pass_at_once(self) -> None:
        """Takes no turn, for there is nothing to fetch, and no hold: what is evicted meanwhile is fetched again.

        Waits for no readers either: it would be one of them that waits.
        """
        if self._archive.is_here():
            stream: HttpStream | _KeptStream = self._open_pinned_stream()
        else:
            data = self._archive.load_whole()
            if data is None:  # it was evicted: the pass that follows asks its host
                self._is_kept_whole = False
                raise Abandoned
            stream = _KeptStream(self._archive.identity, data)
        self._pass_by(stream, Turn(mine=True), at_once=True)

    def _ended(self, make: Callable[[], None]) -> HubfsError | None:
        """Makes one pass, and returns what ended it early, if that is an error. Never raises."""
        try:
            make()
        except Abandoned:
            return None
        except Damaged as damage:
            return Damaged(f"{self._archive.url}: {damage}" if self._archive.url not in str(damage) else str(damage))
        except HubfsError as known:
            return known
        except Exception as unexpected:  # noqa: BLE001 - nobody else sees what ends this thread
            _log.exception("%s: unexpected error", self._archive.url)
            return HubfsError(f"{self._archive.url}: unexpected {unexpected!r}; the log has the traceback")
        return None

    def _open_pinned_stream(self) -> HttpStream:
        archive = self._archive
        stream = archive.open_stream()
        if archive.checksums is None and stream.identity != archive.identity:
            raise Stale(
                f"{archive.url} is no longer what it was when {archive.handle} was first read; it is fetched anew"
            )
        return stream

    def _pass_by(self, stream: HttpStream | _KeptStream, turn: Turn, *, at_once: bool = False) -> None:
        archive, settings = self._archive, self._archive.settings
        shared_bytes = shared_memory_bytes(stream.size_bytes, settings.inflate_workers, settings.shared_bytes)
        # One request brings a small archive, and no span of it comes with less.
        is_small = stream.size_bytes is not None and stream.size_bytes <= WHOLE_BYTES
        useful = not is_small and archive.spans is not None and not archive.spans.known
        recording = ArchiveRecording(archive.url, useful=useful, is_small=is_small and archive.keeps_whole)
        brings = not (at_once and archive.keeps_whole) or self.progress.awaits_blocks
        wanted = Wanted()
        inflated = inflate(
            lambda: recording.compressed(stream.chunks()),
            stream.size_bytes,
            workers=settings.inflate_workers,
            cancellation=archive.cancellation,
            on_checkpoint=recording.checkpoint,
            on_lost=recording.void,
            most_shared_bytes=settings.shared_bytes,
            wanted=wanted,
        )
        kept = settings.eager
        came: set[str] = set()
        self.progress.came = lambda: recording.read_bytes
        with closing(inflated), archive.budget.passing(shared_bytes):
            passing = bounded(recording.inflated(inflated), lambda: stream.size_bytes or recording.read_bytes)
            repeats = Repeats(
                self.progress,
                lambda path, index: archive.cache.get(CacheKey(archive.model, path), index) if kept else None,
            )
            for passed in walk(passing, stream.size_bytes, is_verified=lambda: recording.is_gzip, wanted=wanted):
                archive.cancellation.check()
                self.progress.lives()
                for seen in self._what_counts(repeats, passed):
                    if not isinstance(seen, BlockSeen):
                        turn.tell(to_json(seen))
                        continue
                    if archive.checksums is not None:
                        archive.checksums.check(seen.path, seen.index, seen.block)
                        came.add(seen.path)
                    if not brings:
                        continue
                    key = CacheKey(archive.model, seen.path)
                    if not kept and not archive.turns.others_wait:  # before it is there for others to push out
                        archive.budget.passed((key, seen.index), len(seen.block))
                    kept &= archive.cache.put(key, seen.index, seen.block)
                    if not kept:
                        turn.let_go()
                        if not at_once and not archive.turns.others_wait:
                            self.progress.pace(seen)
                    self.progress.deliver(seen)
        if archive.checksums is not None and not self._paths_with_blocks() <= came:
            raise Stale(
                f"{archive.url} lacks some of what it held when {archive.handle} was first read; it is fetched anew"
            )
        self._tell_complete(recording.whole)
        self._keep_spans(recording)

    def _what_counts(self, repeats: Repeats, seen: IndexedMember | BlockSeen) -> Iterable[IndexedMember | BlockSeen]:
        """What counts of what comes by, where a name comes twice.

        Raises `Damaged` for what contradicts what came by before, `Stale` where the host names no version of that.
        """
        try:
            return repeats.of(seen)
        except Damaged as other:
            if self._archive.checksums is None or not self.progress.complete:
                raise
            raise Stale(f"{self._archive.url}: {other}; it is fetched anew") from other

    def _paths_with_blocks(self) -> set[str]:
        return {entry_of(member).kept_path for member in self.progress.known() if member.data_bytes}

    def _keep_spans(self, recording: ArchiveRecording) -> None:
        """From now on lost blocks are read by the index that was made; says why there is none, if there should be."""
        file = recording.index_file(self.progress.known())
        if self._archive.spans is not None and file is not None:
            self._read_by(self._archive.spans, file)
        elif recording.why_none:
            _log.warning(
                "%s has no index, so that a block that the cache loses costs another reading of it: %s; pack it as one "
                "gzip member, as `tar -cz` does",
                *(self._archive.url, recording.why_none),
            )

    def _read_by(self, spans: ArchiveSpans, file: IndexFile) -> None:
        """From now on lost blocks are read by `file`, also by readers who are waiting for a pass."""
        spans.adopt(file)
        self.progress.index_made()

    def _has_arrived(self, members: Sequence[Member] | None) -> bool:
        """Hands out the blocks that another daemon's pass has brought so far; whether nothing is waited for any more.

        `members` began since the last call; None: that pass may have ended, so its index is looked for, too.
        """
        self.progress.lives()
        if members:
            self._take_over_members(members)
        if (
            members is None
            and not self.progress.complete
            and not self._take_over_index(self._archive.turns.index(self._archive.model))
        ):
            return False

        def look(file: IndexedMember, index: int) -> bytes | None:
            key = self._archive.key(file)
            # While that pass runs this is asked again and again: a look is not to count as a miss each time.
            there = members is None or self._archive.cache.has(key, index)
            return cached_block(self._archive.cache, key, index, file.data_bytes) if there else None

        return self.progress.bring(look) and self.progress.complete

    def _take_over_members(self, members: Sequence[Member]) -> None:
        """Makes known what another daemon's pass came by, unless it contradicts what came by here."""
        for member in members:  # one by one: a name may come twice
            try:
                self.progress.adopt(members_of(self._archive.handle, [member]))
            except Damaged as damage:  # noqa: PERF203 - what is wrong with one is no reason to leave the others aside
                _log.warning(
                    "What another daemon says of the archive of %s is left aside: %s", self._archive.handle, damage
                )

    def _take_over_index(self, index: Mapping[str, Any] | None) -> bool:
        """Becomes complete by what another daemon's pass found, if that is of use."""
        if index is None:
            return False
        try:
            known = ArchiveIndex.from_json(self._archive.handle, index)
        except Damaged as damage:
            _log.warning("Another daemon's index of %s is left aside: %s", self._archive.handle, damage)
            return False
        if self._archive.checksums is not None:
            if known.checksums is None:
                return False
            self._archive.checksums.adopt(known.checksums)
        if not self.progress.adopt(known.members):
            return False
        self._tell_complete()
        return True

    def _tell_complete(self, whole: bytes | None = None) -> None:
        if whole is not None and self._is_kept_whole:  # so was the index
            return
        self.whole = whole
        try:
            self._on_complete()
            self._is_kept_whole = whole is not None
        finally:
            self.whole = None
            self.progress.mark_complete()
