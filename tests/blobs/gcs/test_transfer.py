"""How long a request to the store is waited for, and which replies are refused before their bodies are read."""

import asyncio
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hubfs.blobs.gcs.read import Reply
from hubfs.blobs.gcs.transfer import Flight, OtherBytes, Progress, begin_body, watched

SILENCE_S = 0.2
NO_HEADERS: dict[str, str] = {}


def asked(headers: dict[str, str], answer: web.Response) -> None:
    """Asks a real server, which answers so, with `headers`; the reply goes through `begin_body`."""

    async def handle(_: web.Request) -> web.Response:
        return answer

    async def ask() -> None:
        app = web.Application()
        app.router.add_get("/", handle)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession() as session,
            session.get(server.make_url("/"), headers=headers) as response,
        ):
            begin_body(response)

    asyncio.run(ask())


def test_a_request_without_a_reply_is_given_up_after_twice_the_silence() -> None:
    flight = Flight(Future())
    began_s = time.monotonic()
    with pytest.raises(FutureTimeoutError):
        flight.result(SILENCE_S, bound_s=30)
    assert 2 * SILENCE_S <= time.monotonic() - began_s < 20


def test_a_request_is_given_up_at_its_bound() -> None:
    began_s = time.monotonic()
    with pytest.raises(FutureTimeoutError):
        Flight(Future()).result(30, bound_s=0.2)
    assert 0.2 <= time.monotonic() - began_s < 20


def test_what_the_request_raised_comes_out_also_if_it_is_a_time_out() -> None:
    for error in (TimeoutError("its own"), ValueError("another")):
        future: Future[Reply] = Future()
        future.set_exception(error)
        with pytest.raises(type(error), match=str(error)):
            Flight(future).result(10, bound_s=10)


@pytest.mark.parametrize(("piece_bytes", "ends_well"), [(1, False), (2000, True)])
def test_a_body_that_trickles_is_given_up_and_a_slow_one_is_not(piece_bytes: int, *, ends_well: bool) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(48):
            await response.write(b"x" * piece_bytes)
            await asyncio.sleep(0.05)
        return response

    progress = Progress()

    async def ask(url: str) -> Reply:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            begin_body(response)
            return {}, await response.read()

    async def main() -> bytes:
        app = web.Application()
        app.router.add_get("/", handle)
        async with TestServer(app) as server:
            loop = asyncio.get_running_loop()
            future = asyncio.run_coroutine_threadsafe(watched(ask(str(server.make_url("/"))), progress), loop)
            try:
                return (await asyncio.to_thread(Flight(future, progress).result, 1.5, 60.0))[1]
            finally:
                future.cancel()

    if ends_well:
        assert asyncio.run(main()) == b"x" * 48 * piece_bytes
    else:
        with pytest.raises(FutureTimeoutError):
            asyncio.run(main())
    assert progress.begun


@pytest.mark.parametrize(
    ("wanted", "answer"),
    [
        ("5-9", web.Response(status=206, body=b"56789", headers={"Content-Range": "bytes 5-9/20"})),
        ("0-4", web.Response(body=b"01234")),
    ],
    ids=["a range", "the whole, which is the range"],
)
def test_the_range_that_was_asked_for_is_read(wanted: str, answer: web.Response) -> None:
    asked({"Range": f"bytes={wanted}"}, answer)


@pytest.mark.parametrize(
    ("wanted", "answer", "reason"),
    [
        ("5-9", web.Response(status=206, body=b"67890", headers={"Content-Range": "bytes 6-10/20"}), "another range"),
        ("5-9", web.Response(body=b"56789"), "without a range"),
        ("0-4", web.Response(body=b"0123456789"), "the store sent 10"),
    ],
)
def test_other_bytes_are_refused_before_they_are_read(wanted: str, answer: web.Response, reason: str) -> None:
    with pytest.raises(OtherBytes, match=reason):
        asked({"Range": f"bytes={wanted}"}, answer)


def test_a_reply_to_no_range_may_have_any_size() -> None:
    asked(NO_HEADERS, web.Response(body=b"a listing"))
