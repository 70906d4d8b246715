"""The names in an archive: which may be there, and how many, since the names of a model are kept in memory."""

from hubfs.errors import Damaged

MAX_MEMBERS = 100_000
"""More members, or more directories above them, are refused."""

MAX_NAMES_BYTES = 32 << 20
"""More bytes in all names together are refused, too."""

MAX_DEPTH = 128
"""A path has at most so many names. Real models have 5; what goes through a path name by name must end."""

MAX_PATH_BYTES, MAX_NAME_BYTES = 4096, 255
"""PATH_MAX and NAME_MAX: what Linux can be asked for."""


def encoded(path: str) -> bytes:
    """The bytes of a path: UTF-8, and whatever else `decoded` found in it. Raises `UnicodeEncodeError`."""
    return path.encode("utf-8", "surrogateescape")


def decoded(path: bytes) -> str:
    """A path as text. Bytes that are not UTF-8 are kept as `os.fsdecode` keeps them; `encoded` gives them back."""
    return path.decode("utf-8", "surrogateescape")


def is_spelled(path: str) -> bool:
    """Whether `path` is how `decoded` spells some bytes: no half of a surrogate pair is, nor bytes of UTF-8 escaped."""
    try:
        return decoded(encoded(path)) == path
    except UnicodeEncodeError:
        return False


def is_nameable(path: str) -> bool:
    """Whether a file of a model may have that path: Linux can be asked for it, and it is within `MAX_DEPTH`."""
    whole = encoded(path)
    names = whole.split(b"/")
    return len(whole) <= MAX_PATH_BYTES and max(map(len, names)) <= MAX_NAME_BYTES and len(names) <= MAX_DEPTH


def is_path(path: str) -> bool:
    """Whether `path` can be the path of an entry of a model: relative, plain, and one that Linux can be asked for."""
    return {"", ".", ".."}.isdisjoint(path.split("/")) and "\0" not in path and is_spelled(path) and is_nameable(path)


class Names:
    """Which names came, and as what; a name keeps its kind."""

    def __init__(self) -> None:
        self._is_directory: dict[str, bool] = {}
        self._members = 0
        self._names_bytes = 0

    def add(self, path: str, *, is_directory: bool) -> None:
        """Takes in a member, and the directories above it that had no member of their own; a name may come again.

        Raises `Damaged`.
        """
        self._members += 1
        known = self._is_directory.get(path)
        if known is None:
            self._remember(path, is_directory=is_directory)
        elif known != is_directory:
            raise Damaged(f"member {path!r} is both a file and a directory")
        above = path.rpartition("/")[0]
        while above and not (known := self._is_directory.get(above)):
            if known is not None:
                raise Damaged(f"member {path!r} lies below {above!r}, which is a file")
            self._remember(above, is_directory=True)
            above = above.rpartition("/")[0]
        if max(self._members, len(self._is_directory)) > MAX_MEMBERS:
            raise Damaged(f"the archive has too many members: at most {MAX_MEMBERS} are taken")

    def _remember(self, path: str, *, is_directory: bool) -> None:
        self._is_directory[path] = is_directory
        self._names_bytes += len(encoded(path))
        if self._names_bytes > MAX_NAMES_BYTES:
            raise Damaged(f"the names in the archive are too long: at most {MAX_NAMES_BYTES} bytes are taken")
