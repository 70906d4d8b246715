"""A request to the store as it comes along: seen from outside the event loop, and checked before its body is read."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import aiohttp

from hubfs.blobs.gcs.read import Reply
from hubfs.blobs.pace_floor import PaceFloor

_LONGEST_ANSWER_BYTES = 64 << 20
"""A page of a listing has a thousand objects, whose names have a thousand characters at most."""


class OtherBytes(aiohttp.ClientError):
    """A reply that holds other bytes than those that were asked for."""


class BoundedResponse(aiohttp.ClientResponse):
    """A reply whose body must not be longer than what was asked for, since gcsfs reads it whole."""

    async def read(self) -> bytes:
        """As of aiohttp. Raises `OtherBytes` for a body that goes on and on."""
        if self._body is None:
            asked_bytes = _asked_bytes(self)
            limit_bytes = _LONGEST_ANSWER_BYTES if asked_bytes is None else asked_bytes
            body = await start_of(self, limit_bytes + 1)
            if len(body) > limit_bytes:
                raise OtherBytes(f"the store sent more than {limit_bytes} bytes")
            self._body = body
        return await super().read()


async def start_of(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The first `limit_bytes` of the body; whatever follows them is given up, with the connection."""
    parts, came_bytes = [], 0
    try:
        while came_bytes < limit_bytes and (part := await response.content.read(limit_bytes - came_bytes)):
            parts.append(part)
            came_bytes += len(part)
    except BaseException:
        response.close()
        raise
    if not response.content.at_eof() and came_bytes >= limit_bytes:
        response.close()
    return b"".join(parts)


def _asked_bytes(response: aiohttp.ClientResponse) -> int | None:
    """How many bytes were asked for; None if not by a range."""
    first, _, last = response.request_info.headers.get("Range", "").removeprefix("bytes=").partition("-")
    return int(last) - int(first) + 1 if last else None


class Progress:
    """How much has come. Written by the event loop, read by the threads that wait.

    `on_kept_connection`: whether the connection that was used last had brought replies before.
    """

    def __init__(self) -> None:
        self._body: aiohttp.StreamReader | None = None
        self.on_kept_connection = False

    @property
    def begun(self) -> bool:
        """Whether the head of the reply is there."""
        return self._body is not None

    @property
    def received_bytes(self) -> int:
        """How much of the body came so far."""
        return 0 if self._body is None else self._body.total_bytes

    def note(self, response: aiohttp.ClientResponse) -> None:
        """The head is there."""
        self._body = response.content


@dataclass(frozen=True)
class Flight:
    """A request under way."""

    future: "Future[Reply]"
    progress: Progress = field(default_factory=Progress)

    def result(self, silence_s: float, bound_s: float) -> Reply:
        """Waits for the reply.

        Raises what the request raised; `TimeoutError` (of `concurrent.futures` before Python 3.11) when its head takes
        longer than connecting and answering may (`silence_s` each), when its body trickles, or after `bound_s`.
        """
        began_s, floor, came_bytes = monotonic(), PaceFloor(silence_s), 0
        while True:
            waiting_s = monotonic()
            try:
                return self.future.result(max(0.0, min(floor.window_s, began_s + bound_s - waiting_s)))
            except FutureTimeoutError:
                if self.future.done() or monotonic() - began_s >= bound_s:
                    raise
                received_bytes = self.progress.received_bytes
                if self.progress.begun and floor.too_slow(monotonic() - waiting_s, received_bytes - came_bytes):
                    raise
                if not self.progress.begun and monotonic() - began_s >= 2 * silence_s:
                    raise
                came_bytes = received_bytes


_current: ContextVar[Progress] = ContextVar("progress")


def connections_noted() -> aiohttp.TraceConfig:
    """For a session: has the `Progress` of a request know whether its connection is a kept one."""

    def note(*, kept: bool) -> Callable[..., Coroutine[Any, Any, None]]:
        async def noted(*_: object) -> None:
            if progress := _current.get(None):
                progress.on_kept_connection = kept

        return noted

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note(kept=True))
    config.on_connection_create_start.append(note(kept=False))
    return config


async def sent_again(ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The reply to a request that may be sent twice, whatever became of connections that were kept.

    aiohttp sends a request once more, perhaps over another kept connection. A store that was started anew has ended
    them all: each of them may cost one round here, and the first that is made for the request counts.
    """
    while True:
        try:
            return await ask()
        except aiohttp.ClientConnectionError as error:  # noqa: PERF203 - a request costs a thousand times more
            progress = _current.get(None)
            timed_out = isinstance(error, aiohttp.ServerTimeoutError)
            if timed_out or progress is None or progress.begun or not progress.on_kept_connection:
                raise


async def watched(request: Coroutine[Any, Any, Reply], progress: Progress) -> Reply:
    """`request`, whose reply `begin_body` tells `progress` of."""
    _current.set(progress)
    return await request


def begin_body(response: aiohttp.ClientResponse) -> None:
    """Called when the head of a good reply is there. Raises `OtherBytes` if its body is not the range asked for.

    gcsfs reads bodies whole: one of another size has to be refused before that.
    """
    progress = _current.get(None)
    if progress is not None:
        progress.note(response)
    _end_with_the_connection(response)
    wanted = response.request_info.headers.get("Range", "").removeprefix("bytes=")
    size_bytes = _asked_bytes(response)
    if size_bytes is None:
        return
    first = wanted.partition("-")[0]
    sent = response.headers.get("Content-Range")
    if sent is not None and sent.removeprefix("bytes ").partition("/")[0].strip() != wanted:
        raise OtherBytes("the store answered with another range than the one asked for")
    if sent is None and first != "0":
        raise OtherBytes(f"asked for {size_bytes} bytes at {first}, the store answered without a range")
    if response.content_length not in (None, size_bytes):
        raise OtherBytes(f"asked for {size_bytes} bytes at {first}, the store sent {response.content_length}")


def _end_with_the_connection(response: aiohttp.ClientResponse) -> None:
    """Has the body fail when its connection has gone and nothing else ended it.

    aiohttp 3.14.5 closes the connection when what follows a chunk is no chunk, and forgets the body: 45 of 150 readers
    of such bodies waited for the time-out.
    """
    protocol = response.connection and response.connection.protocol
    body, closed = response.content, getattr(protocol, "closed", None)  # older versions of aiohttp have no such future
    if closed is None or body.is_eof():
        return

    def ended(closed: "asyncio.Future[None]") -> None:
        if not closed.cancelled():
            closed.exception()  # what it is does not matter; not looking would have asyncio complain
        if not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))

    def lives_on() -> None:
        closed.remove_done_callback(ended)

    closed.add_done_callback(ended)
    body.on_eof(lives_on)
