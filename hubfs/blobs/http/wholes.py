"""Small objects that came whole with the reply which told of them."""

import threading
from collections.abc import Mapping

from cachetools import LRUCache

from hubfs.blobs.http.object import HttpObject

_KEPT = 64

_Key = tuple[str, frozenset[tuple[str, str]]]


class Wholes:
    """Their bytes, each for one reader that asks with the same headers; the last ones. `_lock` guards `_kept`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[_Key, tuple[HttpObject, bytes]] = LRUCache(_KEPT)

    def keep(self, found: HttpObject, headers: Mapping[str, str], data: bytes | None) -> None:
        """All bytes of an object that was found just now; None: they did not come, and earlier ones hold no more."""
        key = _key(found, headers)
        with self._lock:
            self._kept.pop(key, None)
            if data is not None:
                self._kept[key] = found, data

    def has(self, found: HttpObject, headers: Mapping[str, str]) -> bool:
        """Whether `take` has the object."""
        with self._lock:
            kept = self._kept.get(_key(found, headers))
        return kept is not None and kept[0] is found

    def take(self, found: HttpObject, headers: Mapping[str, str]) -> bytes | None:
        """All bytes of an object that was found a moment ago, if they came; once."""
        with self._lock:
            kept = self._kept.pop(_key(found, headers), None)
        return kept[1] if kept is not None and kept[0] is found else None


def _key(found: HttpObject, headers: Mapping[str, str]) -> _Key:
    return found.url, frozenset(headers.items())
