"""Models are asked for ahead of a program that walks: how many at once, never before a reader's own, never in vain."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from hubfs.engine import Engine
from hubfs.settings.config import load
from hubfs.tree.look_ahead import AT_ONCE
from hubfs.tree.walk import RUN
from tests.support.archives import gzipped, tar_of
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource, redirect, status
from tests.support.waiting import eventually

COUNT = 100
HANDLES = [f"publisher/model-{number:03}/1" for number in range(COUNT)]
ARCHIVE = Resource(gzipped(tar_of({"saved_model.pb": b"graph"})), etag='"1"')
NAMES = ["saved_model.pb"]


def _name(handle: str) -> str:
    return handle.rpartition("/")[0]


class Walked:
    """A hub of many models on a real server, which can be held up, and an engine that knows their handles."""

    def __init__(self, origin: HttpOrigin, place: Path, **flags: object) -> None:
        self.origin = origin
        self.held: set[str] = set()
        self.gate = threading.Event()
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()
        self.most_waiting = 0
        origin.route("/publisher/*", self.answer)
        for handle in HANDLES:
            origin.route(f"/{_name(handle)}", redirect(f"/{handle}?tf-hub-format=compressed"))
        catalog = place / "catalog.txt"
        catalog.write_text("".join(f"Module\t{handle}\n" for handle in HANDLES))
        flags = {"hub": [origin.url], "cache_dir": str(place / "cache"), "catalog": str(catalog), **flags}
        self.engine = Engine(load(flags, {}))
        self.tree = self.engine.hubs[""]

    def answer(self, request: Request) -> Answer:
        handle = request.path.strip("/")
        if handle in self.held:
            with self._lock:
                self._waiting[handle] += 1
                self.most_waiting = max(self.most_waiting, self._waiting.total())
            self.gate.wait(60)
            with self._lock:
                self._waiting[handle] -= 1
        return ARCHIVE(request) if "compressed" in parse_qs(request.query).get("tf-hub-format", ()) else Answer(404)

    @property
    def asked(self) -> list[str]:
        """The models that the hub was asked about, in order of their handles."""
        return sorted({request.path.strip("/") for request in self.origin.requests} & {*HANDLES})

    def names(self, number: int) -> list[str]:
        return [name for name, _ in self.tree.list(f"/{HANDLES[number]}")]

    def begin(self) -> None:
        """Looks into as many models as make a walk."""
        assert self.names(0) == NAMES
        # The order of the models is made behind the first look, which is no step of the walk.
        assert eventually(lambda: all(one.name != "order of models" for one in threading.enumerate()))
        for number in range(1, RUN + 1):
            assert self.names(number) == NAMES


Make = Callable[..., Walked]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with HttpOrigin() as origin:
        made: list[Walked] = []

        def make(**flags: object) -> Walked:
            made.append(Walked(origin, tmp_path, **{"format": "compressed"} | flags))
            return made[-1]

        yield make
        for one in made:
            one.gate.set()
            one.engine.close()


def test_what_comes_next_is_asked_at_once_and_read(make: Make) -> None:
    hub = make()
    hub.begin()
    ahead = HANDLES[RUN + 1 : 2 * RUN]
    assert eventually(lambda: {*ahead} <= {*hub.asked})
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    assert hub.asked == HANDLES[: len(hub.asked)], "one after the other, and none is passed over"
    assert RUN + 1 < len(hub.asked) < COUNT, "no further than the walk vouches for"
    asked = len(hub.origin.requests)
    assert hub.names(RUN + 1) == NAMES
    assert not [one for one in hub.origin.requests[asked:] if one.path == f"/{HANDLES[RUN + 1]}"]


def test_no_more_are_under_way_at_once_than_the_budget_says(make: Make) -> None:
    hub = make()
    hub.held.update(HANDLES[2 * RUN :])
    for _ in range(2):  # what is under way is not begun again
        hub.begin()
    for number in range(2 * RUN):
        hub.names(number)
    assert eventually(lambda: hub.most_waiting == AT_ONCE)
    hub.gate.set()
    assert eventually(lambda: len(hub.asked) > 2 * RUN + AT_ONCE)
    assert hub.most_waiting == AT_ONCE


def test_a_reader_waits_for_nothing_that_is_asked_ahead(make: Make) -> None:
    hub = make()
    hub.held.update(HANDLES[RUN + 1 : COUNT // 2])
    hub.begin()
    assert eventually(lambda: hub.most_waiting)
    assert hub.names(COUNT - 1) == NAMES
    assert hub.most_waiting


def test_a_reader_shares_the_question_that_is_under_way(make: Make) -> None:
    hub = make()
    wanted = HANDLES[RUN + 1]
    hub.held.add(wanted)
    hub.begin()
    assert eventually(lambda: wanted in hub.asked)
    reader = threading.Thread(target=hub.names, args=(RUN + 1,))
    reader.start()
    assert reader.is_alive()
    hub.gate.set()
    reader.join()
    questions = [one for one in hub.origin.requests if one.path == f"/{wanted}"]
    assert len(questions) == 1, "the archive's start is all of it"


@pytest.mark.parametrize("flags", [{"prefetch": "none"}, {"offline": True}], ids=["--prefetch none", "--offline"])
def test_nothing_is_asked_ahead_where_nothing_is_prefetched(make: Make, flags: dict[str, object]) -> None:
    before = make()
    for number in range(2 * RUN):
        before.names(number)
    before.engine.close()
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    hub = make(**flags)
    for number in range(2 * RUN):
        assert hub.names(number) == NAMES
    assert not any(one.name in ("look ahead", "order of models") for one in threading.enumerate())
    assert [client.stats().requests for client in hub.engine.http] == [0]


@pytest.mark.parametrize("code", [429, 503])
def test_a_hub_that_asks_for_patience_is_left_alone_and_readers_ask_it_as_ever(make: Make, code: int) -> None:
    hub = make()
    for handle in HANDLES[RUN + 1 :]:
        hub.origin.script(f"/{handle}", status(code, {"Retry-After": "0"}))
    hub.begin()
    assert eventually(lambda: len(hub.asked) > RUN + 1)
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    refused = {one.path for one in hub.origin.requests} - {f"/{handle}" for handle in HANDLES[: RUN + 1]}
    counts = Counter(one.path for one in hub.origin.requests if one.path in refused)
    assert {*counts.values()} == {1}, "nothing is asked twice"
    assert len(counts) <= AT_ONCE
    before = {*hub.asked}
    assert hub.names(RUN + 1) == NAMES
    assert hub.names(RUN + 2) == NAMES
    assert {*hub.asked} <= before | {*HANDLES[: RUN + 3]}


def test_a_model_that_is_not_there_ends_no_walk(make: Make) -> None:
    hub = make()
    hub.origin.always(f"/{HANDLES[RUN + 1]}", status(404))
    hub.begin()
    assert eventually(lambda: HANDLES[RUN + 3] in hub.asked)


def test_an_archive_that_is_large_is_not_read_ahead(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubfs.tree.look_ahead.SMALL_BYTES", len(ARCHIVE.body) - 1)
    hub = make()
    hub.begin()
    assert eventually(lambda: HANDLES[RUN + 1] in hub.asked)
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    questions = [one for one in hub.origin.requests if one.path == f"/{HANDLES[RUN + 1]}"]
    assert len(questions) == 1, "it is known to be there, and nobody has looked into it"


def links_asked(hub: Walked) -> list[str]:
    """The names of which the hub was asked where `latest` leads, in their order."""
    return sorted({request.path.strip("/") for request in hub.origin.requests} & {*map(_name, HANDLES)})


def test_links_are_asked_for_ahead_as_models_are(make: Make) -> None:
    hub = make()
    for number in range(RUN + 1):
        assert hub.tree.readlink(f"/{_name(HANDLES[number])}/latest") == "1"
        assert eventually(lambda: all(one.name != "order of models" for one in threading.enumerate()))
    assert eventually(lambda: _name(HANDLES[2 * RUN]) in links_asked(hub))
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    asked = len(links_asked(hub))
    assert links_asked(hub) == [*map(_name, HANDLES[:asked])]
    before = len(hub.origin.requests)
    assert hub.tree.readlink(f"/{_name(HANDLES[RUN + 1])}/latest") == "1"
    assert f"/{_name(HANDLES[RUN + 1])}" not in {request.path for request in hub.origin.requests[before:]}
    assert not hub.asked[RUN + 1 :] or len(hub.asked) == asked, "no model is asked for but through its link"


def test_a_link_that_was_asked_for_ahead_in_vain_is_asked_for_by_its_reader(make: Make) -> None:
    hub = make()
    for handle in HANDLES[RUN + 1 :]:
        hub.origin.script(f"/{_name(handle)}", status(429, {"Retry-After": "0"}))
    for number in range(RUN + 1):
        assert hub.tree.readlink(f"/{_name(HANDLES[number])}/latest") == "1"
        assert eventually(lambda: all(one.name != "order of models" for one in threading.enumerate()))
    assert eventually(lambda: len(links_asked(hub)) > RUN + 1)
    assert eventually(lambda: not any(one.name == "look ahead" for one in threading.enumerate()))
    counts = Counter(one.path for one in hub.origin.requests if one.path[1:] in {*map(_name, HANDLES[RUN + 1 :])})
    assert {*counts.values()} == {1}
    assert hub.tree.readlink(f"/{_name(HANDLES[RUN + 1])}/latest") == "1"
    assert counts[f"/{_name(HANDLES[RUN + 1])}"] == 1
