"""All models of a hub: handle → source, each found once and kept."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cachetools import TTLCache

from hubfs.blobs.retry import asking_once
from hubfs.cache.disk.indexes import Index
from hubfs.cache.disk.latest import LatestStore
from hubfs.errors import Cancelled, Damaged, HubfsError, ModelNotFound
from hubfs.hubs.hub import Hub
from hubfs.model_id import ModelId
from hubfs.models.answers import ChangingAnswers, ModelsSettings
from hubfs.models.known_handles import KnownHandles
from hubfs.models.reachability import Reachability
from hubfs.models.troubles import Trouble, Troubles
from hubfs.models.uses import UNUSED, Use, Uses
from hubfs.sources.kit import Kit
from hubfs.sources.source import Source
from hubfs.waiting import Cancellation, GaveUp, Remembered

_log = logging.getLogger(__name__)

_SHARED_S = 1.0
"""Who waited for a question that failed shares the failure. The kernel looks a name up for one reader at a time:
sixteen readers of a hub that hung were told one after the other, the last after 104 s."""

_FAILURES_KEPT = 100_000

_DENIED_KEPT = 1000
_DENIED_S = 600.0
"""Why the last models were not found is told for so long: of a path that does not exist nothing can be asked."""


@dataclass(frozen=True)
class KnownModel:
    """A model that was asked for since the start. `source` is None while `trouble` says why there is none."""

    handle: ModelId
    source: Source | None
    trouble: Trouble | None
    use: Use = UNUSED

    @property
    def error(self) -> str | None:
        """Why the model, or some of it, cannot be read at present."""
        return None if self.trouble is None else self.trouble.error


@dataclass(frozen=True)
class Census:
    """The models that were asked for since the start: how many in all, in use, and in trouble; and those that `shown`
    tells of, sorted by handle.
    """

    found: int
    in_use: int
    in_trouble: int
    shown: Sequence[KnownModel]


class Models:
    """Finds sources, and keeps what was found: sources for life, "no such model" and damage for a while.

    `known` has the handles that exist for sure, `answers` what the hub says of names, `uses` which models are open.
    `troubles` are told what goes wrong, and asked for it. `_lock` guards `_sources`, `_failed_at_s` and `_denied`; it
    is never held while a hub is asked. A source's own lock (`failure`) and that of `known` are taken under it, never
    the other way round.
    """

    def __init__(
        self,
        hub: Hub,
        kit: Kit,
        *,
        load_index: Callable[[str], Index | None],
        known_on_disk: Callable[[str], Iterator[str]],
        cancellation: Cancellation,
        settings: ModelsSettings,
        troubles: Troubles | None = None,
        reachability: Reachability | None = None,
        latest_answers: LatestStore | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hub = hub
        self._kit = kit
        self._load_index = load_index
        self._settings = settings
        self._timer = timer
        # What is found is kept for life (`_sources`); that it was not, or could not be looked for, holds for a while.
        self._finding: Remembered[ModelId, Source] = Remembered(
            cancellation,
            ttl_s=0,
            timeout_s=settings.timeout_s,
            most=_FAILURES_KEPT,
            errors_s={ModelNotFound: settings.negative_ttl_s, Cancelled: 0, GaveUp: 0, HubfsError: _SHARED_S},
            timer=timer,
        )
        self.known = KnownHandles(
            lambda: known_on_disk(hub.label),
            hub.names.parse,
            cancellation,
            ttl_s=settings.latest_ttl_s,
            timeout_s=settings.timeout_s,
            timer=timer,
        )
        self.on_dropped: Callable[[ModelId], None] = lambda _: None
        """Told, under no lock, of a model whose source failed and is given to nobody any more."""
        self._lock = threading.Lock()
        self._sources: dict[ModelId, Source] = {}
        self._failed_at_s: dict[ModelId, float] = {}
        self._denied: TTLCache[ModelId, str] = TTLCache(_DENIED_KEPT, _DENIED_S, timer)
        self._troubles = troubles or Troubles()
        self.uses = Uses(timer)
        self._reachability = reachability or Reachability(hub.url, cancellation, rest_s=settings.rest_s, timer=timer)
        self.answers = ChangingAnswers(
            hub,
            reachability=self._reachability,
            store=latest_answers or LatestStore(None, ""),
            known=self.known.versions,
            found=self._exist,
            opened=self.uses.is_loading,
            cancellation=cancellation,
            settings=settings,
            timer=timer,
        )

    def get(self, handle: ModelId) -> Source:
        """The model's source, which may be a failed one (its methods say why).

        Raises `ModelNotFound` when the hub says so, and whatever kept the hub from answering.
        """
        source = self._kept(handle)
        if source is not None:
            return source
        try:
            return self._finding.get(handle, lambda: self._find(handle))
        except (ModelNotFound, Cancelled):
            raise
        except HubfsError as error:
            self._troubles.note(str(handle), "", error)
            raise

    def get_ahead(self, handle: ModelId) -> Source:
        """The model's source, for readers who have not asked yet: nothing is asked a second time, no trouble is noted.

        Readers who ask meanwhile wait for this question, and ask themselves if it raises `GaveUp`. Raises as `get`.
        """

        def ask() -> Source:
            with asking_once():
                return self._find(handle)

        return self._finding.get(handle, ask)

    def _kept(self, handle: ModelId) -> Source | None:
        """The source, unless its failure is old enough to try again: then it is dropped."""
        with self._lock:
            source = self._sources.get(handle)
            if source is None or source.failure is None:
                return source
            failed_at_s = self._failed_at_s.setdefault(handle, self._timer())
            if self._timer() - failed_at_s < self._settings.failure_ttl_s:
                return source
            del self._sources[handle], self._failed_at_s[handle]
            self.known.remove(handle)
        self.on_dropped(handle)
        return None

    def _find(self, handle: ModelId) -> Source:
        source = self._kept(handle)  # another flight may have landed since the look in `get`
        if source is not None:
            return source
        try:
            source = self._load(handle) or self.hub.local(handle) or self._open(handle)
        except ModelNotFound as error:
            self._troubles.forget(str(handle))
            with self._lock:
                self._denied[handle] = str(error)
            raise
        with self._lock:
            self._sources[handle] = source
            self._denied.pop(handle, None)
            self.known.add(handle)
        self._troubles.forget(str(handle))
        return source

    def _load(self, handle: ModelId) -> Source | None:
        index = self._load_index(f"{self.hub.label}/{handle}")
        if index is None:
            return None
        try:
            return self.hub.load(handle, index, self._kit)
        except (Damaged, KeyError, ValueError) as error:
            _log.warning("The cache's index of %s is left aside: %s", handle, error)
            return None

    def _open(self, handle: ModelId) -> Source:
        with self._reachability.watching(f"{self.hub.url}/{handle}"):
            return self.hub.open(handle, self._kit)

    def renew_names(self) -> None:
        """Has the hub asked for names that it wrote down, as patiently as for a listing. Offline, nobody is asked."""
        if not self._reachability.offline:
            patience_s = self._settings.listing_patience_s
            self.hub.names.renew(lambda ask: self._reachability.ask("the catalogue", ask, patience_s))

    def _exist(self, name: str, versions: Sequence[str]) -> None:
        """The hub says that they exist: "no such model" of a moment ago holds no longer."""
        for version in versions:
            self._finding.forget(ModelId(name, version))

    def found(self, handle: ModelId) -> Source | None:
        """The model's source, if it was found since the start. Looks at memory only."""
        with self._lock:
            return self._sources.get(handle)

    def is_written_down(self, handle: ModelId) -> bool:
        """Whether a catalogue says that the model is there, and the hub has not denied it lately. Asks nobody.

        False with `--offline`: no look inside would find more than what is cached.
        """
        with self._lock:
            denied = handle in self._denied
        return (
            not denied
            and not self._reachability.offline
            and handle.version in self.hub.names.written_versions(handle.name)
        )

    def has(self, handle: ModelId) -> bool:
        """Whether the model was found since the start, or is cached. Asks no hub."""
        return self.found(handle) is not None or self._load_index(f"{self.hub.label}/{handle}") is not None

    def trouble(self, handle: ModelId) -> Trouble | None:
        """Why the model, or some of it, cannot be read at present, if so."""
        trouble = self._troubles.of(str(handle))
        with self._lock:
            source = self._sources.get(handle)
            failure = source.failure if source is not None else None
            if failure is None:
                return trouble
            failed_at_s = self._failed_at_s.setdefault(handle, self._timer())
        now_s = time.time()
        if trouble is None or trouble.error != str(failure):  # nobody has met it yet
            trouble = Trouble("", str(failure), type(failure), now_s, now_s, count=0)
        return replace(trouble, retry_at_s=now_s + failed_at_s + self._settings.failure_ttl_s - self._timer())

    def denied(self, folder: str) -> Mapping[str, str]:
        """Why models directly below `folder` that were asked for were not found lately, by name. Asks nobody."""
        with self._lock:
            denied = sorted(self._denied.items())
        placed = [(*self.hub.names.path(model.name, model.version).rpartition("/"), why) for model, why in denied]
        return {name: why for above, _, name, why in placed if above == folder}

    def census(self, most: int, *, idle: bool = False) -> Census:
        """Tells of at most so many models: of those in trouble first, then of those in use; of others only with `idle`.

        In use is a model that streams, or a file of which is open, or was within the last ten minutes.
        """
        with self._lock:
            sources = dict(self._sources)
        troubled = {handle for handle, source in sources.items() if source.failure is not None}
        troubled.update(map(self.hub.names.parse, self._troubles.handles()))
        streaming = (handle for handle, source in sources.items() if source.streams)
        used = [handle for handle in dict.fromkeys((*streaming, *self.uses.current())) if handle in sources]
        told = dict.fromkeys((*sorted(troubled), *used, *(sorted(sources) if idle else ())))
        shown = [
            KnownModel(handle, sources.get(handle), self.trouble(handle), self.uses.of(handle))
            for handle in sorted(islice(told, most))
        ]
        return Census(len({*sources, *troubled}), len(used), len(troubled), shown)
