"""What a client asked hosts for, how that went, and what is under way."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from weakref import WeakSet

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from hubfs.blobs.http.url import redacted
from hubfs.errors import Cancelled
from hubfs.metrics.durations import Durations, Timings

_CLASSES = {2: "ok", 3: "redirect", 5: "failed"}
_RESULTS = {
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "ok",
    HTTPStatus.UNAUTHORIZED: "refused",
    HTTPStatus.FORBIDDEN: "refused",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: "refused",
    HTTPStatus.NOT_FOUND: "missing",
    HTTPStatus.GONE: "missing",
    HTTPStatus.REQUEST_TIMEOUT: "failed",
    HTTPStatus.TOO_MANY_REQUESTS: "limited",
}


def result_of(status: int) -> str:
    """The word for a reply with this status; there are eight."""
    return _RESULTS.get(status) or _CLASSES.get(status // 100, "other")  # type: ignore[call-overload]


def _result_of_error(error: BaseException) -> str:
    if isinstance(error, Cancelled):
        return "cancelled"
    late = isinstance(error, ConnectTimeoutError | ReadTimeoutError) and not isinstance(error, NewConnectionError)
    return "timed_out" if late else "unreachable"


class Body(Protocol):
    """The body of a reply that is being read."""

    url: str
    received_bytes: int
    size_bytes: int | None


@dataclass(frozen=True)
class HttpStats:
    """What a client did so far; redirects count as requests of their own, bytes are those of bodies.

    `results`: how many requests ended how, when the reply's head came or none did. `latency`: how long that took.
    `in_flight`: those that wait for it, and bodies that are being read.
    """

    requests: int
    bytes_received: int
    results: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    latency: Durations = field(default_factory=Durations)

    def __add__(self, other: "HttpStats") -> "HttpStats":
        return HttpStats(
            self.requests + other.requests,
            self.bytes_received + other.bytes_received,
            dict(Counter(self.results) + Counter(other.results)),
            self.in_flight + other.in_flight,
            self.latency + other.latency,
        )


class HttpCounts:
    """Counts for one client. `_lock` guards every field below it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._asking = self._received_bytes = 0
        self._results: Counter[str] = Counter()
        self._latency = Timings()
        self._transfers: WeakSet[Body] = WeakSet()  # one that nobody closes goes all the same

    @contextmanager
    def asking(self) -> Iterator[list[int]]:
        """A request is under way, until its caller has put the reply's status into the list, or has met an error."""
        with self._lock:
            self._requests += 1
            self._asking += 1
        began_s, status = time.monotonic(), list[int]()
        result = "other"
        try:
            yield status
            result = result_of(status[0])
        except BaseException as error:
            result = _result_of_error(error)
            raise
        finally:
            took_s = time.monotonic() - began_s
            with self._lock:
                self._asking -= 1
                self._results[result] += 1
                self._latency.add(took_s)

    def began(self, body: Body) -> None:
        """A body is being read."""
        with self._lock:
            self._transfers.add(body)

    def received(self, size_bytes: int) -> None:
        """So much of a body came."""
        with self._lock:
            self._received_bytes += size_bytes

    def ended(self, body: Body) -> None:
        """It is read, or given up."""
        with self._lock:
            self._transfers.discard(body)

    def stats(self) -> HttpStats:
        """What was asked and received since the start."""
        with self._lock:
            return HttpStats(
                *(self._requests, self._received_bytes, dict(self._results)),
                *(self._asking + len(self._transfers), self._latency.so_far()),
            )

    def under_way(self) -> list[str]:
        """The transfers whose bodies are being read, by URLs without secrets, and how much came of each."""
        with self._lock:
            transfers = [*self._transfers]
        return [f"{redacted(one.url)}: {one.received_bytes} of {one.size_bytes or '?'} bytes" for one in transfers]
