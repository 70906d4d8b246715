"""All models of a hub: handle → source, each found once and kept."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cachetools import TTLCache

from hubfs.cache.index_store import Index
from hubfs.cancellation import Cancellation
from hubfs.errors import AccessDenied, Damaged, HubfsError, InvalidHandle, ModelNotFound, NotFound
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Location, Resolver
from hubfs.single_flight import SingleFlight
from hubfs.sources.naming import hub_label
from hubfs.sources.source import Source

_log = logging.getLogger(__name__)

Opener = Callable[[Handle, Location], Source]
"""Makes the source of a model at a location. May ask the network."""

Loader = Callable[[Handle, Index], Source]
"""Makes the source of a model that the cache has an index of, without the network. Raises `Damaged`."""


@dataclass(frozen=True)
class ModelsSettings:
    """How long answers hold that may change.

    `negative_ttl_s`: for how long "no such model" is believed. `failure_ttl_s`: for how long a damaged model stays
    damaged before it is fetched anew. `timeout_s` bounds the wait for another reader who is finding the same model.
    `fall_back`: whether the archive is asked for where the bucket that the hub names cannot be read.
    """

    negative_ttl_s: float = 10.0
    failure_ttl_s: float = 30.0
    timeout_s: float = 300.0
    fall_back: bool = True


@dataclass(frozen=True)
class KnownModel:
    """A model that was asked for since the start. `source` is None while `error` says why there is none."""

    handle: Handle
    source: Source | None
    error: str | None


class Models:
    """Finds sources, and keeps what was found: sources for life, "no such model" and damage for a while.

    `_lock` guards `_sources`, `_missing`, `_errors` and `_failed_at_s`; it is never held while a hub is asked. A
    source's own lock is taken under it (`failure`), never the other way round.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        openers: Mapping[Form, Opener],
        loaders: Mapping[Form, Loader],
        load_index: Callable[[str], Index | None],
        known_on_disk: Callable[[str], Iterator[str]],
        cancellation: Cancellation,
        settings: ModelsSettings,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._openers = openers
        self._loaders = loaders
        self._load_index = load_index
        self._known_on_disk = known_on_disk
        self._settings = settings
        self._timer = timer
        self._finding: SingleFlight[Handle, Source] = SingleFlight(cancellation, settings.timeout_s)
        self._lock = threading.Lock()
        self._sources: dict[Handle, Source] = {}
        self._missing: TTLCache[Handle, ModelNotFound] = TTLCache(100_000, settings.negative_ttl_s, timer)
        self._errors: dict[Handle, str] = {}
        self._failed_at_s: dict[Handle, float] = {}

    @property
    def hub(self) -> str:
        """The hub's URL."""
        return self._resolver.hub

    def get(self, handle: Handle) -> Source:
        """The model's source, which may be a failed one (its methods say why).

        Raises `ModelNotFound` when the hub says so, and whatever kept the hub from answering.
        """
        with self._lock:
            source = self._current(handle)
        if source is not None:
            return source
        return self._finding.run(handle, lambda: self._find(handle))

    def _current(self, handle: Handle) -> Source | None:
        """The source, unless its failure is old enough to try again. Raises `ModelNotFound` if that holds still.

        Held: `_lock`.
        """
        missing = self._missing.get(handle)
        if missing is not None:
            raise missing.with_traceback(None)  # raised again and again, it would keep every frame it passed
        source = self._sources.get(handle)
        if source is None or source.failure is None:
            return source
        failed_at_s = self._failed_at_s.setdefault(handle, self._timer())
        if self._timer() - failed_at_s < self._settings.failure_ttl_s:
            return source
        del self._sources[handle], self._failed_at_s[handle]
        return None

    def _find(self, handle: Handle) -> Source:
        with self._lock:
            source = self._current(handle)  # another flight may have landed since the look in `get`
        if source is not None:
            return source
        try:
            source = self._load(handle) or self._open(handle)
        except ModelNotFound as error:
            with self._lock:
                self._missing[handle] = error
                self._errors.pop(handle, None)
            raise
        except HubfsError as error:
            with self._lock:
                self._errors[handle] = str(error)
            raise
        with self._lock:
            self._sources[handle] = source
            self._errors.pop(handle, None)
        return source

    def _load(self, handle: Handle) -> Source | None:
        index = self._load_index(f"{hub_label(self.hub)}/{handle}")
        if index is None:
            return None
        try:
            return self._loaders[Form(index["form"])](handle, index)
        except (Damaged, KeyError, ValueError) as error:
            _log.warning("The cache's index of %s is left aside: %s", handle, error)
            return None

    def _open(self, handle: Handle) -> Source:
        location = self._resolver.resolve(handle)
        try:
            return self._openers[location.form](handle, location)
        except (NotFound, AccessDenied) as refused:
            if location.form is Form.COMPRESSED or not self._settings.fall_back:
                raise
            # The hub names a bucket that does not let us in (or is gone): the archive may still be there.
            _log.warning("%s: %s; asking for the compressed form", handle, refused)
            try:
                location = self._resolver.resolve(handle, Form.COMPRESSED)
            except NotFound:
                raise refused from None
            return self._openers[location.form](handle, location)

    def error(self, handle: Handle) -> str | None:
        """Why the model cannot be read, if it cannot."""
        with self._lock:
            source = self._sources.get(handle)
            error = self._errors.get(handle)
        return str(source.failure) if source is not None and source.failure is not None else error

    def opened(self) -> list[KnownModel]:
        """The models that were asked for since the start, sorted by handle."""
        with self._lock:
            sources, errors = dict(self._sources), dict(self._errors)
        return [KnownModel(handle, sources.get(handle), self.error(handle)) for handle in sorted({*sources, *errors})]

    def known(self) -> list[Handle]:
        """Handles that exist for sure: found since the start, or cached. Asks no hub."""
        with self._lock:
            handles = set(self._sources)
        for text in self._known_on_disk(hub_label(self.hub)):
            with contextlib.suppress(InvalidHandle):  # somebody else's folder in the cache directory
                handles.add(Handle.parse(text))
        return sorted(handles)
