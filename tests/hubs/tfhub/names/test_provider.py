import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from hubfs.errors import Cancelled, InvalidConfig
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.document import fetch
from hubfs.hubs.tfhub.names.provider import CatalogDocument, CatalogProvider
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin, Request, stall_first, status, well
from tests.support.mount import eventually

PATH = "/catalog.jsonl"


class Hub:
    """Lists models on a real server; answers 304 to who has the list."""

    def __init__(self, origin: HttpOrigin) -> None:
        self.origin = origin
        self.text = ""
        origin.route(PATH, self.answer)

    def lists(self, *handles: str) -> None:
        self.text = "".join(f"Module\t{handle}\n" for handle in handles)

    def answer(self, request: Request) -> Answer:
        etag = f'"{hash(self.text)}"'
        if request.headers.get("if-none-match") == etag:
            return Answer(304, {"ETag": etag})
        return Answer(200, {"ETag": etag, "Content-Type": "text/plain"}, self.text.encode())


@pytest.fixture
def hub():
    with HttpOrigin() as origin:
        yield Hub(origin)


@pytest.fixture
def make(hub: Hub, clock: Clock, cancellation: Cancellation):
    with http_client(cancellation) as client:

        def ask(etag: str | None):
            return fetch(client, hub.origin.url, etag=etag)

        yield partial(CatalogProvider, cancellation, fetch=ask, hub=hub.origin.url, timer=clock)


Make = Callable[..., CatalogProvider]


def renewed(provider: CatalogProvider) -> Catalog:
    provider.renew(lambda ask: ask())
    return provider.current()


def test_only_a_renewal_asks_the_hub_and_only_once_in_its_time(make: Make, hub: Hub, clock: Clock):
    hub.lists("google/spice/2")
    provider = make()
    assert provider.current().handles() == []
    assert not hub.origin.requests
    for _ in range(3):
        assert renewed(provider).handles() == ["google/spice/2"]
    assert provider.current().handles() == ["google/spice/2"]
    assert len(hub.origin.requests) == 1
    hub.lists("google/spice/2", "google/spice/3")
    clock.now_s += 9.9
    assert renewed(provider).handles() == ["google/spice/2"]
    clock.now_s += 0.2
    assert renewed(provider).handles() == ["google/spice/2", "google/spice/3"]
    assert len(hub.origin.requests) == 2


def test_a_list_that_has_not_changed_is_not_read_again(make: Make, hub: Hub, clock: Clock):
    hub.lists("google/spice/2")
    provider = make()
    first = renewed(provider)
    sent_bytes = hub.origin.body_bytes_sent(PATH)
    clock.now_s += 31
    assert renewed(provider) is first
    assert len(hub.origin.requests) == 2
    assert hub.origin.body_bytes_sent(PATH) == sent_bytes


def test_many_who_list_at_once_ask_once(make: Make, hub: Hub):
    hub.lists("google/spice/2")
    hub.origin.always(PATH, stall_first(0.2))
    provider = make()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: renewed(provider).handles(), range(16)))
    assert found == [["google/spice/2"]] * 16
    assert len(hub.origin.requests) == 1


def test_an_unreachable_hub_leaves_what_it_listed_and_is_logged_once(
    make: Make, hub: Hub, clock: Clock, caplog: pytest.LogCaptureFixture
):
    hub.lists("google/spice/2")
    provider = make()
    renewed(provider)
    hub.origin.always(PATH, status(503))
    for _ in range(3):
        clock.now_s += 31
        assert renewed(provider).handles() == ["google/spice/2"]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"{hub.origin.url}{PATH} answered 503" in warnings[0].getMessage()
    hub.lists("google/spice/3")
    hub.origin.always(PATH, well())
    clock.now_s += 31
    assert renewed(provider).handles() == ["google/spice/3"]


def test_an_unreachable_hub_is_not_asked_again_before_the_time(make: Make, hub: Hub):
    hub.origin.always(PATH, status(503))
    provider = make()
    renewed(provider)
    asked = len(hub.origin.requests)
    assert renewed(provider).handles() == []
    assert len(hub.origin.requests) == asked


def test_a_list_that_cannot_be_read_leaves_the_one_before(
    make: Make, hub: Hub, clock: Clock, caplog: pytest.LogCaptureFixture
):
    hub.lists("google/spice/2")
    provider = make()
    renewed(provider)
    hub.text = "nonsense"
    clock.now_s += 31
    assert renewed(provider).handles() == ["google/spice/2"]
    assert "line 1: it must read KIND" in caplog.text


def test_a_hub_that_has_no_list_any_more_lists_nothing(make: Make, hub: Hub, clock: Clock):
    hub.lists("google/spice/2")
    provider = make()
    renewed(provider)
    hub.origin.always(PATH, status(404))
    clock.now_s += 31
    assert renewed(provider).handles() == []


def test_the_file_counts_where_it_differs_from_the_hub(make: Make, hub: Hub, tmp_path: Path):
    file = tmp_path / "catalog.tsv"
    file.write_text("Placeholder\tgoogle/spice/2\nModule\tgoogle/ours/1\n")
    hub.lists("google/spice/2", "google/theirs/1")
    provider = make(file=file)
    assert provider.current().handles() == ["google/ours/1"]
    both = renewed(provider)
    assert both.handles() == ["google/ours/1", "google/theirs/1"]
    assert both.is_model("google/spice/2") is False


def test_a_file_that_changes_is_read_again_without_asking_the_hub(
    make: Make, hub: Hub, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "catalog.tsv"
    file.write_text("Module\ta/b/1\n")
    provider = make(file=file)
    file.write_text("Module\ta/b/1\nModule\ta/b/2\n")
    clock.now_s += 1.1
    assert provider.current().handles() == ["a/b/1", "a/b/2"]
    for _ in range(3):
        file.write_text("nonsense")
        clock.now_s += 1.1
        assert provider.current().handles() == ["a/b/1", "a/b/2"]
    assert caplog.text.count("what it had before stays in use") == 1
    file.unlink()
    clock.now_s += 1.1
    assert provider.current().handles() == ["a/b/1", "a/b/2"]
    file.write_text("Module\ta/b/3\n")
    clock.now_s += 1.1
    assert provider.current().handles() == ["a/b/3"]
    assert not hub.origin.requests


def test_a_file_that_has_not_changed_is_not_read_again(cancellation: Cancellation, clock: Clock, tmp_path: Path):
    file = tmp_path / "catalog.tsv"
    file.write_text("Module\ta/b/1\n")
    provider = CatalogProvider(cancellation, file=file, timer=clock)
    first = renewed(provider)
    clock.now_s += 60
    assert renewed(provider) is first


def test_a_file_that_cannot_be_used_is_refused_at_once(cancellation: Cancellation, tmp_path: Path):
    with pytest.raises(InvalidConfig, match=r"absent\.tsv cannot be read"):
        CatalogProvider(cancellation, file=tmp_path / "absent.tsv")


def test_without_a_file_and_a_hub_there_is_an_empty_catalogue(cancellation: Cancellation):
    assert renewed(CatalogProvider(cancellation)).children(()) == []


def test_a_cancel_ends_the_wait_for_the_hub(make: Make, hub: Hub, cancellation: Cancellation):
    hub.origin.always(PATH, stall_first())
    provider = make()
    threading.Timer(0.2, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        renewed(provider)


def test_nobody_waits_for_the_hub_while_there_is_the_bundled_catalogue(cancellation: Cancellation):
    go = threading.Event()

    def fetch(_: str | None) -> CatalogDocument:
        assert go.wait(60)
        return CatalogDocument("Module\tgoogle/theirs/1\n")

    bundled = Catalog([CatalogEntry(CatalogKind.MODULE, "google/spice/2")])
    provider = CatalogProvider(cancellation, fetch=fetch, bundled=lambda: bundled)
    assert provider.current() is bundled
    assert renewed(provider) is bundled
    assert renewed(provider) is bundled
    go.set()
    assert eventually(lambda: renewed(provider).handles() == ["google/theirs/1"])


def test_the_bundled_catalogue_is_read_when_it_is_needed_and_not_before(cancellation: Cancellation):
    read = []

    def bundled() -> Catalog:
        read.append(1)
        return Catalog()

    provider = CatalogProvider(cancellation, bundled=bundled)
    assert not read
    provider.current()
    provider.current()
    assert len(read) == 1
