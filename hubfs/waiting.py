"""Waits: one signal that ends them all when the mount goes away; callers that share one answer; answers that hold."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar, cast

from cachetools import LRUCache

from hubfs.errors import Cancelled, Ordinary, TimedOut

_log = logging.getLogger(__name__)

_NOTICED_WITHIN_S = 0.25
"""How long `Cancellation.wait_for` sleeps before it looks again."""


class GaveUp(Ordinary):
    """A question that was asked ahead of readers failed once. No reader meets this: it asks anew."""


class Cancellation:
    """A flag that is set once, and that every wait of the daemon watches.

    `on_cancel` callbacks run once, in the thread that cancels (at once, when it is cancelled already); they must
    not block. `_lock` guards `_callbacks`; it is taken last and held for no call of foreign code.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def cancelled(self) -> bool:
        """True from the call of `cancel` on."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ends every wait; calling it again does nothing."""
        with self._lock:
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            _run(callback)

    def check(self) -> None:
        """Raises `Cancelled` once `cancel` was called."""
        if self._event.is_set():
            raise Cancelled("the hub is being unmounted")

    def sleep(self, seconds_s: float) -> None:
        """Sleeps; raises `Cancelled` as soon as `cancel` is called."""
        if self._event.wait(seconds_s):
            self.check()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Registers `callback` to run on cancel. Returns the function that takes it back."""
        token = object()
        with self._lock:
            if not self._event.is_set():
                self._callbacks[token] = callback
                return lambda: self._forget(token)
        callback()
        return lambda: None

    def _forget(self, token: object) -> None:
        with self._lock:
            self._callbacks.pop(token, None)

    def wait_for(
        self, condition: threading.Condition, predicate: Callable[[], bool], timeout_s: float, what: str
    ) -> None:
        """Waits on `condition` (held by the caller) until `predicate()`.

        Raises `TimedOut` naming `what` after `timeout_s` seconds, `Cancelled` on cancel. A cancel is noticed within
        a quarter of a second: `Condition` cannot wait for two things, and a wake-up four times a second costs nothing
        measurable beside the network that is being waited for.
        """
        deadline_s = time.monotonic() + timeout_s
        while not predicate():
            self.check()
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise TimedOut(f"waited {timeout_s:g} s for {what}")
            condition.wait(min(remaining_s, _NOTICED_WITHIN_S))


def _run(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # noqa: BLE001 - whatever it is, the other callbacks end waits, too
        _log.exception("A callback of a cancel failed; the others run")


K = TypeVar("K")
V = TypeVar("V")


def await_result(future: "Future[V]", cancellation: Cancellation, timeout_s: float, what: str) -> V:
    """The future's result, or what it raised.

    Raises `TimedOut` naming `what` after `timeout_s` seconds, `Cancelled` within a quarter of a second of a cancel.
    """
    deadline_s = monotonic() + timeout_s
    while True:
        cancellation.check()
        try:
            return future.result(timeout=max(0.0, min(0.25, deadline_s - monotonic())))
        except FutureTimeoutError:
            # From Python 3.11 on this is the built-in TimeoutError, which the work itself may have raised, too.
            if future.done():
                return future.result()
            if monotonic() >= deadline_s:
                raise TimedOut(f"waited {timeout_s:g} s for {what}") from None


class SingleFlight(Generic[K, V]):
    """Runs at most one `work` per key at a time.

    `_lock` guards `_flights`; it is never held while work runs or a caller waits.
    """

    def __init__(self, cancellation: Cancellation, timeout_s: float) -> None:
        self._cancellation = cancellation
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def run(self, key: K, work: Callable[[], V]) -> V:
        """The result of `work`, run here, or by the caller who came first with this key, who is waited for.

        Everybody gets what the work returned or raised; a caller that waits for work that raises `GaveUp` begins anew.
        Raises `TimedOut` and `Cancelled` to those who wait.
        """
        while True:
            flight, mine = self._claim(key)
            if mine:
                self._fly(key, work, flight)
                return flight.result()
            with suppress(GaveUp):
                return await_result(flight, self._cancellation, self._timeout_s, str(key))

    def behind(self, key: K, work: Callable[[], V]) -> "Future[V]":
        """The flight of `key`, which goes on without its caller: begun in a thread of its own, unless there is one."""
        flight, mine = self._claim(key)
        if mine:
            try:
                # Not a pool: the interpreter would wait for its threads, and for their connections, when it ends.
                threading.Thread(target=self._fly, args=(key, work, flight), name=f"ask {key}", daemon=True).start()
            except RuntimeError:  # no thread left
                self._fly(key, work, flight)
        return flight

    def flight(self, key: K) -> "Future[V] | None":
        """The flight of `key`, if there is one."""
        with self._lock:
            return self._flights.get(key)

    def _claim(self, key: K) -> "tuple[Future[V], bool]":
        """The flight of `key`, and whether the caller has to fly it."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            mine = self._flights[key] = Future()
            return mine, True

    def _fly(self, key: K, work: Callable[[], V], flight: "Future[V]") -> None:
        try:
            try:
                result = work()
            finally:
                with self._lock:  # before anybody hears of it, so that the next try begins anew
                    del self._flights[key]
            flight.set_result(result)
        except BaseException as error:  # noqa: BLE001 - whatever happened belongs to all who wait
            flight.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Answer(Generic[V]):
    """`error` is the answer if there is one, else `value`; it holds until `until_s`, by the timer."""

    value: V | None
    error: Exception | None
    until_s: float


class Remembered(Generic[K, V]):
    """Answers that hold for a while: each question is asked by one caller at a time, and once in `ttl_s`.

    An error of a class in `errors_s` ("no such model") is an answer, too, and holds for so many seconds, by the first
    class that fits; other errors are not kept.
    Of at most `most` questions answers are kept. With `keep_last` the last value of each stays for callers who can do
    with an old one (`last`). `timeout_s` bounds the wait for another caller's question.

    `_lock` guards `_answers` and `_last`; it is taken last, and nobody is asked under it.
    """

    def __init__(
        self,
        cancellation: Cancellation,
        *,
        ttl_s: float,
        timeout_s: float,
        most: int = 10_000,
        errors_s: Mapping[type[Exception], float] | None = None,
        keep_last: bool = False,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._errors_s = errors_s or {}
        self._keeps_last = keep_last
        self._flights: SingleFlight[K, V] = SingleFlight(cancellation, timeout_s)
        self._lock = threading.Lock()
        self._most = most
        self._timer = timer
        # cachetools' caches that know time make twelve calls for a look, and a walk looks several times a directory.
        self._answers: OrderedDict[K, _Answer[V]] = OrderedDict()  # what was asked for last is at the end
        self._last: LRUCache[K, V] = LRUCache(most)

    def get(self, key: K, ask: Callable[[], V]) -> V:
        """The answer that holds, else what `ask` returns or raises. Raises `TimedOut` and `Cancelled` to who waits."""
        known = self._holding(key)
        return self._flights.run(key, lambda: self._ask(key, ask)) if known is None else _given(known)

    def behind(self, key: K, ask: Callable[[], V]) -> "Future[V]":
        """The answer that holds, else the one that is on its way; `ask` runs in a thread of its own."""
        known = self._holding(key)
        if known is None:
            return self._flights.behind(key, lambda: self._ask(key, ask))
        return _landed(known)

    def under_way(self, key: K) -> "Future[V] | None":
        """The answer that holds, or is on its way; None where there is neither. Asks nobody."""
        flight = self._flights.flight(key)  # first: an answer is kept before its flight ends
        known = self._holding(key)
        return flight if known is None else _landed(known)

    def keep(self, key: K, value: V) -> None:
        """An answer that came otherwise."""
        with self._lock:
            self._put(key, value, None, self._ttl_s)
            if self._keeps_last:
                self._last[key] = value

    def forget(self, key: K) -> None:
        """The next caller asks."""
        with self._lock:
            self._answers.pop(key, None)

    def last(self, key: K) -> V | None:
        """The last answer that was no error, however old; None where there is none."""
        with self._lock:
            return self._last.get(key)

    def _holding(self, key: K) -> "_Answer[V] | None":
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or self._timer() >= answer.until_s:
                return None
            self._answers.move_to_end(key)
            return answer

    def _put(self, key: K, value: V | None, error: Exception | None, ttl_s: float) -> None:
        """In the place of what holds no longer, and of what was asked for longest ago. Held: `_lock`."""
        now_s, answers = self._timer(), self._answers
        answers[key] = _Answer(value, error, now_s + ttl_s)
        answers.move_to_end(key)
        while len(answers) > self._most or next(iter(answers.values())).until_s < now_s:
            answers.popitem(last=False)

    def _ask(self, key: K, ask: Callable[[], V]) -> V:
        known = self._holding(key)  # another flight may have landed since the caller looked
        if known is not None:
            return _given(known)
        try:
            value = ask()
        except tuple(self._errors_s) as error:
            ttl_s = next(ttl_s for kind, ttl_s in self._errors_s.items() if isinstance(error, kind))
            with self._lock:
                self._put(key, None, error, ttl_s)
            raise
        self.keep(key, value)
        return value


def _given(answer: _Answer[V]) -> V:
    if answer.error is not None:
        raise answer.error.with_traceback(None)  # raised again and again, it would keep every frame that it passed
    return cast("V", answer.value)


def _landed(answer: _Answer[V]) -> "Future[V]":
    future: Future[V] = Future()
    if answer.error is not None:
        future.set_exception(answer.error.with_traceback(None))
    else:
        future.set_result(cast("V", answer.value))
    return future
