"""What the kernel knows by number: node id ↔ path, with as many lookups as the kernel has been told of.

The table lies in memory that has a descriptor (memfd), so that another process can go on with it after this one was
killed: a record is whole before the reply that tells the kernel of its node.
"""

import mmap
import os
import threading
from collections.abc import Iterator
from struct import Struct

from hubfs.errors import Stale
from hubfs.fuse.session.protocol import ROOT_ID

_MAGIC = int.from_bytes(b"hubfsN2\0", "little")
_HEADER = Struct("=QQQQ")
"""magic, the end of the records, the next node id, what INIT agreed on"""
_END_AT, _NEXT_AT, _AGREED_AT = 8, 16, 24
_RECORD = Struct("=IIQQIiQ")
"""bytes of the record with its room, bytes of the path, node id, lookups (0: the record is free), opens, backing id,
contents"""
_LOOKUPS_AT, _OPENS_AT, _CONTENTS_AT = 16, 24, 32
_OPENS = Struct("=Ii")
_U64 = Struct("=Q")
_SMALLEST_BYTES = 64
_FIRST_BYTES = 1 << 16


SEVERAL = (1 << 64) - 1
"""The `contents` of a control file of which several texts are open, or were open at once."""


class KnownNode:
    """A file, directory or symlink that the kernel knows. `path` is absolute, and empty for the root.

    `opens` counts files that are open; `backing_id` is the kernel's number of the file that the kernel reads itself, 0
    for a file that it reads through us. `contents` stands for the bytes that were opened last, 0 for none; of a control
    file, for the text that is open. `source` is what the kernel was told of, as of a `Node`; None as long as this
    process has told nothing, and for what may change. `inherited`: an earlier process made the node, and left
    `contents_left`.
    """

    __slots__ = ("backing_id", "contents", "contents_left", "inherited", "lookups", "opens", "path", "place", "source")

    def __init__(self, path: str, place: int, lookups: int, *held: int) -> None:
        self.path = path
        self.place = place  # of the record, in bytes
        self.lookups = lookups
        self.opens, self.backing_id, self.contents = held or (0, 0, 0)
        self.contents_left = self.contents
        self.inherited = bool(held)
        self.source: object | None = None


class NodeTable:
    """Node ids and their paths. A node is forgotten when the kernel has given back every lookup.

    Records take the room of forgotten ones: the table is as large as what the kernel has known at once. `_lock` guards
    every field; no foreign code runs under it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """An empty table; or the one that another process left in the memory of `descriptor`, which is ours then.

        Raises `ValueError` for memory that holds no table.
        """
        self._lock = threading.Lock()
        self._nodes: dict[int, KnownNode] = {ROOT_ID: KnownNode("", 0, 1)}
        self._ids: dict[str, int] = {}
        self._free: dict[int, list[int]] = {}
        if descriptor is None:
            self.descriptor = os.memfd_create("hubfs-nodes")
            os.ftruncate(self.descriptor, _FIRST_BYTES)
            self._map = mmap.mmap(self.descriptor, _FIRST_BYTES)
            self._end, self._next = _HEADER.size, ROOT_ID + 1
            _HEADER.pack_into(self._map, 0, _MAGIC, self._end, self._next, 0)
        else:
            self.descriptor = descriptor
            self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
            self._read()

    def _read(self) -> None:
        magic, self._end, self._next, _ = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or self._end > len(self._map):
            raise ValueError("this memory holds no table of nodes")
        place = _HEADER.size
        while place < self._end:
            room, length, node_id, lookups, *held = _RECORD.unpack_from(self._map, place)
            if room < _SMALLEST_BYTES or length > room - _RECORD.size:
                raise ValueError("the table of nodes is damaged")
            if lookups:
                at = place + _RECORD.size
                path = self._map[at : at + length].decode("utf-8", "surrogateescape")
                self._nodes[node_id] = KnownNode(path, place, lookups, *held)
                self._ids[path] = max(node_id, self._ids.get(path, 0))  # the younger of two has the path now
                self._next = max(self._next, node_id + 1)
            else:
                self._free.setdefault(room, []).append(place)
            place += room

    def close(self) -> None:
        """Gives the memory back, unless another process has its descriptor."""
        self._map.close()
        os.close(self.descriptor)

    @property
    def agreed(self) -> int:
        """What was kept by `agree`; 0 before."""
        return int(_U64.unpack_from(self._map, _AGREED_AT)[0])

    def agree(self, flags: int) -> None:
        """Keeps what INIT agreed on."""
        _U64.pack_into(self._map, _AGREED_AT, flags)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._nodes

    def __getitem__(self, node_id: int) -> KnownNode:
        """The node. Raises `Stale` for an id that the kernel was not told of."""
        node = self._nodes.get(node_id)
        if node is None:
            raise Stale(f"node {node_id} is not known")
        return node

    def items(self) -> Iterator[tuple[int, KnownNode]]:
        """All that the kernel knows."""
        with self._lock:
            return iter(list(self._nodes.items()))

    def find(self, path: str) -> int | None:
        """The id of the node at the path now; None if the kernel knows no node there."""
        return ROOT_ID if not path else self._ids.get(path)

    def look_up(self, path: str, source: object | None = None) -> int:
        """The id of the path, for a reply that tells the kernel of it: one more lookup.

        What is of another `source` than the kernel was told of gets an id of its own: the size of the old one stays for
        those that have it open.
        """
        with self._lock:
            node_id = self._ids.get(path)
            if node_id is not None and self._is_of(node_id, source):
                node = self._nodes[node_id]
                node.source = node.source if source is None else source
                node.lookups += 1
                _U64.pack_into(self._map, node.place + _LOOKUPS_AT, node.lookups)
                return node_id
            node_id = self._next
            self._next += 1
            _U64.pack_into(self._map, _NEXT_AT, self._next)
            self._nodes[node_id] = node = KnownNode(path, self._written(node_id, path), 1)
            node.source = source
            self._ids[path] = node_id
            return node_id

    def is_of(self, node_id: int, source: object | None) -> bool:
        """Whether the kernel was told of this source at the node, or of none; so of a node that it does not know."""
        with self._lock:
            return node_id not in self._nodes or self._is_of(node_id, source)

    def _is_of(self, node_id: int, source: object | None) -> bool:
        """Held: `_lock`."""
        told = self._nodes[node_id].source
        return told is None or source is None or told is source

    def has_pages_of(self, node_id: int, source: object) -> bool:
        """Whether every page that the kernel has of the node is of this source: this process told of no other."""
        with self._lock:
            node = self._nodes.get(node_id)
            return node is not None and node.source is source and not node.inherited

    def closed_below(self, path: str) -> list[int]:
        """The nodes below a path of which no file is open."""
        return [node_id for node_id, node in self.items() if not node.opens and node.path.startswith(f"{path}/")]

    def forget(self, node_id: int, lookups: int) -> None:
        """The kernel gives lookups back. The root stays; an id that is not known is none of ours."""
        with self._lock:
            node = self._nodes.get(node_id)
            if node is None or node_id == ROOT_ID:
                return
            node.lookups = max(0, node.lookups - lookups)
            _U64.pack_into(self._map, node.place + _LOOKUPS_AT, node.lookups)
            if node.lookups:
                return
            del self._nodes[node_id]
            if self._ids.get(node.path) == node_id:
                del self._ids[node.path]
            self._free.setdefault(_RECORD.unpack_from(self._map, node.place)[0], []).append(node.place)

    def inherited_lookups(self, node_id: int) -> int:
        """The lookups of a node that an earlier process made; 0 of any other, and of one that is forgotten."""
        node = self._nodes.get(node_id)
        return node.lookups if node is not None and node.inherited else 0

    def replace(self, node_id: int) -> None:
        """What is at the node's path is something else from now on: the next lookup gives it an id of its own."""
        with self._lock:
            node = self._nodes.get(node_id)
            if node is not None and self._ids.get(node.path) == node_id:
                del self._ids[node.path]

    def has_contents(self, node_id: int, contents: int) -> bool:
        """Whether the file of the node, if it was opened, had these contents; from now on it has."""
        with self._lock:
            node = self._nodes.get(node_id)
            if node is None or node_id == ROOT_ID or node.contents == contents:
                return True
            if node.contents and contents:
                return False
            self._note(node, contents)
            return True

    def text_left(self, node_id: int, text: int) -> int:
        """What stands for the text of the node that an earlier process left open; `text` is what it is now."""
        with self._lock:
            node = self._nodes.get(node_id)
            if node is None:
                return 0
            if node.contents != text:
                self._note(node, SEVERAL)
            return node.contents_left

    def _note(self, node: KnownNode, contents: int) -> None:
        """Held: `_lock`."""
        node.contents = contents
        _U64.pack_into(self._map, node.place + _CONTENTS_AT, contents)

    def opened(self, node_id: int, backing_id: int, text: int = 0) -> None:
        """A file of the node is open; `backing_id` as of `KnownNode`, and `text` stands for the text of a control file.

        The record of the text comes first: a process that is killed between the two has not told of the open.
        """
        with self._lock:
            node = self._nodes.get(node_id)
            if node is not None and text and node.contents != text:
                self._note(node, SEVERAL if node.opens else text)
            self._count(node_id, 1, backing_id)

    def is_open(self, node_id: int) -> bool:
        """Whether a file of the node is open; not of a node that the kernel has forgotten."""
        node = self._nodes.get(node_id)
        return node is not None and node.opens > 0

    def released(self, node_id: int) -> None:
        """A file of the node is open no longer."""
        with self._lock:
            self._count(node_id, -1, None)

    def _count(self, node_id: int, more: int, backing_id: int | None) -> None:
        """Held: `_lock`."""
        node = self._nodes.get(node_id)
        if node is None or node_id == ROOT_ID:
            return
        node.opens = max(0, node.opens + more)
        if backing_id is not None:
            node.backing_id = backing_id
        if not node.opens:
            node.backing_id = 0
        _OPENS.pack_into(self._map, node.place + _OPENS_AT, node.opens, node.backing_id)

    def _written(self, node_id: int, path: str) -> int:
        """The place of the new record, whose lookups are written last. Held: `_lock`."""
        text = path.encode("utf-8", "surrogateescape")
        room = max(_SMALLEST_BYTES, 1 << (_RECORD.size + len(text) - 1).bit_length())
        free = self._free.get(room)
        if free:
            place = free.pop()
        else:
            place = self._end
            if place + room > len(self._map):
                self._map.resize(max(2 * len(self._map), 2 * room + place))
            _RECORD.pack_into(self._map, place, room, *(0,) * 6)
            self._end += room
            _U64.pack_into(self._map, _END_AT, self._end)
        at = place + _RECORD.size
        self._map[at : at + len(text)] = text
        _RECORD.pack_into(self._map, place, room, len(text), node_id, *(0,) * 4)
        _U64.pack_into(self._map, place + _LOOKUPS_AT, 1)
        return place
