"""Chunks of any size in, exact numbers of bytes out: what gzip and tar read their headers with."""

from collections.abc import Iterable

_PADDING_BYTES = 1 << 12
"""Padding is looked at in small pieces: what is none is given back, and read again."""

Bytes = bytes | memoryview
"""Some bytes of a chunk: a view where copying them would be the only work done on them."""


class Wanted:
    """How many bytes a reader would like the next chunk to have; 0: it says nothing. Set before a chunk is pulled.

    Who copies bytes for a chunk in any case copies as many as will not be copied again.
    """

    size_bytes = 0


class ByteReader:
    """Reads `chunks` from the start to the end, and pulls the next one only when a byte of it is asked for.

    `wanted` says how many of the requested bytes are still missing. Errors of `chunks` pass through. For one thread.
    """

    def __init__(self, chunks: Iterable[Bytes], wanted: Wanted | None = None) -> None:
        self._chunks = iter(chunks)
        self._wanted = wanted or Wanted()
        self._chunk: Bytes = b""
        self._used_bytes = 0
        self._passed_bytes = 0

    @property
    def offset_bytes(self) -> int:
        """How many bytes were read so far."""
        return self._passed_bytes + self._used_bytes

    def at_most(self, size_bytes: int) -> Bytes:
        """The next bytes, as many as are there without waiting for more: at least one, none only at the end.

        Never a copy: the chunk itself, or a view of a part of it.
        """
        while self._used_bytes == len(self._chunk):
            self._passed_bytes += self._used_bytes
            self._used_bytes, self._chunk, self._wanted.size_bytes = 0, b"", size_bytes
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._chunk = chunk
        start = self._used_bytes
        self._used_bytes = min(start + size_bytes, len(self._chunk))
        if self._used_bytes - start == len(self._chunk):
            return self._chunk
        return memoryview(self._chunk)[start : self._used_bytes]

    def exactly(self, size_bytes: int) -> bytes:
        """The next `size_bytes` bytes; fewer only at the end."""
        parts = []
        while size_bytes and (part := self.at_most(size_bytes)):
            parts.append(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def pass_zeros(self) -> None:
        """Reads up to the first byte that is not zero."""
        while chunk := bytes(self.at_most(_PADDING_BYTES)):
            if rest := chunk.lstrip(b"\0"):
                self.give_back(len(rest))
                return

    def give_back(self, size_bytes: int) -> None:
        """Makes the last `size_bytes` bytes of the latest `at_most` unread again."""
        self._used_bytes -= size_bytes
