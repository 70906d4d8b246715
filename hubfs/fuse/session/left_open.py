"""Files that an earlier process left open: their models are in use, though nobody has opened a file of them here."""

import logging
import threading
from collections.abc import Callable

from hubfs.cache.block_cache import Release
from hubfs.errors import HubfsError
from hubfs.fuse.session.nodes import NodeTable

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
