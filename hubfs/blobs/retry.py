"""What is worth asking again, and how long to wait before."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hubfs.blobs.blob import Blob, WrappedBlob
from hubfs.errors import HubfsError, TimedOut, Unavailable
from hubfs.waiting import Cancellation, GaveUp

_log = logging.getLogger(__name__)

T = TypeVar("T")

_asking = threading.local()


@contextmanager
def asking_once() -> Iterator[None]:
    """Within it, this thread asks ahead of readers: `GaveUp` is raised in the place of a second attempt."""
    _asking.once = True
    try:
        yield
    finally:
        _asking.once = False


PROGRESS_BYTES = 64 * 1024
"""What has to come before attempts count anew: more than a trickle brings before it is given up."""


class Permanent(Unavailable):
    """Asking again would get the same answer: a certificate that is not trusted, a redirect loop, a status of 4xx."""


class Busy(Unavailable):
    """The host answered that it cannot answer now. `retry_after_s` is the wait it asked for, if any, in seconds."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LeftAlone(Permanent):
    """The host asked to be left alone for longer than anybody waits."""


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    `attempts` counts the first one, too. A host's own wish (`Retry-After`) is honoured up to `retry_after_cap_s`.
    """

    attempts: int = 5
    base_s: float = 0.2
    cap_s: float = 5.0
    retry_after_cap_s: float = 30.0

    def delay_s(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait after the failure of attempt number `attempt` (from 1); `random` gives [0, 1)."""
        doublings = min(attempt - 1, 60)  # beyond that the cap has long been reached, and floats end somewhere
        return random() * min(self.cap_s, self.base_s * 2.0**doublings)


class Retries:
    """The attempts of one task: counts failures and waits between them. For one thread.

    A host that brings a few bytes and fails, over and over, makes no progress that would count.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        cancellation: Cancellation,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._cancellation = cancellation
        self._random = random
        self._failures = 0
        self._came_bytes = 0

    def progress(self, size_bytes: int) -> None:
        """So many bytes came: once there are enough of them, the count starts anew."""
        self._came_bytes += size_bytes
        if self._came_bytes >= PROGRESS_BYTES:
            self._failures = self._came_bytes = 0

    def wait_after(self, error: HubfsError) -> None:
        """Waits before the next attempt. Raises `error` if it is not worth one, `GaveUp`, `Cancelled` on cancel."""
        self._failures += 1
        self._came_bytes = 0
        if (
            not isinstance(error, TimedOut | Unavailable)
            or isinstance(error, Permanent)
            or self._failures >= self._policy.attempts
        ):
            raise error
        if getattr(_asking, "once", False):
            raise GaveUp(str(error)) from error
        delay_s = self._policy.delay_s(self._failures, self._random)
        if isinstance(error, Busy) and error.retry_after_s is not None:
            delay_s = max(delay_s, min(error.retry_after_s, self._policy.retry_after_cap_s))
        _log.info("%s; asking again in %.1f s", error, delay_s)
        self._cancellation.sleep(delay_s)


def retrying(attempt: Callable[[], T], policy: RetryPolicy, cancellation: Cancellation) -> T:
    """The result of `attempt`, asked again as `policy` says when it raises `TimedOut` or `Unavailable`."""
    retries = Retries(policy, cancellation)
    while True:
        try:
            return attempt()
        except (TimedOut, Unavailable) as error:  # noqa: PERF203 - a request costs a thousand times more
            retries.wait_after(error)


_LONGEST_PAUSE_S = 3600.0


class Pause:
    """Until when a host is left alone that says "too many requests" (429): nobody asks it anything.

    It is for as long as the host says, an hour at most; where it does not say, for the delay of `policy`, which grows
    with each refusal in a row. Short pauses are waited for, as `retrying` waits; longer ones are an error at once.

    `_lock` guards `_refusals`, `_until_s` and `_said`.
    """

    def __init__(self, policy: RetryPolicy, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._timer = timer
        self._lock = threading.Lock()
        self._refusals = 0
        self._until_s = -math.inf
        self._said = ""

    def check(self) -> None:
        """Raises `Busy` while the host is left alone, and `LeftAlone` if that is for too long to wait for."""
        with self._lock:
            left_s, said = self._until_s - self._timer(), self._said
        if left_s > 0:
            raise self._error(said, left_s)

    def begin(self, said: str, retry_after_s: float | None) -> Unavailable:
        """The host refused with the message `said`, and its wish, if any, in seconds. Returns what `check` raises."""
        with self._lock:
            self._refusals += 1
            wish_s = self._policy.delay_s(self._refusals, lambda: 1.0) if retry_after_s is None else retry_after_s
            left_s = min(wish_s, _LONGEST_PAUSE_S)
            self._until_s, self._said = self._timer() + left_s, said
        return self._error(said, left_s)

    def end(self) -> None:
        """The host answered something else: a pause goes on, and the next one is as short as the first."""
        with self._lock:
            self._refusals = 0

    def _error(self, said: str, left_s: float) -> Unavailable:
        if left_s <= self._policy.retry_after_cap_s:
            return Busy(said, left_s)
        again = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + left_s))
        return LeftAlone(f"{said}; its host asks to be left alone, and is asked again after {again} UTC")


_SHARED_S = 1.0


@dataclass(frozen=True)
class _Failure:
    """What a read of `[start_bytes, end_bytes)` ended with; until `until_s` it does for reads of the same bytes."""

    start_bytes: int
    end_bytes: int
    error: HubfsError
    until_s: float


class RetryingBlob(WrappedBlob):
    """`blob`, with reads that failed for a passing reason asked again.

    Once the attempts are used up, their error is the answer for a second to readers of the same bytes. The kernel
    lets those who do ask one at a time, and asks again itself where reading ahead failed: each would wait for all the
    attempts, one after the other. There is no lock: `_failure` is only ever replaced.
    """

    def __init__(
        self,
        blob: Blob,
        policy: RetryPolicy,
        cancellation: Cancellation,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(blob)
        self._policy = policy
        self._cancellation = cancellation
        self._timer = timer
        self._failure: _Failure | None = None

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. Raises the last error once the attempts are used up."""
        failure, end_bytes = self._failure, offset_bytes + size_bytes
        if (
            failure is not None
            and failure.start_bytes <= offset_bytes <= end_bytes <= failure.end_bytes
            and self._timer() < failure.until_s
        ):
            self._cancellation.check()
            raise failure.error.with_traceback(None)  # raised again and again, it would keep every frame it passed
        try:
            return retrying(lambda: self._blob.read_at(offset_bytes, size_bytes), self._policy, self._cancellation)
        except (TimedOut, Unavailable) as error:
            self._failure = _Failure(offset_bytes, end_bytes, error, self._timer() + _SHARED_S)
            raise
