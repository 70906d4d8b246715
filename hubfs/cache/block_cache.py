"""The middle: what every reader reads through."""

from typing import Protocol

BLOCK_SIZE_BYTES = 1 << 20
"""The cache unit. The kernel's largest read is 1 MiB, so an aligned read is one block, handed out without a copy."""


def block_size_at(index: int, file_size_bytes: int) -> int:
    """How many bytes block `index` of a file has: the last one may be short."""
    return max(0, min(BLOCK_SIZE_BYTES, file_size_bytes - index * BLOCK_SIZE_BYTES))


class BlockCache(Protocol):
    """Keeps blocks by blob key and index. Bounded in bytes.

    Missing, corrupt and unreadable are all a miss, and no method ever raises for what the disk does.
    """

    def get(self, key: str, index: int) -> bytes | None:
        """The block, verified, or None."""
        ...

    def put(self, key: str, index: int, block: bytes) -> bool:
        """Keeps the block if there is room. True if it will outlive the process (it is on disk)."""
        ...

    def drop(self, prefix: str) -> None:
        """Forgets every block whose key is `prefix` or lies below it (`prefix/…`)."""
        ...
