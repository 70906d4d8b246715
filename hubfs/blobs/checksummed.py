"""Holds a blob against the checksum that its store announced, whatever the order its blocks are read in."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from hubfs.blobs.blob import Blob
from hubfs.blobs.crc32c import contribution, crc32c
from hubfs.blobs.wrapper import WrappedBlob
from hubfs.errors import Damaged


@dataclass(frozen=True)
class Checksum:
    """What a store announces of the bytes of a whole file: `algorithm` (`crc32c`), and `value` in hexadecimal.

    Raises `ValueError` for an algorithm that hubfs does not know, and for a value that the algorithm cannot give.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        if self.algorithm != "crc32c" or not 0 <= int(self.value, 16) < 1 << 32:
            raise ValueError(f"{self.algorithm} {self.value!r} is no checksum that can be verified")

    def verified(self, blob: Blob, block_size_bytes: int) -> Blob:
        """`blob`, whose blocks of `block_size_bytes` are verified together as soon as all of them were read."""
        return ChecksummedBlob(blob, int(self.value, 16), block_size_bytes)


class ChecksummedBlob(WrappedBlob):
    """`blob`, watched: once every block of it has been read, the whole must have the crc32c `announced` by its store.

    Belongs below the cache, which reads whole blocks: reads at a multiple of `block_size_bytes` are recorded, others
    pass through. When the whole is wrong, the read that completed it raises `Damaged`, and so does every read that
    ends later; a blob of one block is therefore verified before any of it is returned. A block that is read again
    must be the same as the first time, so after the whole was right, every later block is verified by itself.

    `_lock` guards `_crcs`, `_whole` and `_reason`. It is never held while reading or summing.
    """

    def __init__(self, blob: Blob, announced: int, block_size_bytes: int) -> None:
        super().__init__(blob)
        self._announced = announced
        self._block_size_bytes = block_size_bytes
        self._block_count = -(-blob.size_bytes // block_size_bytes)
        self._lock = threading.Lock()
        self._crcs: dict[int, int] = {}
        self._whole = 0  # the xor of what the recorded blocks contribute
        self._reason: str | None = None
        self._record([])  # an empty blob is complete from the start

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset. Raises `Damaged` once they are known not to be what the store announced."""
        self._check()
        data = self._blob.read_at(offset_bytes, size_bytes)
        self._record(list(self._sums(offset_bytes, data)))
        self._check()
        return data

    def _sums(self, offset_bytes: int, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Index, crc32c and contribution of every whole block in `data`."""
        if offset_bytes % self._block_size_bytes:
            return
        for start in range(0, len(data), self._block_size_bytes):
            block = data[start : start + self._block_size_bytes]
            following_bytes = self.size_bytes - (offset_bytes + start + len(block))
            if len(block) == self._block_size_bytes or following_bytes == 0:
                crc = crc32c(block)
                index = (offset_bytes + start) // self._block_size_bytes
                yield index, crc, contribution(crc, following_bytes)

    def _record(self, sums: list[tuple[int, int, int]]) -> None:
        with self._lock:
            for index, crc, contributed in sums:
                if index not in self._crcs:
                    self._crcs[index] = crc
                    self._whole ^= contributed
                elif self._crcs[index] != crc:
                    self._reason = self._reason or f"block {index} was read twice, and differed"
            if len(self._crcs) == self._block_count and self._whole != self._announced:
                self._reason = self._reason or (
                    f"its crc32c is {self._whole:08x}, and the store announced {self._announced:08x}"
                )

    def _check(self) -> None:
        with self._lock:
            reason = self._reason
        if reason is not None:
            raise Damaged(f"{self.key} is damaged: {reason}; if it stays so, ask who keeps the bucket to store it anew")
