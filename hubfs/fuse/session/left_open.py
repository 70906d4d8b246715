"""Files that an earlier process left open.

Their models are in use, though nobody has opened a file of them here. Of a control file the text is gone with the
process that made it.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.cache.block_cache import Release
from hubfs.errors import HubfsError, Stale
from hubfs.fuse.session.nodes import SEVERAL, NodeTable
from hubfs.tree.open_file import OpenFile

_log = logging.getLogger(__name__)


class LeftOpen:
    """Holds the models of the files that `nodes` says are open, each until its last opener has gone.

    The kernel reads a backing file itself: no request tells a successor that the file is in use, but the table does.
    `hold` gives the end of a hold on what is at a path, None where nothing is kept of it. `_lock` guards `_held`; no
    hold is begun or ended under it.
    """

    def __init__(self, nodes: NodeTable, hold: Callable[[str], Release | None]) -> None:
        self._nodes = nodes
        self._hold = hold
        self._lock = threading.Lock()
        self._held: dict[int, Release] = {}

    def take_up(self) -> None:
        """Begins the holds. May wait for a hub, as a lookup may; raises nothing."""
        for node_id, node in self._nodes.items():
            if not node.opens:
                continue
            try:
                release = self._hold(node.path)
            except HubfsError as error:
                _log.debug("%s is open, and its model is not held: %s", node.path, error)
                continue
            if release is not None:
                with self._lock:
                    self._held[node_id] = release
                self.closed(node_id)  # by the last opener, meanwhile

    def closed(self, node_id: int) -> None:
        """An opener of the node has gone, or the kernel has forgotten the node."""
        if not self._held or self._nodes.is_open(node_id):
            return
        with self._lock:
            release = self._held.pop(node_id, None)
        if release is not None:
            release()


def text_of(file: OpenFile) -> int:
    """What stands for the text of a control file: its length, then 32 bits of its hash."""
    text = file.blob.read_at(0, file.blob.size_bytes)
    return len(text) << 32 | int.from_bytes(sha256(text).digest()[:4], "little")


def goes_on_with(file: OpenFile, left: int) -> OpenFile:
    """The control file `file` in the place of one that an earlier process left open; `left` stands for that text."""
    if left == text_of(file):
        return file
    ended_bytes = None if left in (0, SEVERAL) else left >> 32
    return replace(file, blob=BegunAnew(file.blob, ended_bytes))


class BegunAnew(WrappedBlob):
    """A text in the place of another one, which ended at `ended_bytes` (None: not known): no reader gets parts of both.

    It is read from its start on, and not beyond what was given out of it: a reader that goes on in the middle of the
    other text gets `Stale`, one that has all of that its end. `_lock` guards `_given_bytes`. The text is
    in memory, so it is read under the lock.
    """

    def __init__(self, text: Blob, ended_bytes: int | None) -> None:
        super().__init__(text)
        self._ended_bytes = ended_bytes
        self._lock = threading.Lock()
        self._given_bytes = 0

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises `Stale` for bytes whose predecessors no reader of this text has."""
        with self._lock:
            if offset_bytes <= self._given_bytes:
                data = self._blob.read_at(offset_bytes, size_bytes)
                self._given_bytes = max(self._given_bytes, offset_bytes + len(data))
                return data
            if self._ended_bytes is not None and not self._given_bytes and offset_bytes >= self._ended_bytes:
                return b""
        raise Stale(f"{self.key} was made by a daemon that ended while it was read")
