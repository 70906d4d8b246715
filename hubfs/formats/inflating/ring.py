"""Bytes that two processes share: a ring in anonymous memory, which ends with the last process that maps it."""

import fcntl
import mmap
import os

from hubfs.formats.byte_reader import Bytes


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
        return self._memory[start:] + self._memory[: size_bytes - first_bytes]

    def slots(self, slot_bytes: int) -> list[memoryview]:
        """The ring in equal parts, to be written in place. `close` fails while they are in use."""
        view = memoryview(self._memory)
        return [view[start : start + slot_bytes] for start in range(0, self._size_bytes, slot_bytes)]

    def close(self) -> None:
        """Gives the mapping back."""
        self._memory.close()
