"""The blocks of an archive that readers wait for."""

from collections.abc import Iterator

from hubfs.formats.index_file import IndexedMember
from hubfs.sources.archive.index import entry_of

Place = tuple[str, int]
"""A block of a file: its name in the cache, and the block's index."""


class Waiter:
    """Readers of one block that has not come by yet. Guarded by whoever owns it."""

    def __init__(self, file: IndexedMember, index: int, passes_made: int) -> None:
        self.file = file
        self.index = index
        self.readers = 0
        # A pass under way may be past the block already; the one after it must come by.
        self.hopeless_after = passes_made + 2
        self.block: bytes | None = None

    @property
    def place(self) -> Place:
        """The block."""
        return (entry_of(self.file).kept_path, self.index)


class Waiters:
    """One `Waiter` for each block that is waited for, as long as it has readers. Guarded by whoever owns it."""

    def __init__(self) -> None:
        self._waiters: dict[Place, Waiter] = {}

    def __len__(self) -> int:
        """How many blocks have readers."""
        return len(self._waiters)

    def join(self, file: IndexedMember, index: int, passes_made: int) -> Waiter:
        """One reader more of a block. `passes_made`: how many passes ended well so far."""
        fresh = Waiter(file, index, passes_made)
        waiter = self._waiters.setdefault(fresh.place, fresh)
        waiter.readers += 1
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """One reader less, whether it has the block or gave up."""
        waiter.readers -= 1
        if not waiter.readers:
            self._waiters.pop(waiter.place, None)

    def bring(self, place: Place, block: bytes) -> None:
        """Gives the block to its readers, if it has any."""
        waiter = self._waiters.get(place)
        if waiter is not None:
            waiter.block = block

    def missing(self) -> Iterator[Waiter]:
        """Those whose block has not come."""
        return (waiter for waiter in self._waiters.values() if waiter.block is None)
