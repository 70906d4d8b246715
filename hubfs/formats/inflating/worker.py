"""The inflating process: rapidgzip between two rings. A program, started by `process`, and imported by nobody.

It is a process of its own because rapidgzip is C++ that meets what strangers sent: its failures (a crash,
`std::terminate`, no end to its memory) end this process alone. It starts in 30 ms: with neither `site` nor more of
hubfs than its own protocol.

It ends when either socket does, and is killed when the thread ends that started it (also if it was stopped, and sees
nothing): that is the thread which consumes the output, so the process is of no use to anybody after it.
"""

import contextlib
import ctypes
import io
import mmap
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from functools import cache
from itertools import cycle, islice
from typing import NoReturn

from rapidgzip import RapidgzipFile

from hubfs.formats.inflating.protocol import (
    MIB,
    SLOT_BYTES,
    SLOTS,
    Kind,
    Message,
    Ring,
    Window,
    receive,
    send,
)
from hubfs.formats.inflating.sandbox import confine

# Of <linux/prctl.h>.
_PR_SET_NAME = 15

# Its allocator reserves a gigabyte of addresses for each thread, and touches few of them.
_ADDRESSES_BYTES = 4096 * MIB
_ADDRESSES_PER_WORKER_BYTES = 2048 * MIB
_MAX_FILES = 16

# rapidgzip keeps 16 chunks, each inflated to up to 20 times its size; no setting changes that. What weights compress to
# takes 80 to 170 MiB with 2 threads; an archive of nothing but zeros took 850.
_RESIDENT_BYTES = 512 * MIB
_RESIDENT_PER_WORKER_BYTES = 64 * MIB

# How far reads may run on before the daemon is told that there is more room. A message for each of rapidgzip's reads
# (128 KiB) would wake the daemon twice as often.
_ROOM_STEP_BYTES = 256 * 1024


class CompressedFile(io.RawIOBase):
    """The compressed file as rapidgzip's threads read it: seekable, of known size, blocking until bytes are there.

    `_arrived` guards every field. A read of bytes that left the ring calls `give_up`, which must end the process:
    rapidgzip would take whatever it got for the file.
    """

    def __init__(
        self, ring: Ring, connection: socket.socket, size_bytes: int, window: Window, give_up: Callable[[str], NoReturn]
    ) -> None:
        self._ring, self._connection, self._size_bytes, self._window = ring, connection, size_bytes, window
        self._give_up = give_up
        self._arrived = threading.Condition()
        self._position = 0
        self._fed = 0
        self._wanted = 0
        self._limit = window.limit(0)

    def listen(self) -> None:
        """Notes what arrives; returns when the daemon is gone."""
        while (message := received(self._connection)) is not None:
            with self._arrived:
                self._fed = message.number
                self._arrived.notify_all()

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        with self._arrived:
            return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Sets the position of the next read, and returns it."""
        with self._arrived:
            base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
            self._position = base + offset
            return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Waits until all that was asked for is there, or all up to the end of the file."""
        with self._arrived:
            begin = self._position
            end = self._size_bytes if size < 0 else min(begin + size, self._size_bytes)
            if end <= begin:
                return b""
            self._want(end)
            if begin < self._window.begin(self._limit):
                self._give_up(f"rapidgzip reads {self._wanted - begin} bytes behind its foremost read")
            # The daemon bounds this wait: it knows whether the network is late, and ends this process.
            while self._fed < end:
                self._arrived.wait()
            self._position = end
            return self._ring.read(begin, end - begin)

    def release(self) -> None:
        """Nothing will be read any more: what is left of the file may go anywhere."""
        with self._arrived:
            self._want(self._size_bytes)

    def _want(self, position: int) -> None:
        self._wanted = max(self._wanted, position)
        limit = self._window.limit(self._wanted)
        if limit >= self._limit + _ROOM_STEP_BYTES or self._wanted > self._limit:
            self._limit = limit
            send(self._connection, Message(Kind.ROOM, limit))


def inflate(file: CompressedFile, window: Window, output: Ring, connection: socket.socket) -> None:
    """Fills slots with what `file` inflates to, and tells of them, of checkpoints, and of the end.

    Returns early when the daemon is gone. Raises `MemoryError` when the output takes too much memory, and whatever
    rapidgzip does.
    """
    slots = cycle(output.slots(SLOT_BYTES))
    free, total_bytes, told = SLOTS, 0, 0
    with RapidgzipFile(file, parallelization=window.workers, chunk_size=window.chunk_bytes) as archive:
        while True:
            if not free:
                if received(connection) is None:
                    return
                free += 1
            slot, filled_bytes = next(slots), 0
            while filled_bytes < SLOT_BYTES and (read_bytes := archive.readinto(slot[filled_bytes:])):
                filled_bytes += read_bytes
            total_bytes += filled_bytes
            for bit, offset_bytes in islice(archive.available_block_offsets().items(), told, None):
                # That of bytes that are not inflated yet can wait, and the last is no place to start: it is the end.
                if offset_bytes >= total_bytes:
                    break
                send(connection, Message(Kind.CHECKPOINT, bit, offset_bytes))
                told += 1
            if not filled_bytes:
                break
            send(connection, Message(Kind.FILLED, filled_bytes))
            free -= 1
            if resident_bytes() > _RESIDENT_BYTES + window.workers * _RESIDENT_PER_WORKER_BYTES:
                raise MemoryError(f"{resident_bytes() // MIB} MiB are in use after {total_bytes // MIB} MiB of output")
    file.release()
    send(connection, Message(Kind.ENDED, total_bytes))


def resident_bytes() -> int:
    """How much memory this process holds now. The first call opens what tells it, for all."""
    return int(os.pread(_figures(), 200, 0).split()[1]) * mmap.PAGESIZE


@cache
def _figures() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def received(connection: socket.socket) -> Message | None:
    """The next message; None when the daemon is gone, however it went."""
    try:
        return receive(connection)
    except OSError:
        return None


def restrict(workers: int) -> None:
    """Takes from this process what it does not need to inflate, as far as the kernel can."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, b"hubfs-inflate", 0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_AS, _ADDRESSES_BYTES + workers * _ADDRESSES_PER_WORKER_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        at_most = resource.getrlimit(limit)[1]  # nobody may raise that, but root
        resource.setrlimit(limit, (value, value) if at_most == resource.RLIM_INFINITY else (min(value, at_most),) * 2)
    resident_bytes()  # while files can be opened
    confine()


def main() -> NoReturn:
    """Runs the process. Its arguments are those that `process` gives it."""
    input_memory, output_memory, input_socket, output_socket, *figures = map(int, sys.argv[-7:])
    size_bytes, window = figures[0], Window(*figures[1:])
    feed, result = socket.socket(fileno=input_socket), socket.socket(fileno=output_socket)

    def give_up(reason: str) -> NoReturn:
        # Not sys.exit: rapidgzip's threads would meet the interpreter's end, and terminate the process.
        with contextlib.suppress(OSError):
            send(result, Message(Kind.FAILED, text=reason))
        os._exit(1)

    try:
        output, compressed = Ring(output_memory, SLOTS * SLOT_BYTES), Ring(input_memory, window.size_bytes)
        restrict(window.workers)
        file = CompressedFile(compressed, feed, size_bytes, window, give_up)

        def end_with_the_daemon() -> None:
            file.listen()
            os._exit(0)

        listening = threading.Thread(target=end_with_the_daemon, name="listen", daemon=True)
        listening.start()
        inflate(file, window, output, result)
        listening.join()
    except BaseException as error:  # noqa: BLE001 - rapidgzip raises anything, and the daemon judges
        give_up(f"{type(error).__name__}: {error}")
    os._exit(0)
