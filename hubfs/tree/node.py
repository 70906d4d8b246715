"""What is at a path, as `stat` and `list` tell it."""

from dataclasses import dataclass
from enum import Enum


class NodeKind(Enum):
    """What is at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    CONTROL = "control"  # a file whose content is made when it is opened


@dataclass(frozen=True)
class Node:
    """What `stat` tells.

    `size_bytes` of a control file is what it had just now; of a symlink, its target's length, but 0 ("not known", as in
    /proc) of one that moves: the kernel believes a size for longer than the target holds.
    """

    kind: NodeKind
    size_bytes: int = 0


DIRECTORY = Node(NodeKind.DIRECTORY)

Names = list[tuple[str, NodeKind]]
"""The names in a directory, sorted, and what they are."""
