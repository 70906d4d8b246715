"""File handles: the numbers that the kernel knows open files by."""

import threading
from itertools import count

from cachetools import LRUCache

from hubfs.errors import Stale
from hubfs.tree.hub_tree import OpenFile

_REMEMBERED_PATHS = 100_000


class OpenFiles:
    """fh → OpenFile, and what the kernel's page cache was filled from.

    `_lock` guards `_files` and `_pages_of`; nothing foreign is called under it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[int, OpenFile] = {}
        self._pages_of: LRUCache[str, object] = LRUCache(_REMEMBERED_PATHS)
        self._numbers = count(1)

    def add(self, path: str, file: OpenFile) -> tuple[int, bool]:
        """The file's new handle, and whether the pages that the kernel may have of `path` are this file's.

        Raises `Stale`, once, if the kernel knows the path from another source: it then asks for the name anew, and so
        learns the size, before it opens again. Else it would cut the new file to the size of the old one for a day.
        """
        with self._lock:
            known = self._pages_of.get(path)
            replaced = known is not None and known is not file.pages_of
            if replaced:
                del self._pages_of[path]
        if replaced:
            file.release()
            raise Stale(f"{path} was replaced since it was opened last: open it again")
        with self._lock:
            number = next(self._numbers)
            self._files[number] = file
            same = file.pages_of is not None and self._pages_of.get(path) is file.pages_of
            self._pages_of[path] = file.pages_of
        return number, same

    def __getitem__(self, number: int) -> OpenFile:
        """The file. Raises `Stale` for a handle that is not open."""
        file = self._files.get(number)
        if file is None:
            raise Stale(f"file handle {number} is not open")
        return file

    def remove(self, number: int) -> None:
        """Releases the file."""
        with self._lock:
            file = self._files.pop(number, None)
        if file is not None:
            file.release()
