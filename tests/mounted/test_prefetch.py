"""What is fetched before anybody asks for it, and what that costs whoever does not want it."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.sources.prefetch.plan import SPECULATION_BYTES
from tests.conftest import MountHub
from tests.support.files import files
from tests.support.models import small_model
from tests.support.mount import Mount
from tests.support.origin import Origin, running_origin
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

LARGE = "noise/large/1"
DATA = "variables/variables.data-00000-of-00001"
DATA_BYTES = 90 * (1 << 20) + 4321
BUSY_S = 120.0
"""So long may a busy machine take to fetch LARGE; an idle one takes about a second."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of LARGE, more than is ever fetched for `saved_model.pb` alone."""
    model = small_model(tmp_path_factory.mktemp("large") / "model")
    (model / DATA).write_bytes(random.Random(9).randbytes(DATA_BYTES))
    return model


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, large: Path) -> Iterator[Origin]:
    with running_origin(tmp_path_factory.mktemp("origin"), {LARGE: large}, {}) as origin:
        yield origin


@pytest.fixture
def origin(servers: Origin) -> Origin:
    servers.store.reset()
    return servers.asked_for("uncompressed")


def graph_of(hub: Mount) -> bytes:
    """Reads `saved_model.pb`, and asks for nothing else."""
    return (hub.path / LARGE / "saved_model.pb").read_bytes()


def sent(origin: Origin) -> int:
    """The bytes of the model that the bucket sent."""
    return origin.store.sent_bytes(f"models/{LARGE}/")


def settled(origin: Origin) -> int:
    """The bytes sent once no more are coming."""
    sent_bytes = -1
    while sent_bytes != (sent_bytes := sent(origin)):
        time.sleep(1)
    return sent_bytes


def hosted_bytes(model: Path) -> int:
    return sum(map(len, files(model).values()))


def test_whoever_wants_the_graph_alone_pays_no_more_than_the_bound(
    mount: MountHub, origin: Origin, large: Path
) -> None:
    with mount(origin) as hub:
        assert graph_of(hub) == (large / "saved_model.pb").read_bytes()
        assert eventually(lambda: sent(origin) > SPECULATION_BYTES - (1 << 20), BUSY_S)
        assert settled(origin) <= SPECULATION_BYTES
        assert graph_of(hub) == (large / "saved_model.pb").read_bytes()
        assert settled(origin) <= SPECULATION_BYTES


def test_without_prefetching_nothing_comes_that_nobody_asked_for(mount: MountHub, origin: Origin, large: Path) -> None:
    with mount(origin, "--prefetch", "none") as hub:
        graph = graph_of(hub)
        assert not (hub.path / LARGE / "debug").exists()
        assert settled(origin) == len(graph) == (large / "saved_model.pb").stat().st_size
        assert {request.object for request in origin.store.downloads} == {f"models/{LARGE}/saved_model.pb"}


def test_a_loader_finds_everything_there_before_it_opens_a_variable(
    mount: MountHub, origin: Origin, large: Path
) -> None:
    with mount(origin) as hub:
        graph_of(hub)
        assert not (hub.path / LARGE / "debug/saved_model_debug_info.pb").exists()
        hosted = hosted_bytes(large)
        assert eventually(lambda: sent(origin) >= hosted, BUSY_S)
        assert sent(origin) == hosted
        requests = origin.requests()
        assert files(hub.path / LARGE) == files(large)
        assert origin.requests() == requests


def test_opening_a_variable_fetches_all_of_them(mount: MountHub, origin: Origin, large: Path) -> None:
    with mount(origin) as hub:
        graph_of(hub)
        (hub.path / LARGE / "variables/variables.index").read_bytes()
        hosted = hosted_bytes(large)
        assert eventually(lambda: sent(origin) >= hosted, BUSY_S)
        assert settled(origin) == hosted


def test_whoever_looks_for_the_text_form_first_is_taken_for_no_loader(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        # In the order of `saved_model_cli show --all`, which reads no variables.
        assert not (hub.path / LARGE / "saved_model.pbtxt").exists()
        graph_of(hub)
        assert not (hub.path / LARGE / "debug/saved_model_debug_info.pb").exists()
        assert settled(origin) <= SPECULATION_BYTES


def test_sixteen_loaders_of_one_model_fetch_each_byte_once(mount: MountHub, origin: Origin, large: Path) -> None:
    with mount(origin) as hub:

        def load(_: int) -> bool:
            graph_of(hub)
            (hub.path / LARGE / "debug").exists()
            return files(hub.path / LARGE) == files(large)

        with ThreadPoolExecutor(16) as loaders:
            assert all(loaders.map(load, range(16)))
        assert sent(origin) == hosted_bytes(large)


def test_in_memory_alone_nothing_is_pushed_out_before_it_is_read(mount: MountHub, origin: Origin, large: Path) -> None:
    with mount(origin, "--no-disk-cache", "--memory-size", "48MiB") as hub:
        graph_of(hub)
        assert not (hub.path / LARGE / "debug").exists()
        assert settled(origin) <= 24 << 20
        assert files(hub.path / LARGE) == files(large)
        assert sent(origin) <= hosted_bytes(large) * 1.02


def test_unmounting_does_not_wait_for_a_prefetch(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        graph_of(hub)
        assert not (hub.path / LARGE / "debug").exists()
        watch = Stopwatch()
    assert watch.took_s() < 10
