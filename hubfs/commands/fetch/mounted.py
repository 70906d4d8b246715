"""A model below a mount, or a part of one, to be read as a whole."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from hubfs.errors import Unavailable
from hubfs.mounts import table as mount_table
from hubfs.tree.extended_attributes import ATTRIBUTES
from hubfs.waiting import Cancellation

_TYPE = "fuse.hubfs"
_PIECE_BYTES = 4 << 20


def is_below_a_mount(path: Path) -> bool:
    """Whether a path exists, and is below a mount of hubfs. Raises `Unavailable` for one that does not answer."""
    try:
        return mount_table.type_of(path.stat().st_dev) == _TYPE
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}; see `hubfs status`") from error


class MountedPath:
    """The file at `path`, or everything below it. Raises `Unavailable` for what the mount cannot read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _sizes_bytes(self) -> dict[str, int]:
        if self._path.is_file():
            return {str(self._path): self._path.stat().st_size}

        def failed(error: OSError) -> None:
            raise Unavailable(f"{error.filename} cannot be read: {error.strerror}; see `hubfs status`")

        found = {}
        for folder, _, names in os.walk(self._path, onerror=failed):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - as walk gives it
                found[path] = os.lstat(path).st_size
        return found

    @property
    def files(self) -> Sequence[str]:
        """The paths of its files. Raises `Unavailable`."""
        return [*self._sizes_bytes]

    @property
    def size_bytes(self) -> int:
        """The sizes of its files together."""
        return sum(self._sizes_bytes.values())

    @property
    def cached_bytes(self) -> int | None:
        """How many bytes of it are cached, if it is a model; None for a part of one, or for several."""
        if _attribute(self._path, "handle") is None or _attribute(self._path.resolve().parent, "handle") is not None:
            return None
        counted = _attribute(self._path, "cached_bytes")
        return None if counted is None else int(counted)

    def pieces(self, path: str, cancellation: Cancellation) -> Iterator[bytes]:
        """The bytes of a file. Raises `Unavailable`."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a path as text
                while piece := file.read(_PIECE_BYTES):
                    cancellation.check()
                    yield piece
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}; see `hubfs status`") from error


def _attribute(path: Path, name: str) -> str | None:
    try:
        return os.getxattr(path, f"{ATTRIBUTES}{name}").decode()
    except OSError:
        return None
