"""What the readers of one model did, and what is still to be fetched for them. No I/O."""

import math
from collections import deque
from collections.abc import Sequence

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, blocks_of
from hubfs.sources.prefetch.plan import Sign, Stage, Want, begins, follows, sign_of

FOLLOW_S = 20.0
"""A model without an open file, and without a read, for so long is not followed any more. A loader has nothing open
while it imports the graph: 1 to 2 s were measured on 2 cores; large graphs on a busy machine take ten times as long."""

PEEK_S = 15.0
"""For so long after a lookup of `saved_model.pbtxt`, the lookup of the debug information tells nothing. The kernel
remembers for 5 s that a name is absent, and does not ask again; reading a large graph comes on top."""

PIECE_BLOCKS = 64
"""At most this much is asked for at once, so that asking for a piece takes no time worth mentioning."""

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

    def asked(self, want: Want, end_bytes: int) -> None:
        """What `next` returned was asked for, up to `end_bytes`."""
        first = self._wants[0] if self._wants else None
        if first is None or (first.path, first.offset_bytes) != (want.path, want.offset_bytes):
            return  # the burst is over, and another may have begun
        if end_bytes >= first.end_bytes:
            self._wants.popleft()
        else:
            self._wants[0] = first.between(end_bytes, first.end_bytes)
