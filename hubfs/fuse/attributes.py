"""Nodes → struct stat."""

import os
import stat
from dataclasses import dataclass
from hashlib import blake2b

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


def stat_of(path: str, node: Node, owner: Owner) -> dict[str, int]:
    """The fields of struct stat, times in nanoseconds."""
    return {
        "st_mode": mode_of(node.kind),
        "st_ino": inode(path, node.place),
        "st_nlink": 2 if node.kind is NodeKind.DIRECTORY else 1,
        "st_uid": owner.uid,
        "st_gid": owner.gid,
        "st_size": _DIRECTORY_BYTES if node.kind is NodeKind.DIRECTORY else node.size_bytes,
        "st_blocks": -(-node.size_bytes // 512),
        "st_blksize": 1 << 20,
        "st_atime": node.time_ns,
        "st_mtime": node.time_ns,
        "st_ctime": node.time_ns,
    }
