"""A stand-in for the kernel's side of /dev/fuse: a socket that keeps the bounds of messages."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from hubfs.fuse.answers import Answers
from hubfs.fuse.mounting import Timeouts
from hubfs.fuse.session import protocol
from hubfs.fuse.session.nodes import NodeTable
from hubfs.fuse.session.protocol import Init, Opcode
from hubfs.fuse.session.session import Session

WAIT_S = 60
OFFERED = int(~Init.PASSTHROUGH & (1 << 64) - 1)
"""What a kernel offers that can do everything but passthrough."""


class Kernel:
    """Sends requests, and collects replies by their numbers."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(WAIT_S)
        for end in (self._ours, self._theirs):
            for side in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, side, 4 << 20)
        self._numbers = count(2, 2)
        self._replies: dict[int, tuple[int, bytes]] = {}
        self.notified: list[tuple[int, bytes]] = []

    @property
    def descriptor(self) -> int:
        """What a session reads and writes in the place of /dev/fuse."""
        return self._theirs.fileno()

    def send(self, opcode: int, node_id: int = 1, body: bytes = b"", *, thread_id: int = 0, unique: int = 0) -> int:
        """Sends a request; its number."""
        unique = unique or next(self._numbers)
        size = protocol.IN_HEADER.size + len(body)
        self._ours.send(protocol.IN_HEADER.pack(size, opcode, unique, node_id, 0, 0, thread_id, 0) + body)
        return unique

    def reply(self, unique: int) -> tuple[int, bytes]:
        """The errno and the data of the reply to a request."""
        while unique not in self._replies:
            message = self._ours.recv(4 << 20)
            size, error, number = protocol.OUT_HEADER.unpack_from(message)
            assert size == len(message)
            data = message[protocol.OUT_HEADER.size :]
            if number:
                assert number not in self._replies, "a request was answered twice"
                self._replies[number] = -error, data
            else:
                self.notified.append((error, data))
        return self._replies.pop(unique)

    def ask(self, opcode: int, node_id: int = 1, body: bytes = b"", *, thread_id: int = 0) -> tuple[int, bytes]:
        """Sends a request and waits for the reply."""
        return self.reply(self.send(opcode, node_id, body, thread_id=thread_id))

    def given(self, opcode: int, node_id: int = 1, body: bytes = b"") -> bytes:
        """The data of the reply to a request that succeeds."""
        error, data = self.ask(opcode, node_id, body)
        assert error == 0, os.strerror(error)
        return data

    def initialize(self, flags: int = OFFERED) -> bytes:
        """INIT, as a kernel of 7.45 asks it."""
        body = protocol.INIT_IN_EXT.pack(7, 45, 1 << 20, flags & 0xFFFF_FFFF, flags >> 32)
        return self.given(Opcode.INIT, 0, body)

    def look_up(self, path: str, node_id: int = 1) -> int:
        """Looks the names of a path up; the last one's node."""
        for name in filter(None, path.split("/")):
            node_id = protocol.ENTRY_OUT.unpack(self.given(Opcode.LOOKUP, node_id, os.fsencode(name) + b"\0"))[0]
            assert node_id
        return node_id

    def unmount(self) -> None:
        """Every thread of the session sees the end."""
        self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes both ends."""
        self._ours.close()
        self._theirs.close()


@contextmanager
def served(answers: Answers, table: NodeTable | None = None, **changes: object) -> Iterator[tuple[Kernel, Session]]:
    """A session that serves a stand-in for the kernel until the end, with short time-outs."""
    kernel, nodes = Kernel(), table or NodeTable()
    timeouts = Timeouts(entry_s=100.0, attr_s=50.25, negative_s=5.0, changing_s=1.0)
    session = Session(kernel.descriptor, nodes, answers, timeouts, **changes)  # type: ignore[arg-type]
    thread = threading.Thread(target=session.run, daemon=True)
    thread.start()
    try:
        yield kernel, session
        kernel.unmount()
        thread.join(WAIT_S)
        assert not thread.is_alive(), "the session goes on after the end"
    finally:
        kernel.close()
        if table is None:
            nodes.close()
