"""What an archive holds, as far as it is known."""

from collections.abc import Sequence
from dataclasses import replace

from hubfs.errors import Damaged
from hubfs.formats.index_file import IndexedMember
from hubfs.sources.source import Extent


class ArchiveContents:
    """The table of the archive's members that came by; a `Ledger`. Guarded by its owner.

    A member that comes by again must be as it was. A later file of the same name may replace a file until a reader was
    told of that file. Once the archive is `complete`, nothing new may come.
    """

    def __init__(self) -> None:
        self.members: dict[str, IndexedMember] = {"": _directory("")}
        """By path: every member, every directory above one, and the root."""
        self.extent = Extent()
        self.complete = False
        self._told: set[str] = set()  # the files that a reader knows of; empty once nothing is replaced any more

    def tell(self, path: str) -> IndexedMember | None:
        """The member at `path`, None if it has not come by. Its file is not replaced from now on."""
        member = self.members.get(path)
        if member is not None and not member.is_directory and not self.complete:
            self._told.add(path)
        return member

    def mark_complete(self) -> None:
        """All of the archive was verified."""
        self.complete = True
        self._told = set()

    def all(self) -> tuple[IndexedMember, ...]:
        """The members in the order in which they came by, without the root."""
        return tuple(member for path, member in self.members.items() if path)

    def add(self, member: IndexedMember) -> IndexedMember | None:
        """A member begins, and the directories above it: returns what counts, None if a later member of its name does.

        Raises `Damaged` if the archive changed unnoticed.
        """
        known = self.members.get(member.path)
        if known is None:
            if self.complete:
                raise _changed(member, "is new")
            return self._put(member)
        if member.is_directory or known.is_directory:
            return member
        if known.replaces and member.offset_bytes < known.offset_bytes:
            return None
        if member.offset_bytes != known.offset_bytes:
            raise _changed(member, "was elsewhere")
        if replace(member, replaces=known.replaces) != known:
            raise _changed(member, "is another")
        return known

    def replace(self, member: IndexedMember) -> IndexedMember:
        """A later member of the same name has other bytes, and counts from now on.

        Raises `Damaged` if the archive changed unnoticed, or a reader knows of the earlier file.
        """
        if member.path in self._told:
            raise Damaged(
                f"member {member.path!r} comes twice, with other bytes, and the first was served already; pack the "
                "archive anew, without the first, or list the model before anything in it is opened"
            )
        if self.complete:
            raise _changed(member, "comes again, with other bytes")
        return self._put(replace(member, replaces=True))

    def adopt(self, members: Sequence[IndexedMember]) -> bool:
        """Takes over the members that another pass found; False if there are none, or one contradicts the table.

        A later file may stand in the place of an earlier file of the same name, unless a reader was told of that.
        """
        if not members or any(self._contradicts(member) for member in members):
            return False
        for member in members:
            if self._is_later(member):
                self._put(member)
            else:
                self.add(member)
        return True

    def _put(self, member: IndexedMember) -> IndexedMember:
        known = self.members.get(member.path)
        if known is not None:
            self._grow(known, -1)
        self._grow(member, 1)
        self.members[member.path] = member
        # Up to the first that is known: thousands of files may lie thousands of directories deep.
        above = member.path.rpartition("/")[0]
        while above not in self.members:
            self.members[above] = _directory(above)
            above = above.rpartition("/")[0]
        return member

    def _grow(self, member: IndexedMember, by: int) -> None:
        if not member.is_directory:
            self.extent = Extent(self.extent.files + by, self.extent.size_bytes + by * member.data_bytes)

    def _contradicts(self, member: IndexedMember) -> bool:
        known = self.members.get(member.path)
        if known is None or known.is_directory or known.offset_bytes == member.offset_bytes:
            return False
        return not self._is_later(member) or known.path in self._told

    def _is_later(self, member: IndexedMember) -> bool:
        """Whether the file stands in the place of a known file."""
        known = self.members.get(member.path)
        return known is not None and member.replaces and known.offset_bytes < member.offset_bytes


def _directory(path: str) -> IndexedMember:
    return IndexedMember(path, is_directory=True, size_bytes=0, offset_bytes=0)


def _changed(member: IndexedMember, how: str) -> Damaged:
    return Damaged(f"the archive holds something else than it did: {member.path!r} {how}")
