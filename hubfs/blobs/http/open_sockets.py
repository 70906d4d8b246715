"""Sockets that a cancel shuts down."""

import socket
import threading
import weakref
from contextlib import suppress

from hubfs.waiting import Cancellation


class OpenSockets:
    """The open sockets of one client, so that a cancel ends what waits for them.

    `_lock` guards `_open` and is held for no call that could block.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def watch(self, connected: object) -> None:
        """Takes a socket that was just connected. Raises `Cancelled` if that came too late for the cancel."""
        # TLS through a TLS proxy is not a socket; there the stall time-out ends a read.
        if isinstance(connected, socket.socket):
            with self._lock:
                self._open.add(connected)
        self._cancellation.check()

    def shut_down(self) -> None:
        """Ends every read and write, in whichever thread; never blocks."""
        with self._lock:
            sockets = list(self._open)
        for each in sockets:
            shut_down(each)


def shut_down(connected: socket.socket) -> None:
    """Ends every read and write of `connected`, in whichever thread; never blocks."""
    with suppress(OSError):  # closed meanwhile
        # Not connected.shutdown(): a TLS socket would take its TLS state away from the thread that is using it.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
