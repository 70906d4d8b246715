"""What the daemon and its inflating process say to each other, and the two rings that carry the bytes.

Two sockets, one for each ring, so that the thread that feeds and the thread that consumes never wait for each other's
messages. They keep message boundaries (SEQPACKET): a message is one `send`. The end of a socket is a message, too: the
other process is gone, and the one that is left gives up at once.
"""

import errno
import fcntl
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from enum import Enum

from hubfs.formats.byte_reader import Bytes

MIB = 1 << 20

SLOT_BYTES = 1 * MIB
SLOTS = 4
"""The output ring: rapidgzip fills a slot while the daemon copies another one; more of them measured no faster."""

_SMALL_ARCHIVE_BYTES = 128 * MIB
_LEAST_CHUNK_BYTES = 1 * MIB
_AHEAD_BYTES = 2 * MIB
_MAX_TEXT_BYTES = 400
_FORMAT = struct.Struct("<cQQ")


class Kind(Enum):
    """What a message says; `number` and `other` are its figures."""

    FED = b"f"
    """Daemon, input: all bytes before position `number` of the compressed file are, or were, in the ring."""
    ROOM = b"r"
    """Worker, input: bytes before position `number` may be written now."""
    FILLED = b"o"
    """Worker, output: the next slot holds `number` bytes of output; it is full, unless it is the last one."""
    FREED = b"s"
    """Daemon, output: the slot that was filled longest ago may be filled again."""
    CHECKPOINT = b"c"
    """Worker, output: at bit `number` of the file begins what inflates to the bytes from `other` on."""
    ENDED = b"e"
    """Worker, output: rapidgzip saw the end, after `number` bytes of output."""
    FAILED = b"x"
    """Worker, output: it gives up; the reason is `text`."""


@dataclass(frozen=True)
class Message:
    """One message."""

    kind: Kind
    number: int = 0
    other: int = 0
    text: str = ""


def send(connection: socket.socket, message: Message) -> None:
    """Raises `OSError` when the other process is gone."""
    text = message.text.encode(errors="replace")[:_MAX_TEXT_BYTES]
    connection.send(_FORMAT.pack(message.kind.value, message.number, message.other) + text, socket.MSG_NOSIGNAL)


def receive(connection: socket.socket) -> Message | None:
    """Waits for the next message; None when the other process is gone. Raises `OSError`, also for what is none."""
    data = connection.recv(_FORMAT.size + _MAX_TEXT_BYTES)
    if not data:
        return None
    try:
        kind, number, other = _FORMAT.unpack_from(data)
        return Message(Kind(kind), number, other, data[_FORMAT.size :].decode(errors="replace"))
    except (struct.error, ValueError) as error:
        raise OSError(errno.EBADMSG, "not a message of the inflating process") from error


def chunk_bytes(size_bytes: int) -> int:
    """What one of rapidgzip's threads takes on at a time, in an archive of `size_bytes`. No I/O.

    2 MiB instead of 1 cost a fifth less time, 4 a tenth less than 2 (cold, 445 MB through a mount: 2.0 s against 2.4 s
    with 2). Memory grows with it, and so does what must be there before the first output comes: (threads + 1) chunks,
    which is much of a small archive.
    """
    return _LEAST_CHUNK_BYTES if size_bytes < _SMALL_ARCHIVE_BYTES else 4 * MIB


@dataclass(frozen=True)
class Window:
    """How much of the compressed file the input ring holds, and which bytes of it are there for certain. No I/O.

    rapidgzip's threads read a chunk each, side by side, and a chunk in which no block was found to begin is read again
    when those before it are done. Measured behind the foremost read: 2 chunks with 2 threads, 8 with 4; with 1 thread
    6, in an archive without dynamic Huffman codes, which nobody makes.
    """

    chunk_bytes: int
    workers: int

    @property
    def size_bytes(self) -> int:
        """The size of the ring."""
        return (2 * self.workers + 2) * self.chunk_bytes + _AHEAD_BYTES

    def limit(self, wanted: int) -> int:
        """Up to which position may be written once somebody wants the bytes before position `wanted`."""
        return max(self.size_bytes, wanted + _AHEAD_BYTES)

    def begin(self, limit: int) -> int:
        """The first position that is still in the ring however far towards `limit` it was written."""
        return limit - self.size_bytes

    @property
    def shared_bytes(self) -> int:
        """Both rings."""
        return self.size_bytes + SLOTS * SLOT_BYTES


def window_of(size_bytes: int, workers: int, most_bytes: int) -> Window:
    """The window for an archive of `size_bytes`, whose rings take at most `most_bytes`, or as little as they can.

    Where memory is scarce chunks get smaller first, down to 1 MiB, and then there are fewer threads than `workers`.
    No I/O.
    """
    window = Window(chunk_bytes(size_bytes), workers)
    while window.shared_bytes > most_bytes and window.chunk_bytes > _LEAST_CHUNK_BYTES:
        window = Window(window.chunk_bytes // 2, workers)
    while window.shared_bytes > most_bytes and window.workers > 1:
        window = Window(window.chunk_bytes, window.workers - 1)
    return window


def anonymous_memory(name: str, size_bytes: int) -> int:
    """A file descriptor of `size_bytes` of shared memory without a path. Nobody can make it shorter: a process that
    touches what is missing dies of SIGBUS. Raises `OSError`.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size_bytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Ring:
    """The newest `size_bytes` bytes of a stream, at their positions in the stream.

    It keeps no count: who writes and who reads agree by messages on what is there. For one writer and any readers.
    """

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._memory = mmap.mmap(descriptor, size_bytes)
        self._size_bytes = size_bytes

    def write(self, position: int, data: Bytes) -> None:
        """Puts `data`, at most the ring's size, where the stream's `position` lies."""
        start = position % self._size_bytes
        first_bytes = min(len(data), self._size_bytes - start)
        view = memoryview(data)
        self._memory[start : start + first_bytes] = view[:first_bytes]
        self._memory[: len(data) - first_bytes] = view[first_bytes:]

    def read(self, position: int, size_bytes: int) -> bytes:
        """The `size_bytes` bytes, at most the ring's size, from the stream's `position` on."""
        start = position % self._size_bytes
        first_bytes = min(size_bytes, self._size_bytes - start)
        if first_bytes == size_bytes:
            return self._memory[start : start + size_bytes]
        with memoryview(self._memory) as view:
            return b"".join((view[start:], view[: size_bytes - first_bytes]))

    def slots(self, slot_bytes: int) -> list[memoryview]:
        """The ring in equal parts, to be written in place. `close` fails while they are in use."""
        view = memoryview(self._memory)
        return [view[start : start + slot_bytes] for start in range(0, self._size_bytes, slot_bytes)]

    def close(self) -> None:
        """Gives the mapping back."""
        self._memory.close()
