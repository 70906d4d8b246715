"""The faults of the table in docs/SEMANTICS.md, by the names that they have there: what each does to a hosted model."""

import gzip
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.support.fault_proxy import (
    FaultProxy,
    Injected,
    Meddler,
    Signatures,
    another_range,
    anything,
    endless_header,
    for_bytes,
    garbage,
    ignoring_ranges,
    slow_header,
)
from tests.support.http_origin import (
    Answer,
    Fault,
    Request,
    Route,
    cut,
    flip,
    paced,
    redirect,
    stall,
    stall_first,
    status,
    wire,
)

_PAGE = b"<!doctype html><html><body>Please log in to this network.</body></html>"


@dataclass
class Stage:
    """A model in one hosting form behind a proxy, and what is done to it. `files` are what readers must get.

    `prepare` makes other content, and returns what hosts it in the place of the old, and returns it.
    """

    proxy: FaultProxy
    handle: str
    form: str
    files: Mapping[str, bytes]
    prepare: Callable[["Stage"], Callable[[], Mapping[str, bytes]]]
    noise: random.Random
    faults: list[Injected] = field(default_factory=list)

    def inject(self, fault: Fault, *, times: int | None = None, when: Callable[[Request], bool] = anything) -> None:
        self.faults.append(self.proxy.inject(self.handle, fault, times=times, when=when))

    def meddle(self, meddler: Meddler, *, times: int | None = None, when: Callable[[Request], bool] = anything) -> None:
        self.faults.append(self.proxy.meddle(self.handle, meddler, times=times, when=when))

    def lift(self) -> None:
        for fault in self.faults:
            fault.lift()

    @property
    def injected(self) -> int:
        return sum(fault.injected for fault in self.faults)

    def somewhere(self, most: int) -> int:
        return self.noise.randrange(most // 2, most)


Case = Callable[[Stage], None]


def _always(make: Callable[[Stage], Fault], when: Callable[[Request], bool] = anything) -> Case:
    return lambda stage: stage.inject(make(stage), when=when)


def _instead(
    make: Callable[[Stage], Fault], when: Callable[[Request], bool] = anything, times: int | None = None
) -> Case:
    """For what has nothing of the true answer in it: the server behind, which may be slow, is not asked."""

    def begin(stage: Stage) -> None:
        stage.meddle(lambda _, __: make(stage)(Answer(200, {}, b"")), when=when, times=times)

    return begin


def _times(times: int, make: Callable[[Stage], Fault], when: Callable[[Request], bool] = anything) -> Case:
    return lambda stage: stage.inject(make(stage), times=times, when=when)


def _signed_urls_that_expire(stage: Stage) -> None:
    signatures = Signatures()

    def meddle(request: Request, forward: Route) -> Answer:
        if for_bytes(request) and signatures.refused == 0:
            signatures.expire()
        return signatures(request, forward)

    stage.meddle(meddle)


def _replaced_in_mid_read(stage: Stage) -> None:
    """The first transfer breaks, and what follows is another object."""
    swap = stage.prepare(stage)

    def meddle(request: Request, forward: Route) -> Answer:
        answer = forward(request)
        stage.files = swap()
        return replace(answer, cut_after=min(200_000, len(answer.body) // 2))

    stage.meddle(meddle, times=1, when=_large)


def _large(request: Request) -> bool:
    """Not the small file that lies beside the large one in a bucket."""
    return for_bytes(request) and "saved_model.pb" not in request.path


def _ranges_ignored_after_the_first(stage: Stage) -> None:
    passed: list[Request] = []

    def meddle(request: Request, forward: Route) -> Answer:
        passed.append(request)
        # A piece that is cut, so that there is something left to ask for by a range.
        return replace(forward(request), cut_after=300_000) if len(passed) == 1 else ignoring_ranges(request, forward)

    stage.meddle(meddle, when=_large)


def _announced(part: float) -> Fault:
    """The announced length is another than that of the body."""

    def wrong(answer: Answer) -> Answer:
        size_bytes = max(1, int(len(answer.body) * part))
        if size_bytes == len(answer.body):
            return answer  # a single byte: ending the connection behind it would be another fault
        return replace(
            answer, headers={**answer.headers, "Content-Length": str(size_bytes)}, cut_after=len(answer.body)
        )

    return wrong


def _compressed_on_the_way(answer: Answer) -> Answer:
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "etag"}
    return replace(answer, headers={**headers, "Content-Encoding": "gzip"}, body=gzip.compress(answer.body, 1))


def _page(answer: Answer) -> Answer:
    return Answer(200, {"Content-Type": "text/html"}, _PAGE)


def _in_a_circle(request: Request, _: Route) -> Answer:
    return Answer(302, {"Location": f"{request.path}?{request.query}"})


CASES: Mapping[str, Case] = {
    "connections are reset, twice": _times(2, lambda stage: cut(stage.somewhere(200_000), reset=True), for_bytes),
    "every connection is reset after 100 kB": _always(lambda _: cut(100_000, reset=True), for_bytes),
    "every connection is reset after 1 kB": _always(lambda _: cut(1000, reset=True), for_bytes),
    "silence before a reply, once": _times(1, lambda _: stall_first(), for_bytes),
    "silence before every reply": _always(lambda _: stall_first()),
    "silence in mid-body, once": _times(1, lambda stage: stall(stage.somewhere(100_000)), for_bytes),
    "silence in mid-body, every time": _always(lambda stage: stall(stage.somewhere(20_000)), for_bytes),
    "a byte now and then": _always(lambda _: paced(8, piece_bytes=1), for_bytes),
    "headers a byte now and then": _instead(lambda _: lambda answer: replace(answer, wire=slow_header())),
    "429 with Retry-After, twice": _instead(lambda _: status(429, {"Retry-After": "0"}), times=2),
    "503 with Retry-After, twice": _instead(lambda _: status(503, {"Retry-After": "0"}), for_bytes, times=2),
    "503 with a Retry-After of a day": _instead(lambda _: status(503, {"Retry-After": "86400"})),
    "500 in a burst of three": _instead(lambda _: status(500), for_bytes, times=3),
    "500 every time": _instead(lambda _: status(500), for_bytes),
    "403, since a signed URL expired": _signed_urls_that_expire,
    "403 every time": _instead(lambda _: status(403)),
    "403 every time, from the first byte on": _instead(lambda _: status(403), for_bytes),
    "404 every time, from the first byte on": _instead(lambda _: status(404), for_bytes),
    "Content-Length too large": _always(lambda _: _announced(1.25), for_bytes),
    "Content-Length too small": _always(lambda _: _announced(0.75), for_bytes),
    "bodies that are cut in good order, twice": _times(2, lambda stage: cut(stage.somewhere(200_000)), for_bytes),
    "every body cut in good order after 1 kB": _always(lambda _: cut(1000), for_bytes),
    "a page of HTML in the place of the model": _instead(lambda _: _page),
    "a page of HTML in the place of bytes": _instead(lambda _: _page, for_bytes),
    "the origin replaces the model in mid-read": _replaced_in_mid_read,
    "a flipped bit": _always(
        # In the large file, wherever that is: behind the small one in an archive.
        lambda stage: (
            lambda answer: (
                flip(len(answer.body) // 2)(answer) if answer.status == 206 and len(answer.body) > 600_000 else answer
            )
        ),
        for_bytes,
    ),
    "a redirect to a host that does not exist": _always(
        lambda _: lambda answer: redirect("http://nowhere.invalid/model")(Request("", "", {}))
    ),
    "redirects in a circle": lambda stage: stage.meddle(_in_a_circle),
    "ranges are ignored from the second request on": _ranges_ignored_after_the_first,
    "another range than the one asked for": lambda stage: stage.meddle(another_range, when=for_bytes),
    "garbage in the place of a status line": _instead(lambda stage: wire(garbage(stage.noise.random())), for_bytes),
    "garbage in the place of headers": _instead(
        lambda stage: wire(b"HTTP/1.1 200 OK\r\n", garbage(stage.noise.random())), for_bytes
    ),
    "headers without an end": _instead(lambda _: lambda answer: replace(answer, wire=endless_header())),
    "chunks that are none": _instead(
        lambda stage: wire(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n", garbage(stage.noise.random(), 100_000)
        ),
        for_bytes,
    ),
    "gzip that was not asked for": _always(lambda _: _compressed_on_the_way, for_bytes),
}
"""`connections are refused` is not among them: it is done to the proxy, and so to every model behind it."""
