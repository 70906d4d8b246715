"""Nodes → struct stat."""

import os
import stat
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from hubfs.tree.node import Node, NodeKind

_DIRECTORY_BYTES = 4096
"""The size that a directory shows, as on ext4; it takes no blocks."""

_MODES = {
    # A copy takes the mode along, and its owner is to be able to change and to delete it. That nothing can be written
    # here is said by the mount, which is read-only.
    NodeKind.DIRECTORY: stat.S_IFDIR | 0o755,
    NodeKind.FILE: stat.S_IFREG | 0o444,
    NodeKind.CONTROL: stat.S_IFREG | 0o444,
    NodeKind.SYMLINK: stat.S_IFLNK | 0o777,
}


_PLACE_BITS = 32


def inode(path: str, place: int = 0) -> int:
    """A stable inode number: the same path has the same one after every mount. 63 bits, never 0.

    Of files in one directory that have a `place`, the numbers are in the order of their places: `cp -r` and other
    programs of coreutils read the files of a directory in the order of their inode numbers.
    """
    if place:
        return (_hash_of(path.rpartition("/")[0]) >> _PLACE_BITS << _PLACE_BITS) + place % (1 << _PLACE_BITS)
    return _hash_of(path) or 1


def _hash_of(path: str) -> int:
    return int.from_bytes(blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Owner:
    """Who mounted."""

    uid: int
    gid: int

    @classmethod
    def of_this_process(cls) -> "Owner":
        """The user that the daemon runs as."""
        return cls(os.getuid(), os.getgid())


def mode_of(kind: NodeKind) -> int:
    """File type and permissions."""
    return _MODES[kind]


class Attributes(NamedTuple):
    """What struct stat tells of a node; its times are all the same, in nanoseconds."""

    mode: int
    inode: int
    links: int
    size_bytes: int
    blocks: int
    time_ns: int


BLOCK_BYTES = 1 << 20
"""How much to read at once."""


def attributes_of(path: str, node: Node) -> Attributes:
    """What `stat` shows of a node that is at `path`."""
    is_directory = node.kind is NodeKind.DIRECTORY
    return Attributes(
        _MODES[node.kind],
        inode(path, node.place),
        2 if is_directory else 1,
        _DIRECTORY_BYTES if is_directory else node.size_bytes,
        -(-node.size_bytes // 512),
        node.time_ns,
    )


def stat_of(path: str, node: Node, owner: Owner) -> dict[str, int]:
    """The fields of struct stat, times in nanoseconds."""
    found = attributes_of(path, node)
    return {
        "st_mode": found.mode,
        "st_ino": found.inode,
        "st_nlink": found.links,
        "st_uid": owner.uid,
        "st_gid": owner.gid,
        "st_size": found.size_bytes,
        "st_blocks": found.blocks,
        "st_blksize": BLOCK_BYTES,
        "st_atime": found.time_ns,
        "st_mtime": found.time_ns,
        "st_ctime": found.time_ns,
    }
