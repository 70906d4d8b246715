"""What the kernel was told of the sizes of symlinks, which it believes for a day."""

import threading

from cachetools import LRUCache

_REMEMBERED = 100_000


class LinkSizes:
    """Path → the size that was told last. `_lock` guards `_sizes_bytes`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes_bytes: LRUCache[str, int] = LRUCache(_REMEMBERED)

    def told(self, path: str, size_bytes: int) -> None:
        """The kernel is told this size."""
        with self._lock:
            self._sizes_bytes[path] = size_bytes

    def moved(self, path: str, size_bytes: int) -> bool:
        """Whether the kernel knows another size of the symlink than this one; says so once."""
        with self._lock:
            if self._sizes_bytes.get(path, size_bytes) == size_bytes:
                return False
            del self._sizes_bytes[path]
            return True
