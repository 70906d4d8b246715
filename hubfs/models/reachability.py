"""Whether the hub answers, and so who waits for it: nobody who can be served without it, while it does not."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar, cast

from cachetools import TTLCache

from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import Cancelled, HubfsError, NotCached, NotFound, TimedOut, Unavailable
from hubfs.waiting import Cancellation, GaveUp, Remembered, await_result

_log = logging.getLogger(__name__)

_QUESTIONS_KEPT = 10_000

T = TypeVar("T")


class OutOfReach(Unavailable):
    """The hub, or this one question, failed a moment ago, and is not waited for now."""


class Plan(Enum):
    """What to do with a question to which there is another answer."""

    WAIT = "ask, and wait for a while"
    BEHIND = "ask behind the reader's back"
    REST = "do not ask"


@dataclass(frozen=True)
class Outage:
    """Since when (Unix time), why, and until when (by the timer) nobody asks."""

    since_s: float
    error: str
    rests_until_s: float


def plan_of(outage: Outage | None, now_s: float) -> Plan:
    """While an outage lasts nobody waits, and somebody asks each time the rest is over."""
    if outage is None:
        return Plan.WAIT
    return Plan.REST if now_s < outage.rests_until_s else Plan.BEHIND


class Reachability:
    """Asks `hub` for those who have something else to serve, and remembers when it does not answer.

    A connection that fails, or a question that runs out of patience while nothing else is heard of the hub, is an
    outage of the whole hub, which any answer ends; a reply that is an error (403, 500, a damaged document), and a
    question that runs out of patience, is an outage of that question, which its own answer ends. Either rests for
    `rest_s`, then is asked again in a thread of its own, until there is an answer. Who asks must ask the hub: an answer
    that took no request would end an outage. With `offline` no question reaches the hub: each is refused with
    `NotCached`.

    A question is named as messages name what it asks for: "https://hub/google/spice/2".

    `_lock` guards `_outages`, `_outage` and `_heard_s`; nobody is asked under it.
    """

    def __init__(
        self,
        hub: str,
        cancellation: Cancellation,
        *,
        rest_s: float = 10.0,
        offline: bool = False,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._cancellation = cancellation
        self._rest_s = rest_s
        self.offline = offline
        self._timer = timer
        self._lock = threading.Lock()
        # What nobody waited for to the end is there for the next who asks.
        self._questions: Remembered[str, object] = Remembered(
            cancellation, ttl_s=2 * rest_s, timeout_s=0, errors_s={NotFound: 2 * rest_s}, timer=timer
        )
        # An outage that nobody asks about any more is forgotten in the end.
        self._outages: TTLCache[str, Outage] = TTLCache(_QUESTIONS_KEPT, 60 * rest_s, timer)
        self._outage: Outage | None = None
        self._heard_s = timer()

    @property
    def outage(self) -> Outage | None:
        """That of the whole hub."""
        with self._lock:
            return self._outage

    def ask(self, question: str, ask: Callable[[], T], patience_s: float) -> T:
        """What `ask` returns or raises, unless it takes longer than `patience_s`: then it goes on by itself.

        An answer that came after everybody had gone is given to the next who asks. Raises `OutOfReach` at once during
        an outage, `TimedOut` when patience ends, `NotCached`, `Cancelled`.
        """
        self._refuse_offline(question)
        with self._lock:
            begun_s, outage = self._timer(), self._outage or self._outages.get(question)
            plan = plan_of(outage, begun_s)
        asked = self._questions.under_way(question)
        is_here = asked is not None and asked.done()
        if asked is None and plan is not Plan.REST:
            if outage is not None:
                self._postpone(question, outage)
            asked = self._questions.behind(question, lambda: self._watched(question, ask))
        if asked is None or not (is_here or plan is Plan.WAIT):
            raise OutOfReach(outage.error if outage else self._hub)
        try:
            answer = await_result(asked, self._cancellation, patience_s, question)
        except TimedOut:
            if asked.done():
                raise
        except NotFound:
            self._questions.forget(question)
            raise
        except GaveUp:  # it was asked ahead
            return self.ask(question, ask, patience_s)
        else:
            self._questions.forget(question)
            return cast("T", answer)
        raise self._impatient(question, asked, patience_s, begun_s)

    def ask_ahead(self, question: str, ask: Callable[[], object]) -> None:
        """Has `ask` ask in this thread, and keep the answer, for readers who have not asked yet.

        A reader that asks meanwhile waits for this question, with a patience of its own. Raises what `ask` raises;
        `OutOfReach` at once during an outage; `NotCached`.
        """
        self._refuse_offline(question)
        with self._lock:
            outage = self._outage or self._outages.get(question)
        if outage is not None:
            raise OutOfReach(outage.error)
        try:
            self._questions.get(question, lambda: self._watched(question, ask))
        except TimedOut:
            if self._questions.under_way(question) is None:  # else a reader asks already
                raise
        finally:
            self._questions.forget(question)

    @contextmanager
    def watching(self, question: str) -> Iterator[None]:
        """Notes how a question went, inside of it, that somebody waits for to the end. Raises `NotCached`."""
        self._refuse_offline(question)
        try:
            yield
        except (Cancelled, GaveUp):
            raise
        except NotFound:
            self._answered(question)
            raise
        except HubfsError as error:
            whole = isinstance(error, Unavailable | TimedOut) and not isinstance(error, Busy | Permanent)
            self._failed(question, error, whole=whole)
            raise
        self._answered(question)

    def _refuse_offline(self, question: str) -> None:
        if self.offline:
            raise NotCached(
                f"{question} is not cached, and hubfs is mounted with --offline and asks nobody: read it once on a "
                "mount without --offline"
            )

    def _watched(self, question: str, ask: Callable[[], T]) -> T:
        with self.watching(question):
            return ask()

    def _impatient(self, question: str, asked: "Future[object]", patience_s: float, begun_s: float) -> HubfsError:
        error = TimedOut(f"{self._hub} has not answered within {patience_s:g} s; it is not waited for any longer")
        with self._lock:
            under_way, silent = not asked.done(), self._heard_s <= begun_s
            if under_way:  # whatever else the hub answers meanwhile, nobody waits for this a second time
                self._outages[question] = self._outage_after(self._outages.get(question), error)
        if under_way and silent:
            self._failed(question, error, whole=True)
        return error

    def _outage_after(self, before: Outage | None, error: HubfsError) -> Outage:
        since_s = time.time() if before is None else before.since_s
        return Outage(since_s, str(error), self._timer() + self._rest_s)

    def _failed(self, question: str, error: HubfsError, *, whole: bool) -> None:
        with self._lock:
            before = self._outage
            if whole:
                self._outage = self._outage_after(before, error)
            else:
                self._outages[question] = self._outage_after(self._outages.get(question), error)
                self._heard_s = self._timer()
        if whole and before is None:
            _log.info("%s is out of reach: %s; it is asked again every %g s", self._hub, error, self._rest_s)

    def _answered(self, question: str) -> None:
        with self._lock:
            self._heard_s = self._timer()
            over, self._outage = self._outage is not None, None
            self._outages.pop(question, None)
        if over:
            _log.info("%s answers again", self._hub)

    def _postpone(self, question: str, outage: Outage) -> None:
        """One question is on its way: the others rest meanwhile."""
        later = replace(outage, rests_until_s=self._timer() + self._rest_s)
        with self._lock:
            if self._outage is not None:
                self._outage = later
            else:
                self._outages[question] = later
