"""What a hub says that may change: the latest version of a name, its versions, the names that it lists."""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from hubfs.blobs.retry import asking_once
from hubfs.cache.disk.latest import LastAnswer, LatestStore
from hubfs.errors import Cancelled, HubfsError, InvalidHandle, ModelNotFound, NotCached
from hubfs.hubs.hub import Hub
from hubfs.model_id import ModelId
from hubfs.models.reachability import OutOfReach, Reachability
from hubfs.waiting import Cancellation, Remembered

_log = logging.getLogger(__name__)

_NAMES_KEPT = 10_000
_LONGEST_HOLD_S = 600.0
"""A server that polls for a new version, and reads the old one meanwhile, sees the new one after so long."""

_KEEP_AGAIN_S = 3600.0
"""The same answer is written to the disk once an hour, at most: a walk asks for thousands, each a file."""


@dataclass(frozen=True)
class ModelsSettings:
    """How long answers hold that may change, and how long readers wait.

    `negative_ttl_s`: for how long "no such model" is believed. `failure_ttl_s`: for how long a damaged model stays
    damaged before it is fetched anew. `timeout_s` bounds the wait for another reader's question. `latest_ttl_s`: for
    how long an unversioned name stands for the same version, and a hub's listing holds. `patience_s`: for how long a
    reader waits for the hub that can be given the last answer instead; `listing_patience_s`: a reader that lists, and
    can be shown what is known otherwise. `rest_s`: for how long a hub that does not answer is left alone, by readers
    that can be served without it.
    """

    negative_ttl_s: float = 10.0
    failure_ttl_s: float = 30.0
    timeout_s: float = 300.0
    latest_ttl_s: float = 10.0
    patience_s: float = 3.0
    listing_patience_s: float = 15.0
    rest_s: float = 10.0


@dataclass(frozen=True)
class Latest:
    """Where `latest` of a name leads: to `version`.

    `asked_at_s`: when the hub last said (Unix time; None if it never did). `error`: why it does not say now, and since
    when (`stale_since_s`); None while it does.
    """

    name: str
    version: str
    asked_at_s: float | None = None
    error: str | None = None
    stale_since_s: float | None = None


class ChangingAnswers:
    """Asks `hub` at most once at a time and once in `latest_ttl_s`: the latest version of a name, versions, listings.

    `known` gives the versions of a name that are there without asking, `found` is told of those that the hub has.
    Where the hub `holds_aliases`, `latest` leads where it led as long as `opened` says that files there were opened
    lately, at most ten minutes: a program that loads a model opens one file after the other by an alias.
    A caller that can be served without the hub waits for it only as `reachability` says.

    `_lock` guards `_last`, `_written`, `_latest` and `_given`; nobody is asked under it.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        reachability: Reachability,
        store: LatestStore,
        known: Callable[[str], Collection[str]],
        found: Callable[[str, Sequence[str]], None],
        opened: Callable[[ModelId], bool],
        cancellation: Cancellation,
        settings: ModelsSettings,
        timer: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._reachability = reachability
        self._store = store
        self._known = known
        self._found = found
        self._opened = opened
        self._timer = timer
        self._settings = settings
        self._clock = clock
        ttl_s, timeout_s = settings.latest_ttl_s, settings.timeout_s
        missing: dict[type[Exception], float] = {ModelNotFound: ttl_s}
        self._versions: Remembered[str, str] = Remembered(
            cancellation, ttl_s=ttl_s, timeout_s=timeout_s, errors_s=missing, timer=timer
        )
        self._listings: Remembered[tuple[str, str], Sequence[str]] = Remembered(
            cancellation, ttl_s=ttl_s, timeout_s=timeout_s, errors_s=missing, keep_last=True, timer=timer
        )
        self._lock = threading.Lock()
        self._last: LRUCache[str, LastAnswer | None] = LRUCache(_NAMES_KEPT)
        self._written: LRUCache[str, LastAnswer] = LRUCache(_NAMES_KEPT)
        self._latest: LRUCache[str, Latest] = LRUCache(_NAMES_KEPT)
        self._given: LRUCache[str, tuple[str, float]] = LRUCache(_NAMES_KEPT)  # what the hub said, by `timer`

    def latest(self, name: str) -> str:
        """The version that `name` (`google/spice`) stands for.

        A hub that cannot be asked leaves its last answer, else the newest version that is known, else the newest of
        those that are written down; one that knows no unversioned names, the newest that it has. Raises
        `ModelNotFound`, and what kept the hub from answering.
        """
        if (held := self._held(name)) is not None:
            return held
        try:
            version = self._versions.get(name, lambda: self._ask_latest(name))
        except Cancelled:
            raise
        except HubfsError as error:
            last, known = self._last_answer(name), self._known(name)
            # Else the hub takes back what the catalogue says.
            written = () if isinstance(error, ModelNotFound) else self._hub.names.written_versions(name)
            spare = self._spare(last, known or written)
            if spare is None:
                raise
            self._is_stale(name, spare, last, error)
            return spare
        self._is_fresh(name, version)
        return version

    def _held(self, name: str) -> str | None:
        """What `latest` gave, if that must not move now."""
        if not self._hub.holds_aliases:
            return None
        with self._lock:
            version, since_s = self._given.get(name, ("", -math.inf))
        if self._timer() - since_s >= _LONGEST_HOLD_S:
            return None
        return version if self._opened(self._hub.names.parse(f"{name}/{version}")) else None

    def expected(self, name: str) -> str | None:
        """The version that `latest` gave last, or would give if the hub were out of reach; None where it would ask.

        Asks nobody.
        """
        with self._lock:
            given = self._latest.get(name)
        if given is not None:
            return given.version
        return self._spare(self._last_answer(name), {*self._known(name), *self._hub.names.written_versions(name)})

    def leads(self, name: str) -> bool:
        """Whether `name` stands for a version. False where the hub cannot be asked, which is not tried in an outage."""
        if self.expected(name) is not None:
            return True
        if self._reachability.outage is not None:
            return False
        try:
            self.latest(name)
        except Cancelled:
            raise
        except HubfsError:
            return False
        return True

    def led_below(self, folder: str) -> bool:
        """Whether a name below `folder` has led somewhere since the start. Asks nobody."""
        with self._lock:
            return any(name.startswith(f"{folder}/") for name in self._latest)

    def _spare(self, last: LastAnswer | None, known: Collection[str]) -> str | None:
        """Where `latest` leads without the hub. Its last answer is of use only if it is here, or if nothing else is."""
        if last is not None and (last.version in known or not known):
            return last.version
        return max(known, key=self._hub.names.age, default=None)

    def holds_latest(self, name: str) -> bool:
        """Whether the latest version of `name` was asked for a moment ago, or is being asked for."""
        return self._versions.under_way(name) is not None

    def ask_latest_ahead(self, name: str) -> None:
        """Asks for the latest version of `name`, in this thread, for readers who have not asked yet.

        It is asked once, and readers who ask meanwhile wait for it, with their patience. Raises as `Hub.alias`, and
        `GaveUp`.
        """

        def once() -> str:
            with asking_once():
                version = self._hub.alias(name)
            self._told(name, version)
            self._versions.keep(name, version)
            return version

        self._reachability.ask_ahead(self._question(name), once)

    def _question(self, name: str) -> str:
        return f"the latest version of {self._hub.url}/{name}"

    def _ask_latest(self, name: str) -> str:
        question, known = self._question(name), self._known(name)
        try:
            if self._spare(self._last_answer(name), known or self._hub.names.written_versions(name)) is not None:
                version = self._reachability.ask(question, lambda: self._hub.alias(name), self._settings.patience_s)
            else:
                with self._reachability.watching(question):
                    version = self._hub.alias(name)
        except ModelNotFound:
            versions = self.versions(name)
            if not versions:
                raise
            version = max((*known, *versions), key=self._hub.names.age)
        self._told(name, version)
        return version

    def _told(self, name: str, version: str) -> None:
        """The hub says it."""
        self._found(name, [version])
        answer = LastAnswer(version, self._clock())
        with self._lock:
            self._last[name] = answer
            written = self._written.get(name)
            if written and written.version == answer.version and answer.asked_at_s - written.asked_at_s < _KEEP_AGAIN_S:
                return
            self._written[name] = answer
        self._store.save(name, answer)

    def _last_answer(self, name: str) -> LastAnswer | None:
        with self._lock:
            if name in self._last:
                return self._last[name]
        last = self._store.load(name)
        if last is not None:
            try:
                self._hub.names.parse(f"{name}/{last.version}")
            except InvalidHandle:  # the file is another program's
                last = None
        with self._lock:
            return self._last.setdefault(name, last)

    def _is_stale(self, name: str, version: str, last: LastAnswer | None, error: HubfsError) -> None:
        with self._lock:
            before = self._latest.get(name)
            since_s = before.stale_since_s if before is not None and before.stale_since_s else self._clock()
            self._latest[name] = Latest(name, version, last.asked_at_s if last else None, str(error), since_s)
        if before is None or before.error is None:
            _log.warning("%s/latest stays at version %s, which may be old: %s", name, version, error)

    def _is_fresh(self, name: str, version: str) -> None:
        with self._lock:
            before, last = self._latest.get(name), self._last.get(name)
            self._latest[name] = Latest(name, version, last.asked_at_s if last else None)
            self._given[name] = version, self._timer()
        if before is not None and before.error is not None:
            _log.info("%s/latest is what the hub says again: version %s", name, version)

    def asked(self) -> list[Latest]:
        """The names whose latest version was asked for since the start; asks nobody."""
        with self._lock:
            return [latest for _, latest in sorted(self._latest.items())]

    def stale(self, name: str) -> Latest | None:
        """Where `latest` of `name` leads, if the hub could not be asked; asks nobody."""
        with self._lock:
            latest = self._latest.get(name)
        return latest if latest is not None and latest.error is not None else None

    def versions(self, name: str) -> Sequence[str]:
        """The versions of `name` that the hub is known to have; none where it cannot be asked."""

        def ask() -> Sequence[str]:
            found = tuple(self._hub.versions(name))
            self._found(name, found)
            return found

        return self._listing("versions", name, ask) or ()

    def children(self, folder: str) -> Sequence[str] | None:
        """The names below `folder` that the hub lists; None for a hub that lists nothing, or was never reached.

        A hub without listings is not asked: its answer would take no request, and tell that a hub which hangs answers.
        """
        if not self._hub.lists:
            return None
        return self._listing("children", folder, lambda: self._hub.children(folder))

    def _listing(self, question: str, folder: str, ask: Callable[[], Sequence[str]]) -> Sequence[str] | None:
        """The hub's listing, else the last one; None if there is none."""
        place = (question, folder)

        def answer() -> Sequence[str]:
            return self._reachability.ask(
                f"the {question} of {self._hub.url}/{folder}", ask, self._settings.listing_patience_s
            )

        try:
            return self._listings.get(place, answer)
        except Cancelled:
            raise
        except HubfsError as error:
            level = logging.DEBUG if isinstance(error, OutOfReach | NotCached) else logging.WARNING
            _log.log(level, "The %s of %s are not known: %s", question, folder or self._hub.url, error)
            return self._listings.last(place)
