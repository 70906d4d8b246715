"""What a kind of loader will want next: the interface, and what all kinds share. Pure policy."""

import re
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, blocks_of
from hubfs.sources.source import Entry, EntryKind

SPECULATION_BYTES = 64 << 20
"""What is fetched because a first file was opened, or a header read, before anything tells that a loader follows.

A reader of that file alone pays at most this. TensorFlow imports a graph for 1 to 2 s before it asks for a variable:
64 MiB is what one connection of 400 Mbit/s brings meanwhile, and most models whole. TensorFlow 2.21's loaders show
themselves within the first tenth of that time, and the rest is fetched then."""

TAIL_BYTES = 512 << 10
"""The end of a file whose end is read before its start: of TensorFlow's variables it holds the object graph, 18 to
135 KB were measured; of a zip, the names of what is in it."""

OVERRUN_BYTES = 2 << 20
"""So much behind what a program reads the kernel may ask for: a window of 1 MiB, and the next as soon as the program is
within the first."""

PIECE_BLOCKS = 64
"""At most this much is asked for at once, so that asking for a piece takes no time worth mentioning."""

TURN_BLOCKS = 16
"""Files that several readers are in take turns by this much: four requests of the longest, of sixteen at once."""

_TURNS = 8
"""So many files take turns. Loaders have 4 to 8 threads."""

_RANGES = 64
"""The rest of a file is kept in so many ranges at most; where more would be needed, it stays in order."""

_DIGITS = re.compile(r"([0-9]+)")

Place = tuple[str, int]
"""A block: the path of its file, and its index."""


class Stage(IntEnum):
    """When a want holds: from the opening on, or once a loader showed itself."""

    CERTAIN = 0
    FOLLOWED = 1


@dataclass(frozen=True)
class Want:
    """A range of a file, from a block boundary to another, or to the file's end."""

    path: str
    offset_bytes: int
    size_bytes: int
    stage: Stage

    @property
    def end_bytes(self) -> int:
        """Where it ends."""
        return self.offset_bytes + self.size_bytes

    def between(self, offset_bytes: int, end_bytes: int) -> "Want":
        """A part of it."""
        return Want(self.path, offset_bytes, end_bytes - offset_bytes, self.stage)


Lane = deque[Want]


class Wants:
    """What is still to be asked for, in order, of which each file that has a lane of its own can be read out of turn.

    `ahead` comes first. The lanes of files that readers are in take turns after that, and the others follow.
    """

    def __init__(self, ahead: Iterable[Want] = (), files: Iterable[Want] = ()) -> None:
        self._ahead: Lane = deque(ahead)
        self._lanes: dict[str, Lane] = {}
        for want in files:
            self._lanes.setdefault(want.path, deque()).append(want)
        self._turns: deque[str] = deque()
        self._asked_of: Lane = self._ahead
        self._by_parts = False

    def works(self, stage: Stage) -> bool:
        """Whether something is to be asked for at that stage."""
        return self._lane(stage) is not None

    @property
    def left(self) -> tuple[Want, ...]:
        """All that is left, at every stage."""
        return (*self._ahead, *(want for lane in self._lanes.values() for want in lane))

    @property
    def over(self) -> bool:
        """Whether nothing is left."""
        return not self._ahead and not self._lanes

    def next(self, stage: Stage, given: Container[Place]) -> Want | None:
        """What to ask for next, without the blocks that are `given`; None: nothing now."""
        while (lane := self._lane(stage)) is not None:
            want = lane[0]
            most = TURN_BLOCKS if len(self._turns) > 1 else PIECE_BLOCKS
            indexes = blocks_of(want.offset_bytes, want.size_bytes, want.end_bytes)
            start = next((index for index in indexes if (want.path, index) not in given), None)
            if start is None:
                self._shorten(lane, want.end_bytes)
                continue
            stop = start + 1
            while stop < min(start + most, indexes.stop) and (want.path, stop) not in given:
                stop += 1
            lane[0] = want.between(start * BLOCK_SIZE_BYTES, want.end_bytes)
            self._asked_of = lane
            return want.between(start * BLOCK_SIZE_BYTES, min(stop * BLOCK_SIZE_BYTES, want.end_bytes))
        return None

    def asked(self, want: Want, end_bytes: int) -> bool:
        """What `next` returned was asked for, up to `end_bytes`. Returns whether all of its file was asked for now."""
        lane = self._asked_of
        if not lane or (lane[0].path, lane[0].offset_bytes) != (want.path, want.offset_bytes):
            return False  # a reader came into the file meanwhile, and its lane begins elsewhere
        parts = len(lane)
        self._shorten(lane, end_bytes)
        if self._turns and self._turns[0] == want.path:
            self._turns.rotate(-1)
        if self._by_parts or len(lane) == parts or want.path in self._lanes:
            return False
        return all(one.path != want.path for one in self._ahead)

    def come(self, path: str, offset_bytes: int) -> bool:
        """A reader is in the file, there: its lane goes on from there, and takes turns. Returns whether it does."""
        lane = self._lanes.get(path)
        if lane is None:
            return False
        if path not in self._turns:
            self._turns.appendleft(path)
            while len(self._turns) > _TURNS:
                self._turns.pop()
        start = offset_bytes // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES
        at = next((at for at, want in enumerate(lane) if want.offset_bytes <= start < want.end_bytes), None)
        if at is None or len(lane) >= _RANGES:
            return False
        lane.rotate(-at)
        want = lane[0]
        if start > want.offset_bytes:
            lane[0] = want.between(start, want.end_bytes)
            lane.append(want.between(want.offset_bytes, start))
        return True

    def prefer(self, want: Want) -> None:
        """To be asked for before everything else."""
        self._ahead.append(want)

    def clear(self) -> None:
        """Nothing of all that is wanted any more, and from now on no file as a whole."""
        self._by_parts = True
        self._ahead.clear()
        self._lanes.clear()
        self._turns.clear()

    def _lane(self, stage: Stage) -> Lane | None:
        if self._ahead and self._ahead[0].stage <= stage:
            return self._ahead
        for _ in range(len(self._turns)):
            lane = self._lanes[self._turns[0]]
            if lane[0].stage <= stage:
                return lane
            self._turns.rotate(-1)
        first = next(iter(self._lanes.values()), None)
        return first if first is not None and first[0].stage <= stage else None

    def _shorten(self, lane: Lane, end_bytes: int) -> None:
        want = lane[0]
        if end_bytes < want.end_bytes:
            lane[0] = want.between(end_bytes, want.end_bytes)
            return
        lane.popleft()
        if not lane and lane is not self._ahead:
            self._lanes.pop(want.path, None)
            if want.path in self._turns:
                self._turns.remove(want.path)


@dataclass(frozen=True)
class Look:
    """A file that a plan wants to know more of. `understand` reads it, with a bound of its own."""

    path: str
    understand: Callable[[Blob], object]


class Plan:
    """What a loader of one kind wants of a model. Each kind is a subclass, made once a reader gave its sign.

    Asks nobody and reads nothing itself: it is told what readers do (`opened`, `read`), what the model has (`learn`),
    and what was found by a look (`saw`; None: nothing that could be understood). What it wants is in `wants`, as far
    as its `stage`; what it has to see for that, in `looks`. Not thread-safe.
    """

    def __init__(self, begun_by: str) -> None:
        self.begun_by = begun_by
        """The file whose opening, or reading, was the sign."""
        self.learned = False
        self.stage = Stage.CERTAIN
        self.wants = Wants()
        self.looks: deque[Look] = deque()

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """Whether opening `path`, or to `read` its first bytes, tells what will be wanted next."""
        raise NotImplementedError

    def covers(self, path: str) -> bool:
        """Whether what is done with `path` is this plan's business."""
        return path == self.begun_by

    @property
    def over(self) -> bool:
        """Whether the same sign begins anew."""
        return self.learned and self.wants.over and not self.looks

    def learn(self, entries: Sequence[Entry]) -> None:
        """What the model has. Called once."""
        self.learned = True
        self._learn(entries)

    def _learn(self, entries: Sequence[Entry]) -> None:
        raise NotImplementedError

    def opened(self, path: str) -> None:
        """A reader opened any file of the model."""

    def read(self, path: str, offset_bytes: int, end_bytes: int) -> None:
        """A reader was given these bytes of a file that it `covers`. Also called before anything was learned."""

    def saw(self, look: Look, seen: object) -> None:
        """What a look found: what its `understand` returned; None if that raised."""


def staged(ranges: Iterable[tuple[str, range]], left_bytes: int = SPECULATION_BYTES) -> Iterator[Want]:
    """The ranges as wants: CERTAIN as far as the speculation goes, in whole blocks; the rest FOLLOWED.

    No rest is less than a tail: a tail is not split, and a few bytes are not worth a request.
    """
    for path, wanted in ranges:
        certain_bytes = len(wanted)
        if certain_bytes > left_bytes:
            certain_bytes = min(left_bytes, max(0, len(wanted) - TAIL_BYTES)) // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES
        if certain_bytes:
            yield Want(path, wanted.start, certain_bytes, Stage.CERTAIN)
        if certain_bytes < len(wanted):
            yield Want(path, wanted.start + certain_bytes, len(wanted) - certain_bytes, Stage.FOLLOWED)
            left_bytes = 0  # what comes later waits, too: the order holds
        else:
            left_bytes -= certain_bytes


def tail_of(size_bytes: int) -> range:
    """The end of a file of that size, from a block boundary on: at least `TAIL_BYTES` of it, if it has as many."""
    return range(max(0, size_bytes - TAIL_BYTES) // BLOCK_SIZE_BYTES * BLOCK_SIZE_BYTES, size_bytes)


def files_in(entries: Sequence[Entry], folder: str) -> Mapping[str, int]:
    """The sizes of all files below `folder` (empty, or a path that ends in '/') by their paths from there, in the order
    of their places.
    """
    return {
        entry.path.removeprefix(folder): entry.size_bytes
        for entry in sorted(entries, key=lambda entry: (entry.place, entry.path))
        if entry.kind is EntryKind.FILE and entry.path.startswith(folder)
    }


def folder_of(path: str) -> str:
    """What precedes the name: the empty text, or a path that ends in '/'."""
    return path[: len(path) - len(name_of(path))]


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def by_numbers(text: str) -> list[tuple[int, str]]:
    """Sorts texts with the numbers in them as numbers: 10 comes after 9."""
    parts = _DIGITS.split(text)
    return [(len(part.lstrip("0")) if at % 2 else 0, part) for at, part in enumerate(parts)]
