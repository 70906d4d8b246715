"""Which models are known: found since the start, or cached."""

import contextlib
import threading
from collections.abc import Callable, Iterable

from hubfs.errors import InvalidHandle
from hubfs.hubs.names_by_folder import NamesByFolder
from hubfs.model_id import ModelId
from hubfs.waiting import Cancellation, Remembered


class KnownHandles:
    """The handles that exist for sure. Asks no hub; `on_disk` gives those that are cached, and is asked now and then.

    `parse` reads a handle, or raises `InvalidHandle`. `ttl_s`: for how long an answer of `on_disk` holds; `timeout_s`
    bounds the wait for another reader that is asking. `_lock` guards `_found`, `_names` and
    `_names_on_disk`; it is not held while `on_disk` is asked, and is taken last.
    """

    def __init__(
        self,
        on_disk: Callable[[], Iterable[str]],
        parse: Callable[[str], ModelId],
        cancellation: Cancellation,
        *,
        ttl_s: float,
        timeout_s: float,
        timer: Callable[[], float],
    ) -> None:
        self._read_disk = on_disk
        self._parse = parse
        self._on_disk: Remembered[str, list[ModelId]] = Remembered(
            cancellation, ttl_s=ttl_s, timeout_s=timeout_s, timer=timer
        )
        self._lock = threading.Lock()
        self._found: set[ModelId] = set()
        self._names: NamesByFolder | None = None  # None: to be made anew
        self._names_on_disk: object = None  # the answer that they were made with

    def add(self, handle: ModelId) -> None:
        """The model was found."""
        with self._lock:
            self._found.add(handle)
            if self._names is not None:
                self._names.add(handle)

    def remove(self, handle: ModelId) -> None:
        """It has to be found anew."""
        with self._lock:
            self._found.discard(handle)
            self._names = None

    def in_order(self) -> list[ModelId]:
        """All of them, sorted."""
        on_disk = self._cached()
        with self._lock:
            handles = {*self._found, *on_disk}
        return sorted(handles, key=lambda handle: (handle.name, handle.version))  # 5x their own order

    def children(self, folder: str) -> frozenset[str]:
        """The names directly below `folder` that lead to them."""
        on_disk = self._cached()
        with self._lock:
            return frozenset(self._by_name(on_disk).children(folder))

    def versions(self, name: str) -> frozenset[str]:
        """The versions of `name` (`google/spice`) among them."""
        on_disk = self._cached()
        with self._lock:
            return frozenset(self._by_name(on_disk).versions(name))

    def _cached(self) -> list[ModelId]:
        return self._on_disk.get("", self._read)

    def _read(self) -> list[ModelId]:
        cached = []
        for text in self._read_disk():
            with contextlib.suppress(InvalidHandle):  # somebody else's folder in the cache directory
                cached.append(self._parse(text))
        return cached

    def _by_name(self, on_disk: list[ModelId]) -> NamesByFolder:
        """Held: `_lock`."""
        if self._names is None or self._names_on_disk is not on_disk:
            self._names, self._names_on_disk = NamesByFolder([*self._found, *on_disk]), on_disk
        return self._names
