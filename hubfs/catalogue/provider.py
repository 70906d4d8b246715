"""The catalogue as it is now: a file's, and what the hub lists."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from hubfs.catalogue.catalogue import Catalog
from hubfs.catalogue.document import CatalogDocument
from hubfs.catalogue.file import parse_catalog, read_catalog
from hubfs.errors import Cancelled, HubfsError
from hubfs.waiting import Cancellation, SingleFlight

_log = logging.getLogger(__name__)

_HUB_TTL_S = 10.0
_FILE_TTL_S = 1.0
_WAIT_S = 60.0

Fetch = Callable[[str | None], CatalogDocument | None]
"""Asks the hub for its catalogue document, given the ETag of the one that is known; None if it has none."""

_Stamp = tuple[int, int, int]


class CatalogProvider:
    """A file's catalogue merged with the one of the hub; where they differ, the file counts.

    `bundled` reads the catalogue that comes with hubfs for this hub. It stands in while the hub has none of its own.

    The file is read at once, and again when it has changed (looked at once a second, at most). The hub is asked when
    somebody lists, at most once at a time and once in `ttl_s` seconds. Once there was a catalogue, no trouble with
    either takes it away: the last one that could be read stays, and the log says why, once.
    `hub` is the hub's URL, for messages; without `fetch` nobody is asked. Raises `InvalidConfig` for a file that
    cannot be used.

    `_lock` guards `_file`, `_stamp`, `_file_due_s`, `_file_trouble`, `_hub`, `_etag`, `_hub_due_s`, `_hub_trouble` and
    `_merged`; nothing is read, parsed or merged while it is held.
    """

    def __init__(
        self,
        cancellation: Cancellation,
        *,
        file: Path | None = None,
        fetch: Fetch | None = None,
        bundled: Callable[[], Catalog] = Catalog,
        hub: str = "the hub",
        ttl_s: float = _HUB_TTL_S,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = file
        self._fetch = fetch
        self._bundled = bundled
        self._hub_name = hub
        self._ttl_s = ttl_s
        self._timer = timer
        self._flights: SingleFlight[str, None] = SingleFlight(cancellation, _WAIT_S)
        self._lock = threading.Lock()
        self._stamp = None if file is None else _stamp(file)
        self._file = Catalog() if file is None else Catalog(read_catalog(file))
        self._file_due_s = timer() + _FILE_TTL_S
        self._file_trouble = False
        self._hub = Catalog()
        self._etag: str | None = None
        self._hub_due_s = timer()
        self._hub_trouble = False
        self._merged: Catalog | None = None

    def current(self, *, refresh: bool) -> Catalog:
        """The catalogue. Only if `refresh`, the hub may be asked, and waited for. Raises `Cancelled`."""
        if self._path is not None:
            self._look_at(self._path)
        if refresh and self._fetch is not None and self._is_hub_due():
            fetch = self._fetch
            try:
                self._flights.run(self._hub_name, lambda: self._ask(fetch))
            except Cancelled:
                raise
            except HubfsError as error:  # somebody else's question takes long: the list that is there does
                _log.info("The catalogue of %s is not waited for: %s", self._hub_name, error)
        with self._lock:
            merged = self._merged
        return self._merge() if merged is None else merged

    def _look_at(self, path: Path) -> None:
        with self._lock:
            if self._timer() < self._file_due_s:
                return
            self._file_due_s = self._timer() + _FILE_TTL_S
            known = self._stamp
        stamp = _stamp(path)  # before the file is read: a change meanwhile is seen the next time
        if stamp == known:
            return
        try:
            catalog = Catalog(read_catalog(path))
        except HubfsError as error:
            with self._lock:
                first, self._file_trouble, self._stamp = not self._file_trouble, True, stamp
            if first:
                _log.warning("%s; what it had before stays in use", error)
            return
        with self._lock:
            self._file, self._stamp, self._file_trouble = catalog, stamp, False
        self._merge()

    def _is_hub_due(self) -> bool:
        with self._lock:
            return self._timer() >= self._hub_due_s

    def _ask(self, fetch: Fetch) -> None:
        with self._lock:
            if self._timer() < self._hub_due_s:  # somebody asked while we came here
                return
            etag = self._etag
        try:
            document = fetch(etag)
            if document is None:
                catalog, etag = Catalog(), None
            elif document.text is None:
                catalog = None
            else:
                catalog, etag = (
                    Catalog(parse_catalog(document.text, f"The catalogue of {self._hub_name}")),
                    document.etag,
                )
        except Cancelled:
            raise
        except HubfsError as error:
            with self._lock:
                first, self._hub_trouble, self._hub_due_s = not self._hub_trouble, True, self._timer() + self._ttl_s
            if first:
                _log.warning("%s; what the hub listed before stays in use", error)
            return
        with self._lock:
            self._etag, self._hub_trouble, self._hub_due_s = etag, False, self._timer() + self._ttl_s
            if catalog is not None:
                self._hub = catalog
        if catalog is not None:
            self._merge()

    def _merge(self) -> Catalog:
        with self._lock:
            file, hub = self._file, self._hub
        merged = file.merged(hub if hub.entries else self._bundled())
        with self._lock:
            if self._file is file and self._hub is hub:  # else whoever changed it merges, too
                self._merged = merged
        return merged


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
