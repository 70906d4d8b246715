"""Lookups that an earlier process counted, and died before the kernel was told of them: found, and taken off."""

import logging
import threading
from collections.abc import Callable

from hubfs.fuse.session.nodes import NodeTable

_log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""So long a count must not have changed before the kernel is asked whether it knows the node: it knows a node once the
program that looked the name up has gone on with the reply."""


_END_S = 1.0
"""A look that is under way ends with its node."""


class Untold:
    """Takes off lookups of nodes that the kernel does not know; who takes a mount over begins with `take_up`.

    A process counts a lookup, and is killed before it replies. The kernel sends the request again: the lookup is
    counted twice, and given back once; or its program is gone, and nobody gives it back. So all nodes of an earlier
    process are suspects for a while, and each of them again when a FORGET leaves lookups of it.
    `knows` asks the kernel; `gone` is told each node that the table has no longer. A thread runs while there are
    suspects, and ends when `over` is set. `_lock` guards `_suspects` (with their lookups) and `_thread`; it is held
    while neither is called.
    """

    def __init__(
        self, nodes: NodeTable, knows: Callable[[int], bool], gone: Callable[[int], None], over: threading.Event
    ) -> None:
        self._nodes = nodes
        self._knows = knows
        self._gone = gone
        self._over = over
        self._lock = threading.Lock()
        self._suspects: dict[int, int] = {}
        self._thread: threading.Thread | None = None

    def end(self) -> None:
        """Waits for the thread, once `over` is set: what it looks at is closed then."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(_END_S)

    def take_up(self) -> None:
        """Suspects every node that an earlier process left."""
        self._suspect({node_id: node.lookups for node_id, node in self._nodes.items() if node.inherited})

    def given_back(self, node_id: int) -> None:
        """The kernel gave lookups of the node back."""
        left = self._nodes.inherited_lookups(node_id)
        if left:
            self._suspect({node_id: left})

    def look(self) -> None:
        """Asks the kernel for suspects whose lookups have not changed since the last time, and takes off the others'.

        Lookups that are counted meanwhile stay.
        """
        with self._lock:
            suspects, self._suspects = self._suspects, {}
        changed = {}
        for node_id, lookups in suspects.items():
            if self._over.is_set():
                return
            now = self._nodes.inherited_lookups(node_id)
            if now != lookups:
                changed[node_id] = now
            elif not self._knows(node_id):
                _log.debug("Node %d was never told to the kernel, or given back: %d lookups are left", node_id, lookups)
                self._nodes.forget(node_id, lookups)
                self._gone(node_id)
        with self._lock:
            self._suspects.update((node_id, now) for node_id, now in changed.items() if now)

    def _suspect(self, nodes: dict[int, int]) -> None:
        with self._lock:
            self._suspects.update(nodes)
            if self._thread is not None or not self._suspects or self._over.is_set():
                return
            self._thread = thread = threading.Thread(target=self._run, name="untold", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is left: the next FORGET tries again
                self._thread = None

    def _run(self) -> None:
        while not self._over.wait(PATIENCE_S):
            self.look()
            with self._lock:
                if not self._suspects:
                    self._thread = None
                    return
