"""What an archive holds, as far as it is known."""

from collections.abc import Sequence
from dataclasses import replace

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES
from hubfs.errors import Damaged
from hubfs.sources.archive.index import PlacedEntry, kept_as
from hubfs.sources.source import ROOT, Entry, EntryKind, Extent


class ArchiveContents:
    """The entries that came by, and where the bytes of their files begin in the tar; a `Ledger`.

    Whatever comes by again must be what it was. A file may be replaced by a later one of the same name until somebody
    was told of it; once `complete`, nothing new may come. Guarded by whoever owns it.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"": ROOT}
        self.offsets_bytes: dict[str, int] = {}  # by the name in the cache
        self.extent = Extent()
        self.complete = False
        self._told: set[str] = set()  # the files that somebody knows of; empty once nothing is replaced any more

    def tell(self, path: str) -> Entry | None:
        """The entry at `path`, None if it has not come by. Its file is not replaced from now on."""
        entry = self.entries.get(path)
        if entry is not None and entry.kind is EntryKind.FILE and not self.complete:
            self._told.add(path)
        return entry

    def mark_complete(self) -> None:
        """All of the archive was verified."""
        self.complete = True
        self._told = set()

    def block_offset_bytes(self, kept_path: str, index: int) -> int:
        """Where a block of a file begins in the tar. An unknown file is taken to begin at 0.

        `kept_path` is the file's name in the cache.
        """
        return self.offsets_bytes.get(kept_path, 0) + index * BLOCK_SIZE_BYTES

    def placed(self) -> tuple[PlacedEntry, ...]:
        """In the order in which they came by, without the root."""
        return tuple(
            PlacedEntry(entry, self.offsets_bytes.get(entry.kept_path, 0))
            for path, entry in self.entries.items()
            if path
        )

    def add(self, placed: PlacedEntry) -> PlacedEntry | None:
        """See `Ledger`. Also the directories above it. Raises `Damaged` if the archive changed unnoticed."""
        entry, offset_bytes = placed.entry, placed.offset_bytes
        known = self.entries.get(entry.path)
        if known is None:
            if self.complete:
                raise Damaged(f"the archive holds something else than it did: {entry.path!r} is new")
            return self._put(placed)
        if EntryKind.FILE not in (entry.kind, known.kind):
            return placed
        known_bytes = self.offsets_bytes.get(known.kept_path, 0)
        if known.kept_as and offset_bytes < known_bytes:
            return None
        if offset_bytes != known_bytes:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} was elsewhere")
        if replace(entry, kept_as=known.kept_as) != known:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} is another")
        return PlacedEntry(known, offset_bytes)

    def replace(self, placed: PlacedEntry) -> PlacedEntry:
        """See `Ledger`. Raises `Damaged` if the archive changed unnoticed, or somebody knows of the earlier file."""
        entry, offset_bytes = placed.entry, placed.offset_bytes
        if entry.path in self._told:
            raise Damaged(
                f"member {entry.path!r} comes twice, with other bytes, and the first was served already; pack the "
                "archive anew, without the first, or list the model before anything in it is opened"
            )
        if self.complete:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} comes again, with other bytes")
        return self._put(
            PlacedEntry(replace(entry, kept_as=kept_as(entry.path, offset_bytes, replaces=True)), offset_bytes)
        )

    def _put(self, placed: PlacedEntry) -> PlacedEntry:
        entry = placed.entry
        if entry.kind is EntryKind.FILE:
            self.offsets_bytes[entry.kept_path] = placed.offset_bytes
        known = self.entries.get(entry.path)
        if known is not None:
            self._grow(known, -1)
        self._grow(entry, 1)
        self.entries[entry.path] = entry
        # Up to the first that is known: thousands of files may lie thousands of directories deep.
        above = entry.path.rpartition("/")[0]
        while above not in self.entries:
            self.entries[above] = Entry(above, EntryKind.DIRECTORY)
            above = above.rpartition("/")[0]
        return placed

    def _grow(self, entry: Entry, by: int) -> None:
        if entry.kind is EntryKind.FILE:
            self.extent = Extent(self.extent.files + by, self.extent.size_bytes + by * entry.stored_bytes)

    def adopt(self, placed: Sequence[PlacedEntry]) -> bool:
        """Takes over what another pass found; False if that is nothing, or contradicts what came by here.

        It may be a file in the place of an earlier one of the same name, unless somebody was told of that.
        """
        if not placed or any(self._contradicts(one) for one in placed):
            return False
        for one in placed:
            if self._is_later(one):
                self._put(one)
            else:
                self.add(one)
        return True

    def _contradicts(self, placed: PlacedEntry) -> bool:
        known = self.entries.get(placed.entry.path)
        if known is None or self.offsets_bytes.get(known.kept_path, placed.offset_bytes) == placed.offset_bytes:
            return False
        return not self._is_later(placed) or known.path in self._told

    def _is_later(self, placed: PlacedEntry) -> bool:
        """Whether it is in the place of what came by here."""
        known = self.entries.get(placed.entry.path)
        if known is None or not placed.entry.kept_as:
            return False
        return self.offsets_bytes.get(known.kept_path, placed.offset_bytes) < placed.offset_bytes
