"""What came of the ways to a hub's models so far: which rest, and what each answered last."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from hubfs.errors import HubfsError
from hubfs.hubs.hub import WayTold
from hubfs.hubs.tfhub.ways import REST_S, Way, rests_after
from hubfs.model_id import ModelId

_MODELS_KEPT = 10_000


@dataclass(frozen=True)
class _Rest:
    error: HubfsError
    until_s: float


class Tried:
    """Remembers what the ways did; see the rules in `hubfs.hubs.tfhub.ways`.

    `_lock` guards `_rests`, `_answered` and `_found`; nobody is asked under it.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic, clock: Callable[[], float] = time.time) -> None:
        self._timer = timer
        self._clock = clock
        self._lock = threading.Lock()
        self._rests: dict[Way, _Rest] = {}
        self._answered: dict[Way, tuple[str, float]] = {}  # what was asked for, and when (Unix time)
        self._found: LRUCache[ModelId, Way] = LRUCache(_MODELS_KEPT)

    def resting(self, ways: Sequence[Way]) -> dict[Way, HubfsError]:
        """Those of `ways` that are not to be asked now, with their answers: never all of them."""
        with self._lock:
            rests = {way: rest for way in ways if (rest := self._current(way)) is not None}
        if len(rests) == len(ways):
            del rests[min(rests, key=lambda way: rests[way].until_s)]
        return {way: type(rest.error)(f"{rest.error} (asked again after {REST_S:g} s)") for way, rest in rests.items()}

    def failed(self, way: Way, error: HubfsError) -> None:
        """A way has answered with an error, or has not answered."""
        with self._lock:
            if rests_after(error):
                self._rests[way] = _Rest(error, self._timer() + REST_S)
            else:
                self._rests.pop(way, None)

    def answered(self, way: Way, what: str) -> None:
        """A way has answered a question about `what`, a model or a name."""
        with self._lock:
            self._rests.pop(way, None)
            self._answered[way] = (what, self._clock())

    def found(self, model: ModelId, way: Way) -> None:
        """The model is read by this way."""
        with self._lock:
            self._found[model] = way

    def way_of(self, model: ModelId) -> Way | None:
        """The way by which a model was found that is read now; None where that is not known."""
        with self._lock:
            return self._found.get(model)

    def told(self, urls: Mapping[Way, str]) -> list[WayTold]:
        """What the status says of the ways to `urls`, in their order."""
        with self._lock:
            rests = {way: self._current(way) for way in urls}
            answered = dict(self._answered)
        told = []
        for way, url in urls.items():
            rest, (what, at_s) = rests[way], answered.get(way, (None, None))
            told.append(WayTold(way.value, url, None if rest is None else str(rest.error), what, at_s))
        return told

    def _current(self, way: Way) -> _Rest | None:
        """Held: `_lock`."""
        rest = self._rests.get(way)
        return None if rest is None or rest.until_s <= self._timer() else rest
