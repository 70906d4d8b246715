"""What cannot be read at present, and why: for the status and the attributes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cachetools import TTLCache

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.errors import HubfsError, Ordinary

_KEPT = 10_000
_PATHS_KEPT = 100
"""Of one model."""
_TTL_S = 600.0


@dataclass(frozen=True)
class Trouble:
    """What happened to readers of `path` in a model (empty: of the model as a whole), and to nobody since.

    `since_s` and `last_s` are Unix times, `count` is how often in a row. `offset_bytes` is where in the file; None if
    it happened before a byte was read. `retry_at_s` is when it is fetched anew at the earliest (Unix time); None:
    whenever somebody reads.
    """

    path: str
    error: str
    kind: type[HubfsError]
    since_s: float
    last_s: float
    count: int = 1
    offset_bytes: int | None = None
    retry_at_s: float | None = None


class Troubles:
    """Troubles by handle and path. One ends when what failed succeeds, and is forgotten ten minutes after the last.

    `_lock` guards `_troubles`; it is taken last.
    """

    def __init__(self, *, timer: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        # By handle, then by path: in an outage there are thousands, and the status asks for each model's own.
        self._troubles: TTLCache[str, TTLCache[str, Trouble]] = TTLCache(_KEPT, _TTL_S, timer)

    def note(self, handle: str, path: str, error: HubfsError, *, offset_bytes: int | None = None) -> None:
        """It happened, perhaps again."""
        now_s = self._clock()
        with self._lock:
            mine = self._troubles.pop(handle, None)
            if mine is None:
                mine = TTLCache(_PATHS_KEPT, _TTL_S, self._timer)
            before = mine.get(path)
            # Not the error itself: it would keep every frame that it passed, and their blocks.
            trouble = Trouble(path, str(error), type(error), now_s, now_s, offset_bytes=offset_bytes)
            if before is not None and before.kind is trouble.kind:
                trouble = replace(trouble, since_s=before.since_s, count=before.count + 1)
            mine[path] = trouble
            self._troubles[handle] = mine  # anew: it lives as long as the last of its troubles

    def over(self, handle: str, path: str, *, offset_bytes: int | None = None, size_bytes: int = 0) -> None:
        """That worked: the lookup, or the read of these bytes, of which one may have failed before."""
        if not self._troubles:  # almost always; an atomic look
            return
        with self._lock:
            mine = self._troubles.get(handle)
            trouble = None if mine is None else mine.get(path)
            if mine is None or trouble is None:
                return
            failed_at_bytes = trouble.offset_bytes
            if failed_at_bytes is None or (
                offset_bytes is not None and offset_bytes <= failed_at_bytes < offset_bytes + size_bytes
            ):
                mine.pop(path, None)
                if not mine:
                    self._troubles.pop(handle, None)

    def forget(self, handle: str) -> None:
        """The model was found anew, or is gone."""
        if not self._troubles:
            return
        with self._lock:
            self._troubles.pop(handle, None)

    def of(self, handle: str, path: str | None = None) -> Trouble | None:
        """The last trouble of the model; given a `path`, that of the file if it has its own."""
        with self._lock:
            found = list(self._troubles.get(handle, {}).values())
        own = [trouble for trouble in found if trouble.path == path]
        wide = [trouble for trouble in found if not trouble.path]
        return max(own or wide or found, key=lambda trouble: trouble.last_s, default=None)

    def handles(self) -> set[str]:
        """Those that have trouble."""
        with self._lock:
            return set(self._troubles)

    def below(self, folder: str, path_of: Callable[[str], str] = str) -> dict[str, Trouble]:
        """The last trouble of each model directly below `folder`, by its name there; `path_of` gives a model's path."""
        found = {}
        for handle in sorted(self.handles()):
            above, _, name = path_of(handle).rpartition("/")
            trouble = self.of(handle) if above == folder else None
            if trouble is not None:
                found[name] = trouble
        return found

    @contextmanager
    def watching(self, handle: str, path: str) -> Iterator[None]:
        """Notes what is raised inside, while something is looked up; what is not, is over."""
        try:
            yield
        except Exception as error:
            self.raised(handle, path, error)
            raise
        self.over(handle, path)

    def raised(self, handle: str, path: str, error: Exception, *, offset_bytes: int | None = None) -> None:
        """Notes an error, unless it happens on good days, too."""
        if not isinstance(error, HubfsError):
            error = HubfsError(f"unexpected {type(error).__name__}; the log has the traceback")
        elif isinstance(error, Ordinary):
            return
        self.note(handle, path, error, offset_bytes=offset_bytes)


class WatchedBlob(WrappedBlob):
    """`blob`, the file at `path` of a model: tells `troubles` how reads go, `count` how many bytes each read got, and
    `follow` where.
    """

    def __init__(
        self, blob: Blob, troubles: Troubles, handle: str, path: str, count: Callable[[int], None] = lambda _: None
    ) -> None:
        super().__init__(blob)
        self._troubles = troubles
        self._handle = handle
        self._path = path
        self._count = count
        self.follow: Callable[[int, int], None] | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes from `offset_bytes` on: exactly `size_bytes`, fewer only at the end of the blob.

        Raises as the blob below does.
        """
        try:
            data = self._blob.read_at(offset_bytes, size_bytes)
            if self.follow is not None:
                self.follow(offset_bytes, len(data))
        except Exception as error:
            self._troubles.raised(self._handle, self._path, error, offset_bytes=offset_bytes)
            raise
        self._troubles.over(self._handle, self._path, offset_bytes=offset_bytes, size_bytes=size_bytes)
        self._count(len(data))
        return data
