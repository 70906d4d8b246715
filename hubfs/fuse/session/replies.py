"""What the tree says, in the layouts of the protocol. Pure."""

from collections.abc import Iterator

from hubfs.fuse.attributes import BLOCK_BYTES, Owner, attributes_of, inode, mode_of
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.session.protocol import ATTR_OUT, DIRENT, ENTRY_OUT, STATX_OUT, Statx
from hubfs.tree.node import Node, NodeKind

_NS = 10**9


class Replies:
    """Lays out attributes with their owner and with the times for which they may be believed."""

    def __init__(self, owner: Owner, timeouts: Timeouts) -> None:
        self._owner = owner.uid, owner.gid
        self._entry = _seconds(timeouts.entry_s)
        self._lasting = _seconds(timeouts.attr_s)
        self._changing = _seconds(timeouts.changing_s)
        self.nothing = ENTRY_OUT.pack(0, 0, *_interleaved(_seconds(timeouts.negative_s), (0, 0)), *(0,) * 16)
        """The reply to a lookup of a name that does not exist."""

    def entry(self, node_id: int, path: str, node: Node) -> bytes:
        """Struct fuse_entry_out."""
        return ENTRY_OUT.pack(node_id, 0, *_interleaved(self._entry, self._valid(node)), *self._attributes(path, node))

    def attributes(self, path: str, node: Node) -> bytes:
        """Struct fuse_attr_out."""
        return ATTR_OUT.pack(*self._valid(node), 0, *self._attributes(path, node))

    def extended(self, path: str, node: Node) -> bytes:
        """Struct fuse_statx_out, with the time of birth: what a version is made of is never changed."""
        found = attributes_of(path, node)
        second, ns = divmod(found.time_ns, _NS)
        return STATX_OUT.pack(
            *(*self._valid(node), 0),
            *(Statx.BASIC_STATS | Statx.BTIME, BLOCK_BYTES, 0, found.links, *self._owner, found.mode),
            *(found.inode, found.size_bytes, found.blocks, 0),
            *((second, ns, 0) * 4),
            *(0, 0, 0, 0),
        )

    def _valid(self, node: Node) -> tuple[int, int]:
        # A directory above the models has always the same attributes.
        lasting = node.source is not None or node.kind is NodeKind.DIRECTORY
        return self._lasting if lasting else self._changing

    def _attributes(self, path: str, node: Node) -> tuple[int, ...]:
        mode, number, links, size_bytes, blocks, time_ns = attributes_of(path, node)
        second, ns = divmod(time_ns, _NS)
        uid, gid = self._owner
        return (
            *(number, size_bytes, blocks, second, second, second, ns, ns, ns),
            *(mode, links, uid, gid, 0, BLOCK_BYTES, 0),
        )


def _seconds(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * _NS)


def _interleaved(entry: tuple[int, int], attributes: tuple[int, int]) -> tuple[int, int, int, int]:
    return entry[0], attributes[0], entry[1], attributes[1]


NO_ENTRY = bytes(ENTRY_OUT.size)
"""In a listing with attributes: an entry that the kernel is told nothing of but its name."""


def dirent(name: bytes, number: int, kind: NodeKind, following: int) -> bytes:
    """Struct fuse_dirent. `following` is the offset of the entry that comes next."""
    return DIRENT.pack(number, following, len(name), mode_of(kind) >> 12) + name + bytes(-len(name) % 8)


def dirent_bytes(name: bytes) -> int:
    """How long the `dirent` of a name is."""
    return DIRENT.size + (len(name) + 7 & ~7)


def directory_inode(path: str) -> int:
    """The inode number of a directory, for `.` and `..`."""
    return inode(path or "/")


def told_of(listing: bytes) -> Iterator[int]:
    """The node ids that a listing with attributes tells the kernel of."""
    at = 0
    while at < len(listing):
        node_id = ENTRY_OUT.unpack_from(listing, at)[0]
        if node_id:
            yield node_id
        at += ENTRY_OUT.size
        at += DIRENT.size + (DIRENT.unpack_from(listing, at)[2] + 7 & ~7)
