"""How far an archive has come by: what is known of it, who waits for what, and how far a pass may run ahead."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.errors import Cancelled, Damaged, EntryNotFound, HubfsError, TimedOut, Unavailable
from hubfs.formats.index_file import IndexedMember
from hubfs.model_id import ModelId
from hubfs.sources.archive.contents import ArchiveContents
from hubfs.sources.archive.index import entry_of
from hubfs.sources.archive.walk import BlockSeen
from hubfs.sources.source import Extent
from hubfs.waiting import Cancellation

_STALL_S = 300.0
"""A reader gives up when the pass makes no progress for so long. The transfer's own time-outs come much earlier."""

_IDLE_S = 60.0
"""A pass that waited for its readers for so long ends; a later reader begins another."""


@dataclass
class _Waiter:
    """Readers of block `index` of `file`, which has not come by yet.

    Nothing is to be hoped for once `hopeless_after` passes ended well: a pass that ran when the first reader came may
    have been past the block, and the pass after that must have come by.
    """

    file: IndexedMember
    index: int
    hopeless_after: int
    readers: int = 0
    block: bytes | None = None

    @property
    def offset_bytes(self) -> int:
        """Where the block begins in the tar."""
        return self.file.offset_bytes + self.index * BLOCK_SIZE_BYTES


class Abandoned(Exception):
    """The pass ends early: its readers are gone, or are waiting for what came by before."""


class ArchiveProgress:
    """What readers ask and what passes tell, over all passes over one archive. Nothing is read or kept here.

    Readers wait in `find`, `members` and `expecting`; these raise the failure for good, if there is one, else what
    ended the pass (the next question begins a new one, unless a pass failed to reach the origin less than `shared_s`
    ago), `TimedOut`, `Cancelled`. `begin_pass` is called when something is asked and no pass runs: it begins one in
    another thread, and raises if it cannot; or it returns one that waits for no host, which the reader makes itself.
    The pass tells what comes by, and at last `end_pass`.

    `ahead_bytes` says how far a pass may be ahead of its readers now; it is asked under the lock, and takes none.

    `_condition` guards every field below it in `__init__`; it is held for no I/O, and notified whenever one changes
    that somebody waits for; of what `mark_complete` and `fail` tell, with the end of the pass.
    """

    def __init__(
        self,
        handle: ModelId,
        url: str,
        *,
        ahead_bytes: Callable[[], int],
        begin_pass: Callable[[], Callable[[], None] | None],
        cancellation: Cancellation,
        shared_s: float,
    ) -> None:
        self._handle = handle
        self._url = url
        self._ahead_bytes = ahead_bytes
        self._begin_pass = begin_pass
        self._cancellation = cancellation
        self._shared_s = shared_s

        self.came: Callable[[], int] = int
        """How many bytes of the archive the pass has received. The pass alone sets it, without a lock."""

        self._condition = threading.Condition()
        self._contents = ArchiveContents()
        self._failure: HubfsError | None = None  # for good: damaged, or changed at the origin
        self._waiters: dict[tuple[str, int], _Waiter] = {}  # by the file's name in the cache, and the block's index
        self._questions: list[Callable[[], bool]] = []  # one per reader who waits: whether it is answered
        self._indexes_made = 0  # by which what came by can be read without a pass
        self._running = False
        self._pass_number = 0
        self._passes_made = 0  # without an error: to the end, or as far as anybody wanted
        self._pass_error: HubfsError | None = None  # how pass number `_pass_number` ended, if it did and badly
        self._shared_until_s = 0.0  # for whom `_pass_error` is the answer though they did not wait for that pass
        self._position_bytes = 0  # how far this pass is in the tar
        self._furthest_bytes = 0  # how far any pass was
        self._read_bytes = 0  # where the furthest block begins that a reader has read behind this pass
        self._steps = 0  # grows with every block, over all passes

    @property
    def complete(self) -> bool:
        """Whether a whole pass was verified."""
        with self._condition:
            return self._contents.complete

    @property
    def failure(self) -> HubfsError | None:
        """What ended a pass for good."""
        with self._condition:
            return self._failure

    @property
    def indexes_made(self) -> int:
        """How many passes made an index."""
        with self._condition:
            return self._indexes_made

    @property
    def extent(self) -> Extent:
        """How many files came by, and their sizes together."""
        with self._condition:
            return self._contents.extent

    @property
    def running(self) -> bool:
        """Whether a pass is under way."""
        with self._condition:
            return self._running

    @property
    def awaits_blocks(self) -> bool:
        """Whether readers wait for blocks."""
        with self._condition:
            return bool(self._waiters)

    def known(self) -> tuple[IndexedMember, ...]:
        """The members that came by, in their order, without the root."""
        with self._condition:
            return self._contents.all()

    # What readers ask.

    def find(self, path: str) -> IndexedMember:
        """Waits until the member at `path` comes by. Raises `EntryNotFound` once the archive ended without it."""
        with self._condition:
            if path not in self._contents.members:
                self._ask(lambda: path in self._contents.members or self._contents.complete, f"{self._handle}/{path}")
            self._check()
            member = self._contents.tell(path)
        if member is None:
            raise EntryNotFound(f"{self._handle} has no entry {path!r}")
        return member

    def members(self) -> Sequence[IndexedMember]:
        """Waits for the end of the archive; without the root, sorted by path."""
        with self._condition:
            self._ask(lambda: self._contents.complete, f"the end of {self._url}")
            self._check()
            return sorted(self._contents.all(), key=lambda member: member.path)

    def await_end(self, patience_s: float) -> None:
        """Waits for the end of the pass that runs, if one does, at most so many seconds. Never raises."""
        with self._condition:
            number = self._pass_number

            def ended() -> bool:
                return not self._running or self._pass_number != number

            self._questions.append(ended)
            self._condition.notify_all()  # the pass may be waiting to be wanted
            try:
                with suppress(TimedOut, Cancelled):
                    self._cancellation.wait_for(self._condition, ended, patience_s, f"the end of {self._url}")
            finally:
                self._questions.remove(ended)

    def check(self) -> None:
        """Raises the failure, if there is one."""
        with self._condition:
            self._check()

    @contextmanager
    def expecting(self, member: IndexedMember, index: int, indexes_made: int) -> Iterator[Callable[[], bytes | None]]:
        """Inside of it no pass brings block `index` unseen. Yields what waits for the block, and returns it.

        That raises `Damaged`, too, if a whole pass did not bring it. It returns None if the block has not come, and a
        pass made an index since there were `indexes_made`: the block is read by that.
        """
        place = entry_of(member).kept_path, index
        with self._condition:
            waiter = self._waiters.setdefault(place, _Waiter(member, index, self._passes_made + 2))
            waiter.readers += 1
        try:
            yield lambda: self._await(waiter, indexes_made, f"{self._handle}/{member.path}")
        finally:
            with self._condition:
                waiter.readers -= 1
                if not waiter.readers:
                    del self._waiters[place]

    def note_read(self, file: IndexedMember, indexes: range) -> None:
        """A reader has these blocks of a file: the pass may go on.

        Raises the failure, if there is one.
        """
        with self._condition:
            self._check()
            if not self._running:
                return
            # Blocks that are still to come, and that the cache has of an earlier pass, hurry no pass.
            begins_bytes = (file.offset_bytes + index * BLOCK_SIZE_BYTES for index in indexes)
            read_bytes = max((begin for begin in begins_bytes if begin <= self._position_bytes), default=0)
            if read_bytes > self._read_bytes:
                self._read_bytes = read_bytes
                self._condition.notify_all()

    def came_by(self, file: IndexedMember, index: int) -> bool:
        """Whether a pass brought block `index` of the file already."""
        with self._condition:
            return file.offset_bytes + index * BLOCK_SIZE_BYTES < self._furthest_bytes

    def _await(self, waiter: _Waiter, indexes_made: int, what: str) -> bytes | None:
        def answered() -> bool:
            hopeless = self._passes_made >= waiter.hopeless_after
            return waiter.block is not None or self._indexes_made > indexes_made or hopeless

        with self._condition:
            self._ask(answered, what)
            self._check()
            if waiter.block is None and self._indexes_made == indexes_made:
                raise Damaged(f"{self._url}: the archive no longer holds all of {what}")
            return waiter.block

    def _check(self) -> None:
        """Held: `_condition`."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # raised again and again, it would keep every frame it passed

    def _ask(self, answered: Callable[[], bool], what: str) -> None:
        """Sees to it that a pass runs, and waits for `answered()` or a failure for good. Held: `_condition`."""
        number = 0
        self._questions.append(answered)
        self._condition.notify_all()  # the pass may be waiting to be wanted
        try:
            while not answered() and self._failure is None:
                if not self._running:
                    waited_for_it = number == self._pass_number
                    if self._pass_error is not None and (waited_for_it or monotonic() < self._shared_until_s):
                        raise self._pass_error.with_traceback(None)  # as in `_check`
                    made_here = self._start_pass()
                    if made_here is not None:
                        self._condition.release()
                        try:
                            made_here()
                        finally:
                            self._condition.acquire()
                number, steps = self._pass_number, self._steps
                try:
                    self._cancellation.wait_for(
                        self._condition,
                        lambda: answered() or self._failure is not None or not self._running,
                        _STALL_S,
                        what,
                    )
                except TimedOut:
                    if self._steps == steps:
                        raise
        finally:
            self._questions.remove(answered)

    def _start_pass(self) -> Callable[[], None] | None:
        """Begins a pass, or returns one that the caller makes without the lock. Held: `_condition`."""
        made_here = self._begin_pass()  # first: if that fails, no pass is under way. It cannot end before this does
        self._running = True
        self._pass_number += 1
        self._pass_error = None
        self._position_bytes = self._read_bytes = 0
        return made_here

    # What a pass tells.

    def add(self, member: IndexedMember) -> IndexedMember | None:
        """A member begins: returns what counts, None if a later member of its name does.

        Raises `Damaged` if the archive changed unnoticed.
        """
        with self._condition:
            counts = self._contents.add(member)
            self._condition.notify_all()
        return counts

    def replace(self, member: IndexedMember) -> IndexedMember:
        """A later member of the same name has other bytes, and counts from now on.

        Raises `Damaged` if the archive changed unnoticed, or a reader knows of the earlier file.
        """
        with self._condition:
            return self._contents.replace(member)

    def deliver(self, seen: BlockSeen) -> None:
        """A block came by. Readers are woken for a block that one of them waits for, and for no other."""
        with self._condition:
            self._position_bytes = seen.offset_bytes + len(seen.block)
            self._furthest_bytes = max(self._furthest_bytes, self._position_bytes)
            self._steps += 1
            waiter = self._waiters.get((seen.path, seen.index))
            if waiter is not None:
                waiter.block = seen.block
                self._condition.notify_all()

    def pace(self, seen: BlockSeen) -> None:
        """Waits while `seen`, the block in hand, is too far ahead of the readers, and nobody waits for it.

        Raises `Abandoned`, `Cancelled`.
        """
        idle_until_s = monotonic() + _IDLE_S
        with self._condition:
            self._position_bytes = seen.offset_bytes  # the cache has it: reading it is progress
            while not self._wanted():
                if self._waited_for():
                    raise Abandoned  # all who wait want what came by before
                if self._position_bytes + len(seen.block) - self._read_bytes <= self._ahead_bytes():
                    return
                if monotonic() >= idle_until_s:
                    raise Abandoned
                self._cancellation.check()
                self._condition.wait(0.25)

    def lives(self) -> None:
        """The pass does not stall: it waits for its turn, or goes by what does not count."""
        with self._condition:
            self._steps += 1

    def adopt(self, members: Sequence[IndexedMember]) -> bool:
        """Takes over the members that another pass found; False if there are none, or one contradicts the table."""
        with self._condition:
            return self._contents.adopt(members)

    def bring(self, look: Callable[[IndexedMember, int], bytes | None]) -> bool:
        """Gives readers the blocks of files that `look` finds; returns whether nothing is waited for any more.

        `look` is called without the lock.
        """
        with self._condition:
            missing = self._missing()
        for waiter in missing:
            block = look(waiter.file, waiter.index)
            with self._condition:
                waiter.block = waiter.block or block
                self._condition.notify_all()
        return all(waiter.block is not None for waiter in missing)

    def mark_complete(self) -> None:
        """A whole pass was verified."""
        with self._condition:
            self._contents.mark_complete()

    def index_made(self) -> None:
        """From now on the blocks of the archive are read by an index, as long as it fits."""
        with self._condition:
            self._indexes_made += 1
            self._condition.notify_all()

    def fail(self, failure: HubfsError) -> None:
        """The pass ended for good: nothing may be served any more."""
        with self._condition:
            self._failure = failure
            self._contents = ArchiveContents()  # nothing of it is served any more, and a hostile one is large

    def end_pass(self, error: HubfsError | None) -> None:
        """The pass ended, with an error or as it should."""
        with self._condition:
            self._pass_error = error
            if isinstance(error, TimedOut | Unavailable):
                self._shared_until_s = monotonic() + self._shared_s
            self._passes_made += error is None
            self._running = False
            self._condition.notify_all()

    def _wanted(self) -> bool:
        """Whether somebody waits for something that is still to come. Held: `_condition`."""
        if not self._contents.complete:
            return self._waited_for()  # only the end can tell; and it makes the model complete
        return any(waiter.offset_bytes >= self._position_bytes for waiter in self._missing())

    def _missing(self) -> list[_Waiter]:
        """The blocks that have readers, and have not come. Held: `_condition`."""
        return [waiter for waiter in self._waiters.values() if waiter.block is None]

    def _waited_for(self) -> bool:
        """Whether a question is open: a reader who has its answer may not have woken up yet. Held: `_condition`."""
        return any(not answered() for answered in self._questions)
