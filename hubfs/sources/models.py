"""All models of a hub: handle → source, each found once and kept."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from cachetools import TTLCache

from hubfs.cache.index_store import Index
from hubfs.cancellation import Cancellation
from hubfs.errors import (
    AccessDenied,
    Cancelled,
    Damaged,
    HubfsError,
    InvalidHandle,
    ModelNotFound,
    NotFound,
    TimedOut,
    Unavailable,
)
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Location, Resolver
from hubfs.single_flight import SingleFlight
from hubfs.sources.known_names import KnownNames
from hubfs.sources.naming import hub_label
from hubfs.sources.source import Source

_log = logging.getLogger(__name__)

T = TypeVar("T")

_UNKNOWN = object()

Opener = Callable[[Handle, Location], Source]
"""Makes the source of a model at a location. May ask the network."""

Loader = Callable[[Handle, Index], Source]
"""Makes the source of a model that the cache has an index of, without the network. Raises `Damaged`."""


@dataclass(frozen=True)
class ModelsSettings:
    """How long answers hold that may change.

    `negative_ttl_s`: for how long "no such model" is believed. `failure_ttl_s`: for how long a damaged model stays
    damaged before it is fetched anew. `timeout_s` bounds the wait for another reader who is finding the same model.
    `latest_ttl_s`: for how long an unversioned name stands for the same version, and a hub's listing holds.
    `fall_back`: whether the archive is asked for where the bucket that the hub names cannot be read.
    """

    negative_ttl_s: float = 10.0
    failure_ttl_s: float = 30.0
    timeout_s: float = 300.0
    latest_ttl_s: float = 10.0
    fall_back: bool = True


@dataclass(frozen=True)
class KnownModel:
    """A model that was asked for since the start. `source` is None while `error` says why there is none."""

    handle: Handle
    source: Source | None
    error: str | None


class Models:
    """Finds sources, and keeps what was found: sources for life, "no such model" and damage for a while.

    `_lock` guards `_sources`, `_names`, `_names_on_disk`, `_missing`, `_answers`, `_errors` and `_failed_at_s`; it is
    never held while a hub is asked. A source's own lock is taken under it (`failure`), never the other way round.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        openers: Mapping[Form, Opener],
        loaders: Mapping[Form, Loader],
        load_index: Callable[[str], Index | None],
        known_on_disk: Callable[[str], Iterator[str]],
        load_extracted: Callable[[Handle], Source | None] = lambda _: None,
        cancellation: Cancellation,
        settings: ModelsSettings,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._openers = openers
        self._loaders = loaders
        self._load_index = load_index
        self._known_on_disk = known_on_disk
        self._load_extracted = load_extracted
        self._settings = settings
        self._timer = timer
        self._finding: SingleFlight[Handle, Source] = SingleFlight(cancellation, settings.timeout_s)
        self._lock = threading.Lock()
        self._sources: dict[Handle, Source] = {}
        self._names: KnownNames | None = None  # None: to be made anew
        self._names_on_disk: object = None  # the answer that they were made with
        self._missing: TTLCache[Handle, ModelNotFound] = TTLCache(100_000, settings.negative_ttl_s, timer)
        self._answers: TTLCache[tuple[str, str], object] = TTLCache(100_000, settings.latest_ttl_s, timer)
        self._answering: SingleFlight[tuple[str, str], object] = SingleFlight(cancellation, settings.timeout_s)
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
        self._names = None
        return None

    def _find(self, handle: Handle) -> Source:
        with self._lock:
            source = self._current(handle)  # another flight may have landed since the look in `get`
        if source is not None:
            return source
        try:
            source = self._load(handle) or self._load_extracted(handle) or self._open(handle)
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
            if self._names is not None:
                self._names.add(handle)
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

    def latest(self, name: str) -> str:
        """The version that `name` (`google/spice`) stands for.

        A hub that cannot be asked leaves the newest known; one that knows no unversioned names, the newest that it has.

        Raises `ModelNotFound`, and what kept the hub from answering.
        """

        def ask() -> str:
            try:
                return self._there(name, [self._resolver.latest(name)])[0]
            except (ModelNotFound, Unavailable, TimedOut) as error:
                versions = [handle.version for handle in self.known() if f"{handle.publisher}/{handle.name}" == name]
                if isinstance(error, ModelNotFound):
                    versions += self.versions(name)
                if not versions:
                    raise
                _log.info("%s; the newest known version of %s stands in for the latest", error, name)
                return max(versions, key=int)

        return self._remembered("latest", name, ask)

    def versions(self, name: str) -> Sequence[str]:
        """The versions of `name` that the hub is known to have; none where it cannot be asked."""
        return self._listed("versions", name, lambda: self._there(name, self._resolver.versions(name))) or ()

    def _there(self, name: str, versions: Sequence[str]) -> Sequence[str]:
        """The versions, of which the hub says that they exist: "no such model" of a moment ago holds no longer."""
        with self._lock:
            for version in versions:
                self._missing.pop(Handle.parse(f"{name}/{version}"), None)
        return tuple(versions)

    def children(self, folder: str) -> Sequence[str] | None:
        """The names below `folder` that the hub lists; None for a hub that lists nothing, or cannot be asked now."""
        return self._listed("children", folder, lambda: self._resolver.children(folder))

    def _listed(self, question: str, folder: str, ask: Callable[[], Sequence[str] | None]) -> Sequence[str] | None:
        """As `_remembered`; None, remembered too, for a hub that does not answer, so that nobody waits for it twice."""

        def answer() -> Sequence[str] | None:
            try:
                return ask()
            except Cancelled:
                raise
            except HubfsError as error:
                _log.warning("The %s of %s are not known: %s", question, folder or self.hub, error)
                return None

        try:
            return self._remembered(question, folder, answer)
        except TimedOut as error:  # another reader's question takes long
            _log.warning("The %s of %s are not waited for: %s", question, folder or self.hub, error)
            return None

    def _remembered(self, question: str, name: str, ask: Callable[[], T]) -> T:
        """The hub's answer, asked at most once at a time and once in `latest_ttl_s`; "no such model", too."""

        def answer() -> object:
            with self._lock:
                known = self._answers.get((question, name), _UNKNOWN)
            if known is not _UNKNOWN:  # another flight may have landed since the look below
                return known
            try:
                found: object = ask()
            except ModelNotFound as missing:
                found = missing
            with self._lock:
                self._answers[question, name] = found
            return found

        with self._lock:
            known = self._answers.get((question, name), _UNKNOWN)
        if known is _UNKNOWN:
            known = self._answering.run((question, name), answer)
        if isinstance(known, ModelNotFound):
            raise known.with_traceback(None)
        return cast("T", known)

    def found(self, handle: Handle) -> bool:
        """Whether the model was found since the start. Looks at memory only."""
        with self._lock:
            return handle in self._sources

    def has(self, handle: Handle) -> bool:
        """Whether the model was found since the start, or is cached. Asks no hub."""
        return self.found(handle) or self._load_index(f"{hub_label(self.hub)}/{handle}") is not None

    def _read_known(self) -> list[Handle]:
        found = []
        for text in self._known_on_disk(hub_label(self.hub)):
            with contextlib.suppress(InvalidHandle):  # somebody else's folder in the cache directory
                found.append(Handle.parse(text))
        return found

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
        """Handles that exist for sure: found since the start, or cached (looked at now and then). Asks no hub."""
        with self._lock:
            handles = set(self._sources)
        handles.update(self._remembered("known", "", self._read_known))
        return sorted(handles, key=lambda handle: (handle.publisher, handle.name, handle.version))  # 5x their own order

    def known_children(self, folder: str) -> frozenset[str]:
        """The names directly below `folder` that lead to what is `known`."""
        on_disk = self._remembered("known", "", self._read_known)
        with self._lock:
            return self._known_names(on_disk).children(folder)

    def known_versions(self, name: str) -> frozenset[str]:
        """The versions of `name` (`google/spice`) that are `known`."""
        on_disk = self._remembered("known", "", self._read_known)
        with self._lock:
            return self._known_names(on_disk).versions(name)

    def _known_names(self, on_disk: list[Handle]) -> KnownNames:
        """Held: `_lock`."""
        if self._names is None or self._names_on_disk is not on_disk:
            self._names, self._names_on_disk = KnownNames([*self._sources, *on_disk]), on_disk
        return self._names
