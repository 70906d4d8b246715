"""What an archive holds, as far as it is known."""

from collections.abc import Sequence

from hubfs.errors import Damaged
from hubfs.sources.archive_index import PlacedEntry
from hubfs.sources.source import ROOT, Entry, EntryKind, with_parents


class ArchiveContents:
    """The entries that came by, and where their files begin, counted in bytes of files.

    Whatever comes by again must be what it was; once `complete`, nothing new may come. Guarded by whoever owns it.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {"": ROOT}
        self.starts_bytes: dict[str, int] = {}
        self.complete = False

    def placed(self) -> tuple[PlacedEntry, ...]:
        """In the order in which they came by, without the root."""
        return tuple(PlacedEntry(entry, self.starts_bytes.get(path, 0)) for path, entry in self.entries.items() if path)

    def add(self, entry: Entry, start_bytes: int) -> None:
        """Also the directories above it. Raises `Damaged` if the archive changed unnoticed."""
        if self.complete and self.entries.get(entry.path) != entry:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} is new")
        if entry.kind is EntryKind.FILE and self.starts_bytes.setdefault(entry.path, start_bytes) != start_bytes:
            raise Damaged(f"the archive holds something else than it did: {entry.path!r} was elsewhere")
        for known in with_parents(entry):
            self.entries.setdefault(known.path, known)

    def adopt(self, placed: Sequence[PlacedEntry]) -> bool:
        """Takes over what another pass found; False if that is nothing, or contradicts what came by here."""
        if not placed or any(
            self.starts_bytes.get(one.entry.path, one.start_bytes) != one.start_bytes for one in placed
        ):
            return False
        for one in placed:
            self.add(one.entry, one.start_bytes)
        return True
