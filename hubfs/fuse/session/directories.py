"""Directories that are open, and the names that the kernel keeps of each."""

import threading
from dataclasses import dataclass
from itertools import count
from time import time_ns

from hubfs.fuse.answers import Answers, Listed
from hubfs.fuse.session.protocol import Open
from hubfs.tree.node import Names

_REMEMBERED = 100_000
"""Directories of whose names it is known what the kernel keeps."""


_ANEW, _STILL = int(Open.CACHE_DIR), int(Open.CACHE_DIR | Open.KEEP_CACHE)


@dataclass(slots=True)
class _Opened:
    """A directory that is open. `names`: as they were then, of one whose names may change. `listed`: once asked for."""

    node_id: int
    names: Names | None = None
    listed: list[Listed] | None = None


class Directories:
    """Opens directories, and lists them.

    The kernel keeps the names of every directory (FOPEN_CACHE_DIR), and is told at each open whether they still hold
    (FOPEN_KEEP_CACHE): in a model, as long as its source is the same; above, as long as a listing has the same names.
    Where one above the models is open with other names already, either opener may have filled the kernel's copy: the
    next one that meets no other has the kernel drop it.

    Numbers begin with the time, so that a handle of an earlier process is never one of this one. `_lock` guards every
    field; nobody is asked under it.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._opened: dict[int, _Opened] = {}
        self._openers: dict[int, int] = {}
        self._kept: dict[int, object] = {}  # what was opened last is at the end
        self._numbers = count(time_ns())

    def open(self, node_id: int, path: str) -> tuple[int, int]:
        """The handle of the directory at `path`, and what the kernel may do with its names.

        Waits for the hub as a listing does. Raises as `Answers.open_directory`, and `Stale`.
        """
        node = self._answers.open_directory(path)
        names = None if node.source is not None else self._answers.names(path)
        now = node.source if names is None else hash(tuple(names))
        with self._lock:
            same = self._kept.pop(node_id, None) == now
            others = names is not None and node_id in self._openers
            self._keep(node_id, now if same or not others else None)
            handle = next(self._numbers)
            self._add(handle, _Opened(node_id, names))
        return handle, _STILL if same else _ANEW

    def _keep(self, node_id: int, names: object) -> None:
        """Remembers the names of a directory, in the place of the oldest that are remembered. Held: `_lock`."""
        self._kept[node_id] = names
        if len(self._kept) > _REMEMBERED:
            del self._kept[next(iter(self._kept))]

    def _add(self, handle: int, opened: _Opened) -> None:
        """Held: `_lock`."""
        self._opened[handle] = opened
        self._openers[opened.node_id] = self._openers.get(opened.node_id, 0) + 1

    def listing(self, node_id: int, path: str, handle: int, *, anew: bool) -> list[Listed]:
        """What is in an open directory, the same until it is listed `anew`. Raises as `Answers.names`."""
        opened = self._opened.get(handle)
        if opened is not None and opened.listed is not None and not anew:
            return opened.listed
        names = None if opened is None or opened.listed is not None else opened.names
        changed = names is None
        if names is None:
            names = self._answers.names(path)
        listed = self._answers.listed(path, names)
        with self._lock:
            if opened is None:  # an earlier process opened it
                opened = _Opened(node_id)
                self._add(handle, opened)
            if changed and opened.names is not None and opened.names != names:
                self._kept.pop(node_id, None)
            opened.listed = listed
        return listed

    def close(self, handle: int) -> None:
        """The directory is open no longer."""
        with self._lock:
            opened = self._opened.pop(handle, None)
            if opened is None:
                return
            left = self._openers[opened.node_id] = self._openers[opened.node_id] - 1
            if not left:
                del self._openers[opened.node_id]

    def undo(self, handle: int) -> None:
        """The kernel was not told of the handle, nor whether the names hold that it has."""
        with self._lock:
            opened = self._opened.get(handle)
            if opened is not None:
                self._kept.pop(opened.node_id, None)
        self.close(handle)
