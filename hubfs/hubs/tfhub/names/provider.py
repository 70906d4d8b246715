"""The catalogue as it is now: a file's, and what the hub lists."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hubfs.errors import Cancelled, HubfsError, TimedOut
from hubfs.hubs.names import Patience
from hubfs.hubs.tfhub.names.catalogue import Catalog
from hubfs.hubs.tfhub.names.file import parse_catalog, read_catalog
from hubfs.waiting import Cancellation, Remembered

_log = logging.getLogger(__name__)

_HUB_TTL_S = 10.0
_FILE_TTL_S = 1.0
_WAIT_S = 60.0


@dataclass(frozen=True)
class CatalogDocument:
    """A hub's list of models as it came: `text` is None if it is still what it was when it had this `etag`."""

    text: str | None = field(repr=False)
    etag: str | None = None


Fetch = Callable[[str | None], CatalogDocument | None]
"""Asks the hub for its catalogue document, given the ETag of the one that is known; None if it has none."""

T = TypeVar("T")

_Stamp = tuple[int, int, int]


class CatalogProvider:
    """A file's catalogue merged with the one of the hub; where they differ, the file counts.

    `bundled` reads the catalogue that comes with hubfs for this hub. It stands in while there is neither, and nobody
    waits for the hub then: its own catalogue shows in a later listing.

    The file is read at once, and again when it has changed (looked at once a second, at most). The hub is asked by
    `renew`, at most once at a time and once in `ttl_s` seconds. Once there was a catalogue, no trouble with
    either takes it away: the last one that could be read stays, and the log says why, once.
    `hub` is the hub's URL, for messages; without `fetch` nobody is asked. Raises `InvalidConfig` for a file that
    cannot be used.

    `_lock` guards `_file`, `_stamp`, `_next_look_s`, `_hub`, `_etag`, `_troubled` and `_merged`; nothing is read,
    parsed or merged while it is held. `current`, which is asked for each path, looks at two of them without it.
    """

    def __init__(
        self,
        cancellation: Cancellation,
        *,
        file: Path | None = None,
        fetch: Fetch | None = None,
        bundled: Callable[[], Catalog] | None = None,
        hub: str = "the hub",
        ttl_s: float = _HUB_TTL_S,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = file
        self._fetch = fetch
        self._bundled = bundled
        self._hub_name = hub
        self._timer = timer
        self._next_look_s = timer()
        self._asked: Remembered[str, None] = Remembered(cancellation, ttl_s=ttl_s, timeout_s=_WAIT_S, timer=timer)
        self._lock = threading.Lock()
        self._stamp = None if file is None else _stamp(file)
        self._file = Catalog() if file is None else Catalog(read_catalog(file))
        self._hub = Catalog()
        self._etag: str | None = None
        self._troubled: set[object] = set()
        self._merged: Catalog | None = None

    def current(self) -> Catalog:
        """The catalogue."""
        path = self._path
        # Others do not wait for this look.
        if path is not None and self._timer() >= self._next_look_s and self._is_due():
            self._look_at(path)
        merged = self._merged
        return self._merge() if merged is None else merged

    def _is_due(self) -> bool:
        """Whether the caller is to look at the file."""
        now_s = self._timer()
        with self._lock:
            if now_s < self._next_look_s:
                return False
            self._next_look_s = now_s + _FILE_TTL_S
            return True

    def renew(self, patiently: Patience) -> None:
        """Asks the hub, through `patiently`, unless it was asked lately, and may wait for it. Raises `Cancelled`."""
        fetch = self._fetch
        if fetch is None:
            return
        asked = self._asked.get if self._bundled is None else self._asked.behind
        try:
            asked(self._hub_name, lambda: self._ask(fetch, patiently))
        except TimedOut as error:  # somebody else's question takes long: the list that is there does
            _log.info("The catalogue of %s is not waited for: %s", self._hub_name, error)

    def _look_at(self, path: Path) -> None:
        stamp = _stamp(path)  # before the file is read: a change meanwhile is seen the next time
        with self._lock:
            if stamp == self._stamp:
                return
        catalog = self._tried(path, "it had", lambda: Catalog(read_catalog(path)))
        with self._lock:
            self._stamp = stamp
            if catalog is not None:
                self._file = catalog
        if catalog is not None:
            self._merge()

    def _ask(self, fetch: Fetch, patiently: Patience) -> None:
        with self._lock:
            etag = self._etag
        answer = self._tried(fetch, "the hub listed", lambda: self._read(patiently(lambda: fetch(etag))))
        etag, catalog = answer or (None, None)
        if catalog is not None:
            with self._lock:
                self._etag, self._hub = etag, catalog
            self._merge()

    def _read(self, document: CatalogDocument | None) -> tuple[str | None, Catalog | None]:
        """The ETag of a document, and the catalogue that is in it; None for a document that is as it was."""
        if document is None:
            return None, Catalog()
        if document.text is None:
            return document.etag, None
        return document.etag, Catalog(parse_catalog(document.text, f"The catalogue of {self._hub_name}"))

    def _tried(self, about: object, what: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None where it fails, which the log says once."""
        try:
            found = read()
        except Cancelled:
            raise
        except HubfsError as error:
            with self._lock:
                first = about not in self._troubled
                self._troubled.add(about)
            if first:
                _log.warning("%s; what %s before stays in use", error, what)
            return None
        with self._lock:
            self._troubled.discard(about)
        return found

    def _merge(self) -> Catalog:
        with self._lock:
            file, hub = self._file, self._hub
        merged = file.merged(hub)
        if self._bundled is not None and not merged.entries:
            merged = self._bundled()
        with self._lock:
            if self._file is file and self._hub is hub:  # else it is merged anew
                self._merged = merged
        return merged


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
