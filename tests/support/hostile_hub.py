"""A hub that wants to stop its readers, and to learn their secrets: every reply is chosen at random; one model is good.

It plays what issue 11 names: texts that expressions choke on (1), models that it does not have (2: somebody else may
have planted them), redirects to hosts of netrc (3) and to hosts with certificates of nobody (4); and what of that kind
comes with it: heads, catalogues, JSON, archives, indexes, silence.
"""

import random
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.archives import END_MARKER, gnu_long_name, gzipped, member, model_files, pax, pax_record, tar_of
from tests.support.certificates import self_signed
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

GOOD = "good/model/1"
MISSING = "planted/model/1"
"""A model that the hub does not have."""

UNITS = (
    "a-",
    "?",
    "a.",
    " ",
    "\t",
    "x://",
    "x://a@",
    "a?b",
    ';rel="',
    " hubfs-index",
    "gs://a/",
    "../",
    "%2e",
    "\x1b[2J",
    "<",
    '"',
)
LONGEST = 60_000


class HostileHub:
    """The hub, the host that netrc has a password for, and the one that nobody vouches for.

    `_lock` guards `_dice` and `played`, which counts the replies by what they were.
    """

    def __init__(self, origin: HttpOrigin, in_netrc: HttpOrigin, untrusted: HttpOrigin, seed: int) -> None:
        self.origin = origin
        self.in_netrc = in_netrc
        self.untrusted = untrusted
        self.played: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self.origin.url

    def answer(self, request: Request) -> Answer:
        """What it says this time."""
        with self._lock:
            dice = random.Random(self._dice.random())
            likely = [name for name, words in _LIKELY.items() if any(word in request.path for word in words)]
            name = dice.choice(likely) if likely and dice.random() < 0.5 else dice.choice([*PLAYS])
            self.played[name] += 1
        return PLAYS[name](self, dice, request.path)

    def secrets_told(self) -> list[Request]:
        """Requests that brought a password to a host that it is not for: to any, for none of them has one."""
        asked = (*self.origin.requests, *self.in_netrc.requests, *self.untrusted.requests)
        return [request for request in asked if "authorization" in request.headers]


Play = Callable[[HostileHub, random.Random, str], Answer]


def _unending(dice: random.Random, most: int = LONGEST) -> str:
    unit = dice.choice([*UNITS, "a-", "a-", "a-", "?", "?"])  # more often what once was the worst
    return unit * (dice.choice([200, 7000, 15_000, most, most]) // len(unit))


def _header(name: str, start: str = "") -> Play:
    def play(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
        text = (start + _unending(dice)).replace("\x1b", "\x7f")
        status = dice.choice([200, 206, 302, 303, 404, 429, 503])
        return Answer(status, {name: text}, b"hello" * dice.choice([0, 1, 200]))

    return play


def _many_headers(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    name = dice.choice(["Link", "X"])
    lines = dice.choice([90, 99, 300])
    return Answer(200, {f"{name}-{line}": "a;" * 300 for line in range(lines)}, b"hello")


def _cookies(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    line = f"Set-Cookie: {dice.choice(['a,', 'a;', 'a=b; expires=', ' ']) * 7000}\r\n"
    return _raw(f"HTTP/1.1 200 OK\r\n{line * 60}Content-Length: 5\r\n\r\nhello".encode())


def _interim(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    last = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    return _raw(b"HTTP/1.1 100 Continue\r\n\r\n" * dice.choice([10, 100_000]) + last)


def _reason(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    status = dice.choice(["HTTP/1.1 200", "HTTP/1.1 503", "HTTP/9.9 200", "SMTP"])
    return _raw(f"{status} {_unending(dice)}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))


def _no_http(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    return _raw(_unending(dice, 500_000).encode("latin-1"))


def _to_netrc(hub: HostileHub, dice: random.Random, path: str) -> Answer:
    user = dice.choice(["", "you@"])
    return Answer(dice.choice([301, 302, 307, 308]), {"Location": f"http://{user}{hub.in_netrc.host}{path}"})


def _to_tls(hub: HostileHub, dice: random.Random, path: str) -> Answer:
    return Answer(dice.choice([302, 308]), {"Location": f"{hub.untrusted.url}{path}"})


def _to_nowhere(hub: HostileHub, dice: random.Random, path: str) -> Answer:
    places = (
        *(hub.url + path, "file:///etc/passwd", "http://169.254.169.254/latest", "http://[::1", "//", "http://a\\@b/"),
        *(
            "http://" + "\u0301\u0316" * 2000,
            "http://" + "a." * 4000,
            f"{hub.url}/{'../' * 2500}",
            "gs://" + "a" * 9000,
        ),
    )
    location = dice.choice(places).encode().decode("latin-1")
    return Answer(dice.choice([301, 302, 303, 308]), {"Location": location})


def _gs_text(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    text = dice.choice(["gs://a/" * 9000, "gs://aa/" + "a/" * 30_000, "gs://" + "a." * 30_000, "gs://" * 12_000])
    return Answer(303, {}, text.encode())


def _json(_hub: HostileHub, dice: random.Random, path: str) -> Answer:
    many = dice.choice([10_000, 400_000, 8 << 20])
    unit = dice.choice(["[", "[],", "{},", '{"a":', "1,", '"a",', "\\n"])
    start = dice.choice(["", "[", '{"weightsManifest": [{"paths": [', '{"kind": "Module", "handle": ["', '{"kind": "'])
    body = start + unit * (many // len(unit)) + dice.choice(["", "]", '"}', "]}]}\n"])
    return Answer(200, {"ETag": f'"{dice.random()}"', "Content-Type": "application/json"}, body.encode())


def _catalogue(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    kind = f'{{"kind": "{_unending(dice, 120_000)}", "handle": "a/b/1"}}\n'.replace("\x1b", " ")
    many = "".join(f"Module\tp{number % 99}/name-{number}/1\n" for number in range(dice.choice([10, 3000, 250_000])))
    deep = "".join(f"Module\tp/{'/'.join(['a' * 250] * 30)}/{number}\n" for number in range(1000))
    members = '{"kind": "Collection", "handle": "a/collection/b", "members": ["a/b"' + ', "a/b"' * 100_000 + "]}\n"
    body = dice.choice([kind, many, many, deep, members, "\n" * (4 << 20), "\xff", f"Module\t{_unending(dice)}\n"])
    return Answer(200, {"ETag": f'"{dice.random()}"'}, body.encode("latin-1" if body == "\xff" else "utf-8"))


def _archive(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    files = model_files(dice.randrange(1000))
    tar = dice.choice(
        [
            lambda: tar_of(files),
            lambda: pax(b"".join(pax_record(b"a%d" % number, b"b" * 100) for number in range(600))) + END_MARKER,
            lambda: gnu_long_name(b"a/" * 100_000) + member(b"a") + END_MARKER,
            lambda: b"".join(member(b"d/%d" % number) for number in range(20_000)) + END_MARKER,
            lambda: member(_unending(dice, 99)[:99].encode("latin-1")) + END_MARKER,
            lambda: member(b"zeros", bytes(20 << 20)) + END_MARKER,
            lambda: member(b"a", kind=tarfile.SYMTYPE) + END_MARKER,
            lambda: dice.randbytes(5000),
        ]
    )()
    body = dice.choice([lambda: gzipped(tar), lambda: gzipped(tar, name=b"a" * 250_000), lambda: tar])()
    headers = {"Content-Type": "application/gzip"} | ({"ETag": f'"{dice.random()}"'} if dice.random() < 0.5 else {})
    return Answer(200, headers, body[: dice.choice([len(body), len(body) // 2])])


def _index(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    link = f'<{_unending(dice, 9000)}>; rel="{" hubfs-index" * 500}'.replace("\x1b", " ")
    return Answer(200, {"Link": link, "ETag": '"1"', "Accept-Ranges": "bytes"}, gzipped(b"a"))


def _page(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    return Answer(dice.choice([200, 404, 503]), {"Content-Type": "text/html"}, b"<html>" * dice.choice([1, 50_000]))


def _silence(_hub: HostileHub, dice: random.Random, _path: str) -> Answer:
    return Answer(200, {}, bytes(100_000), stall_first=dice.random() < 0.5, stall_after=100)


def _raw(reply: bytes) -> Answer:
    return Answer(wire=[reply])


PLAYS: Mapping[str, Play] = {
    "type": _header("Content-Type"),
    "location": _header("Location"),
    "address": _header("Location", "http://"),
    "etag": _header("ETag", '"'),
    "retry-after": _header("Retry-After"),
    "encoding": _header("Content-Encoding"),
    "range": _header("Content-Range", "bytes "),
    "date": _header("Last-Modified"),
    "many headers": _many_headers,
    "cookies": _cookies,
    "interim replies": _interim,
    "reason": _reason,
    "no http": _no_http,
    "to netrc": _to_netrc,
    "to tls": _to_tls,
    "to nowhere": _to_nowhere,
    "gs": _gs_text,
    "json": _json,
    "archive": _archive,
    "index": _index,
    "page": _page,
    "catalogue": _catalogue,
    "silence": _silence,
}


_LIKELY = {
    "catalogue": ("/catalog.jsonl",),
    "json": ("model.json", "/catalog.jsonl"),
    "archive": ("/archive",),
    "index": ("/archive", ".hubfs-index"),
}


@contextmanager
def hostile_hub(home: Path, good: bytes, *, seed: int = 0) -> Iterator[HostileHub]:
    """The servers; `good` is the archive of `GOOD`. What it plays depends on `seed` and on who asks when."""
    certificate = self_signed(home)
    with HttpOrigin() as origin, HttpOrigin(address="127.0.0.2") as in_netrc, HttpOrigin(tls=certificate) as untrusted:
        hub = HostileHub(origin, in_netrc, untrusted, seed)
        origin.route("/*", hub.answer)
        origin.put(f"/{GOOD}", good, etag='"good"')
        origin.route(f"/{MISSING}", lambda _: Answer(404))
        for beside in ("", "/*"):
            in_netrc.route(f"/{beside}", Resource(gzipped(b"stolen")))
            untrusted.route(f"/{beside}", Resource(gzipped(b"forged")))
        yield hub
