"""Asks for models, and where `latest` leads, ahead of a program that walks a hub."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from hubfs.errors import AccessDenied, Cancelled, Damaged, HubfsError, NotFound
from hubfs.model_id import ModelId
from hubfs.models.models import Models
from hubfs.tree.walk import Walk, follow, wanted

_log = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE = 16
"""So many questions are under way at once, and no more threads ask."""

SMALL_BYTES = 4 << 20
"""An archive is read ahead, for what is in it, if it is no larger."""

_REST_S = 60.0
"""A hub that did not answer, or asked for patience, is asked nothing ahead for so long."""

_LINGER_S = 0.2
"""A thread waits for so long for more to ask: a walk has a question every millisecond, and a thread for each costs a
tenth of that."""

_ORDER_S = 60.0
"""A model that is not in the order has the order made anew, after so long."""


class LookAhead(Generic[T]):
    """Is told at what readers look, and asks for what comes next. Never waits, never fails a reader.

    `everything` gives the models, or the names, that exist as far as anybody knows, and asks no hub; a program that
    walks directories looks at them in the order of their paths. `known` says whether one needs no question; `ask` asks,
    and is told whether the walk lists what is inside. A reader's own question waits for none of these: it has a thread
    of its own, and shares the answer to the same question. Threads run while there is something to ask for.

    `_lock` guards every field below it; nobody is asked under it, and no other lock is taken.
    """

    def __init__(
        self,
        everything: Callable[[], Iterable[T]],
        known: Callable[[T], bool],
        ask: Callable[[T, bool], None],
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._everything = everything
        self._known = known
        self._ask_for = ask
        self._timer = timer
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)  # a thread that puts a question into the queue notifies it
        self._order: Sequence[T] = ()
        self._positions: dict[T, int] = {}
        self._ordered_at_s: float | None = None  # when the order was begun to be made last
        self._walks: tuple[Walk, ...] = ()
        self._last: tuple[T | None, bool] = None, False  # what was looked at last; read without the lock
        self._queue: deque[tuple[T, bool]] = deque()
        self._asked: set[T] = set()  # those in the queue, and under way
        self._threads = self._idle = 0
        self._rests_until_s = 0.0

    def looked(self, at: T, *, inside: bool = False) -> None:
        """A reader was told of it; `inside`: and lists what is in it."""
        last, was_inside = self._last
        if at == last and was_inside >= inside:  # another path of the same model: the walk is no further
            return
        with self._lock:
            now_s = self._timer()
            position = self._positions.get(at)
            if position is None:
                if self._ordered_at_s is not None and now_s - self._ordered_at_s < _ORDER_S:
                    return
                self._ordered_at_s = now_s
            elif now_s < self._rests_until_s:
                return
            else:
                *others, walk = follow(self._walks, position, inside=inside)
                ahead = wanted(walk, len(self._order))
                self._last = at, inside
                asked = max(walk.asked, ahead.stop)
                self._walks = (*others, Walk(walk.last, walk.run, asked, inside=walk.inside))
                new = [self._order[place] for place in ahead]
        if position is None:
            with suppress(RuntimeError):  # no thread is left
                threading.Thread(target=self._make_order, name="order of models", daemon=True).start()
            return
        missing = [(one, walk.inside) for one in new if not self._known(one)]
        if not missing:
            return
        with self._lock:
            self._queue.extend(one for one in missing if one[0] not in self._asked)
            self._asked.update(one for one, _ in missing)
            begun = max(0, min(len(self._queue) - self._idle, AT_ONCE - self._threads))
            self._threads += begun
            self._more.notify(len(self._queue))
        for _ in range(begun):
            try:
                threading.Thread(target=self._work, name="look ahead", daemon=True).start()
            except RuntimeError:  # noqa: PERF203 - no thread is left; a later look begins one
                with self._lock:
                    self._threads -= 1

    def _make_order(self) -> None:
        order = sorted({*self._everything()}, key=lambda one: str(one).split("/"))
        with self._lock:
            self._order = order
            self._positions = {one: position for position, one in enumerate(order)}
            self._walks = ()

    def _work(self) -> None:
        while (next_one := self._next()) is not None:
            one, inside = next_one
            try:
                self._ask(one, inside)
            except Exception:  # noqa: BLE001 - nobody else sees what ends this thread, and no reader is harmed
                _log.exception("%s is not asked for ahead", one)
            finally:
                with self._lock:
                    self._asked.discard(one)

    def _next(self) -> tuple[T, bool] | None:
        with self._lock:
            if not self._queue:
                self._idle += 1
                self._more.wait(_LINGER_S)
                self._idle -= 1
            if self._queue and self._timer() >= self._rests_until_s:
                return self._queue.popleft()
            self._asked.difference_update(one for one, _ in self._queue)
            self._queue.clear()
            self._threads -= 1
            return None

    def _ask(self, one: T, inside: bool) -> None:  # noqa: FBT001 - an item of the queue
        try:
            self._ask_for(one, inside)
        except (NotFound, AccessDenied, Damaged) as answer:
            _log.debug("%s, asked for ahead: %s", one, answer)
        except HubfsError as error:
            with self._lock:
                self._rests_until_s = self._timer() + _REST_S
            if not isinstance(error, Cancelled):
                _log.info("%s: nothing is asked ahead for %g s: %s", one, _REST_S, error)


def models_ahead(models: Models, handles: Callable[[], Iterable[ModelId]]) -> LookAhead[ModelId]:
    """Asks for the models into which a program looks next. Small archives that the program lists are read, too."""

    def ask(model: ModelId, inside: bool) -> None:  # noqa: FBT001 - as `LookAhead` calls it
        source = models.get_ahead(model)
        if inside and source.to_come_bytes is not None and 0 < source.to_come_bytes <= SMALL_BYTES:
            source.entries()

    return LookAhead(handles, lambda model: models.found(model) is not None, ask)


def links_ahead(models: Models, handles: Callable[[], Iterable[ModelId]]) -> LookAhead[str]:
    """Asks where `latest` of those names leads which a program reads next: `ls -l` reads the link beside each model."""
    return LookAhead(
        lambda: {model.name for model in handles()},
        models.answers.holds_latest,
        lambda name, _: models.answers.ask_latest_ahead(name),
    )
