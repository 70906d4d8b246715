"""What a model's directory holds at one moment: the members that its archive will have."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubfs.errors import Stale, Unavailable


@dataclass(frozen=True)
class Member:
    """A file or a directory of a model. `name` is relative and POSIX; `path` is where to read it."""

    name: str
    path: Path
    is_directory: bool
    size_bytes: int = 0
    mtime_ns: int = 0

    def as_read(self, status: os.stat_result) -> bool:
        """Whether `status`, of the file once it is open, is that of the file that was listed."""
        return (self.size_bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Listing:
    """The members, sorted by name, and the names that were skipped, because serving them would be wrong.

    Skipped are hidden names (`.env`, `.git`) unless they are asked for, symlinks that lead out of what is served,
    nowhere, or in circles, and everything that is neither a file nor a directory.
    """

    members: tuple[Member, ...]
    skipped: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Differs when a name, a size or a time of change does."""
        digest = hashlib.sha256()
        for member in self.members:
            digest.update(
                os.fsencode(f"{member.name}\0{member.is_directory}\0{member.size_bytes}\0{member.mtime_ns}\0")
            )
        return digest.hexdigest()

    @property
    def newest_mtime_ns(self) -> int:
        """When a file was changed last; 0 without files."""
        return max((member.mtime_ns for member in self.members), default=0)


def list_packed(archive: Path) -> Listing:
    """A ready archive, seen from outside: itself. Raises `Stale` when it is gone."""
    try:
        status = archive.stat()
    except OSError as error:
        raise Stale(f"{archive.name} is gone: {error.strerror}") from error
    return Listing((Member(archive.name, archive, False, status.st_size, status.st_mtime_ns),), ())


def is_hidden(name: str) -> bool:
    """Whether a name, or a part of a path, is one that listings leave out: it begins with a dot."""
    return name.startswith(".")


def list_members(directory: Path, holds: Callable[[Path], bool], *, hidden: bool = False) -> Listing:
    """Lists what is below `directory`; symlinks are followed where `holds` says that they may be.

    With `hidden`, names that begin with a dot are listed as all others are.

    Raises `Stale` when the directory changes meanwhile, `Unavailable` when a part of it cannot be read.
    """
    members: list[Member] = []
    skipped: list[str] = []
    try:
        for name, path, member in _walk(directory, "", frozenset(), holds, hidden=hidden):
            if member is None:
                skipped.append(name)
            else:
                members.append(Member(name, path, *member))
    except FileNotFoundError as error:
        raise Stale(f"the model changed while it was listed: {_shown(error, directory)} is gone") from error
    except OSError as error:
        raise Unavailable(f"cannot read {_shown(error, directory)} of the model: {error.strerror}") from error
    return Listing(tuple(sorted(members, key=lambda member: member.name)), tuple(sorted(skipped)))


_Found = tuple[str, Path, tuple[bool, int, int] | None]


def _walk(
    directory: Path, prefix: str, ancestors: frozenset[str], holds: Callable[[Path], bool], *, hidden: bool
) -> Iterator[_Found]:
    """Yields name, path and (is directory, size, time), or None instead of that for what is skipped."""
    ancestors |= {os.path.realpath(directory)}
    with os.scandir(directory) as entries:
        for entry in entries:
            name, path = prefix + entry.name, Path(entry.path)
            leads_astray = entry.is_symlink() and (
                not path.exists() or not holds(path) or os.path.realpath(path) in ancestors
            )
            if leads_astray or (is_hidden(entry.name) and not hidden):
                yield name, path, None
            elif entry.is_dir():
                yield name, path, (True, 0, 0)
                yield from _walk(path, f"{name}/", ancestors, holds, hidden=hidden)
            elif entry.is_file():
                status = entry.stat()
                yield name, path, (False, status.st_size, status.st_mtime_ns)
            else:
                yield name, path, None


def _shown(error: OSError, directory: Path) -> str:
    # Relative: where the server keeps its files is nobody's business on the network.
    return os.path.relpath(os.fsdecode(error.filename), directory) if error.filename is not None else "a part"
