"""What is at a path, as `stat` and `list` tell it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from hubfs.tree.times import BASE_NS


class NodeKind(Enum):
    """What is at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    CONTROL = "control"  # a file whose content is made when it is opened


@dataclass(frozen=True)
class Node:
    """What `stat` tells.

    `size_bytes` of a control file is what it had just now; of a symlink, the length of its target, as far as it is
    known.

    `time_ns`: when it was made, in nanoseconds since the epoch; two nodes are equal whatever their times.

    `place`: as of an `Entry`; the files of a directory are best read in the order of their places.

    `source`: of what is in a model, the same object for as long as nothing of it changes, neither what is told here nor
    bytes, nor a directory's names. None for what may change.
    """

    kind: NodeKind
    size_bytes: int = 0
    time_ns: int = field(default=BASE_NS, compare=False)
    place: int = field(default=0, compare=False)
    source: object | None = field(default=None, compare=False, repr=False)


DIRECTORY = Node(NodeKind.DIRECTORY)

Names = list[tuple[str, NodeKind]]
"""The names in a directory, sorted, and what they are."""


def names_of(*, folders: Iterable[str] = (), links: Iterable[str] = (), texts: Iterable[str] = ()) -> Names:
    """The names of a directory, sorted, and what they are."""
    found = dict.fromkeys(folders, NodeKind.DIRECTORY)
    found |= dict.fromkeys(links, NodeKind.SYMLINK) | dict.fromkeys(texts, NodeKind.CONTROL)
    return sorted(found.items())
