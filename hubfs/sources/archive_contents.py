"""What an archive holds, as far as it is known."""

from collections.abc import Sequence

from hubfs.errors import Damaged
from hubfs.sources.archive_index import PlacedEntry
from hubfs.sources.source import ROOT, Entry, EntryKind, Extent


class ArchiveContents:
    """The entries that came by, and where the bytes of their files begin in the tar.

    Whatever comes by again must be what it was; once `complete`, nothing new may come. Guarded by whoever owns it.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"": ROOT}
        self.offsets_bytes: dict[str, int] = {}
        self.extent = Extent()
        self.complete = False

    def placed(self) -> tuple[PlacedEntry, ...]:
        """In the order in which they came by, without the root."""
        return tuple(
            PlacedEntry(entry, self.offsets_bytes.get(path, 0)) for path, entry in self.entries.items() if path
        )

    def add(self, placed: PlacedEntry) -> None:
        """Also the directories above it. Raises `Damaged` if the archive changed unnoticed."""
        entry, offset_bytes = placed.entry, placed.offset_bytes
        if self.complete and self.entries.get(entry.path) != entry:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} is new")
        if entry.kind is EntryKind.FILE and self.offsets_bytes.setdefault(entry.path, offset_bytes) != offset_bytes:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} was elsewhere")
        if entry.path not in self.entries:
            self.entries[entry.path] = entry
            if entry.kind is EntryKind.FILE:
                self.extent = Extent(self.extent.files + 1, self.extent.size_bytes + entry.size_bytes)
        # Up to the first that is known: thousands of files may lie thousands of directories deep.
        above = entry.path.rpartition("/")[0]
        while above not in self.entries:
            self.entries[above] = Entry(above, EntryKind.DIRECTORY)
            above = above.rpartition("/")[0]

    def adopt(self, placed: Sequence[PlacedEntry]) -> bool:
        """Takes over what another pass found; False if that is nothing, or contradicts what came by here."""
        if not placed or any(
            self.offsets_bytes.get(one.entry.path, one.offset_bytes) != one.offset_bytes for one in placed
        ):
            return False
        for one in placed:
            self.add(one)
        return True
