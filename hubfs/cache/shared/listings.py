"""What there is of a model on the store, as listings tell: blocks, and who fetches some."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

from cachetools import LRUCache

from hubfs.blobs.store import StoredObject
from hubfs.cache.shared.layout import Place, blocks_folder, parse_run_lease_name, parse_run_name, part_of
from hubfs.cache.shared.store import RestingStore
from hubfs.waiting import Cancellation, SingleFlight

WAIT_S = 60.0
"""The bound for a reader that waits for another one's request; the request itself gives up earlier."""

_ONE_PAGE = 1000
"""Stores list so many objects in one reply: a model with more of them is listed in parts."""


class Found(NamedTuple):
    """What a listing says: by place, the sizes of the objects by mask; and the places that somebody fetches."""

    objects: Mapping[Place, Mapping[int, int]]
    leases: AbstractSet[Place]


def found_in(model: str, listed: Sequence[StoredObject]) -> Found:
    """What so many objects are; names that no daemon writes are left aside."""
    objects: dict[Place, dict[int, int]] = {}
    leases = set[Place]()
    for obj in listed:
        run, lease = parse_run_name(model, obj.name), parse_run_lease_name(model, obj.name)
        if run is not None:
            objects.setdefault(run[0], {})[run[1]] = obj.size_bytes
        if lease is not None:
            leases.add(lease)
    return Found(objects, leases)


@dataclass(frozen=True)
class _Known:
    """What is known of a model, and when it was asked for: as a whole, and since then by parts."""

    listed_s: float
    found: Found
    parts_s: Mapping[str, float]

    def asked_s(self, place: Place | None) -> float:
        return self.listed_s if place is None else self.parts_s.get(part_of(place), self.listed_s)

    def with_part(self, part: str, asked_s: float, found: Found) -> "_Known":
        """The same, but for the objects and leases of a part, which are those of `found`."""
        objects = {place: sizes for place, sizes in self.found.objects.items() if part_of(place) != part}
        leases = {place for place in self.found.leases if part_of(place) != part}
        merged = Found({**objects, **found.objects}, leases | found.leases)
        return replace(self, found=merged, parts_s={**self.parts_s, part: asked_s})


class Listings:
    """What is known of the models on `store`: one request tells for all runs of a model, or for a hundred of many.

    Objects of blocks never change, so an old listing that has the block is good for ever. `_lock` guards every field
    below it, and is held across no I/O.
    """

    def __init__(
        self,
        store: RestingStore,
        cancellation: Cancellation,
        believed_s: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._believed_s = believed_s
        self._timer = timer
        self._asked: SingleFlight[str, Found] = SingleFlight(cancellation, WAIT_S)
        self._lock = threading.Lock()
        self._known: LRUCache[str, _Known] = LRUCache(maxsize=1000)
        self._drops: Counter[str] = Counter()  # by model

    def of(self, model: str, place: Place, enough: Callable[[Found], bool] = lambda _: False) -> Found:
        """What there is at `place`, and around it; believed for a second, or as long as it is `enough`."""
        known = self._fresh(model, place, self._believed_s, enough)
        return self._joined(model, place) if known is None else known

    def look_again(self, model: str, place: Place | None = None, within_s: float = 0.0) -> None:
        """Asks anew for what others have stored of `model`, or around `place`, up to now, or up to `within_s` ago."""
        if within_s <= 0:
            self._ask(model, place, self._part(model, place))  # what another thread asks was asked before
        elif self._fresh(model, place, within_s) is None:
            self._joined(model, place)

    def leased(self, model: str, place: Place) -> bool:
        """Whether somebody fetches blocks of a run, as far as is known. Asks nobody."""
        with self._lock:
            known = self._known.get(model)
            return known is not None and place in known.found.leases

    def note(self, model: str, place: Place, mask: int, size_bytes: int | None) -> None:
        """An object is there now, of that size, or is of no use (None)."""
        with self._lock:
            known = self._known.get(model)
            if known is not None:
                sizes = {other: size for other, size in known.found.objects.get(place, {}).items() if other != mask}
                objects = {**known.found.objects, place: sizes if size_bytes is None else {**sizes, mask: size_bytes}}
                self._known[model] = replace(known, found=known.found._replace(objects=objects))

    def forget(self, model: str) -> None:
        """Forgets what was listed, and what is being listed just now."""
        with self._lock:
            self._drops[model] += 1
            self._known.pop(model, None)

    def _fresh(
        self, model: str, place: Place | None, within_s: float, enough: Callable[[Found], bool] = lambda _: False
    ) -> Found | None:
        with self._lock:
            known = self._known.get(model)
            if known is None:
                return None
            is_fresh = enough(known.found) or self._timer() - known.asked_s(place) < within_s
            return known.found if is_fresh else None

    def _part(self, model: str, place: Place | None) -> str:
        """How the names begin that one reply lists: empty for all of the model."""
        with self._lock:
            known = self._known.get(model)
        return "" if known is None or place is None or len(known.found.objects) < _ONE_PAGE else part_of(place)

    def _joined(self, model: str, place: Place | None) -> Found:
        part = self._part(model, place)
        return self._asked.run(f"{blocks_folder(model)}{part}", lambda: self._ask(model, place, part))

    def _ask(self, model: str, place: Place | None, part: str) -> Found:
        with self._lock:
            drops = self._drops[model]
        asked_s = self._timer()
        found = found_in(model, self._store.list(blocks_folder(model) + part))
        with self._lock:
            known = self._known.get(model)
            if self._drops[model] == drops and (known is None or known.asked_s(place) <= asked_s):
                if not part:
                    self._known[model] = _Known(asked_s, found, {})
                elif known is not None:
                    self._known[model] = known.with_part(part, asked_s, found)
        return found
