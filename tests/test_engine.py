"""The engine without a mount: several hubs, one cache, no FUSE."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.engine import Engine
from hubfs.errors import Cancelled, HubfsError, InvalidConfig
from hubfs.settings.config import load
from tests.support.archives import gzipped, tar_of
from tests.support.hosted import put
from tests.support.http_origin import Answer, HttpOrigin
from tests.support.waiting import eventually

PATH = "/google/spice/2/saved_model.pb"
DATA = random.Random(5).randbytes(500_000)
ARCHIVE = gzipped(tar_of({"saved_model.pb": DATA}))


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", ARCHIVE)
        yield origin


def engine(tmp_path: Path, *hubs: str, **flags: object) -> Engine:
    return Engine(load({"hub": hubs, "cache_dir": str(tmp_path / "cache"), **flags}, {}))


def read(engine: Engine, hub: str, path: str = PATH) -> bytes:
    file = engine.hubs[hub].open(path)
    try:
        return file.blob.read_at(0, file.blob.size_bytes)
    finally:
        file.release()


def test_files_are_read_without_a_mount_and_once_for_all_hubs_of_one_url(tmp_path: Path, origin: HttpOrigin) -> None:
    running = engine(tmp_path, f"one={origin.url}", f"again={origin.url}")
    try:
        assert running.hubs.keys() == {"one", "again"}
        assert read(running, "one") == DATA
        asked = len(origin.requests)
        assert read(running, "again") == DATA
        assert running.cache.stats()["disk"].limit_bytes == 10 << 30
        assert origin.body_bytes_sent("/google/spice/2") < 1.2 * len(ARCHIVE)
        assert len(origin.requests) - asked <= 2, "it is found anew, and read out of the cache"
    finally:
        running.close()


def test_a_hub_alone_has_no_name_and_what_it_kept_is_read_offline(tmp_path: Path, origin: HttpOrigin) -> None:
    for offline in (False, True):
        running = engine(tmp_path, origin.url, offline=offline)
        try:
            assert read(running, "") == DATA
            assert eventually(lambda: [*tmp_path.rglob("index.json")]), "the pass ends behind the reader's back"
        finally:
            running.close()
            origin.reset()
    assert not origin.requests


def test_after_the_end_nobody_waits(tmp_path: Path, origin: HttpOrigin) -> None:
    running = engine(tmp_path, origin.url)
    running.close()
    with pytest.raises(HubfsError) as caught:
        read(running, "")
    assert isinstance(caught.value, Cancelled)


def test_a_url_of_no_hub_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig):
        engine(tmp_path, "gs://_not a bucket_/x")


def test_a_shared_cache_that_fails_is_asked_twice_before_readers_go_on(tmp_path: Path, origin: HttpOrigin) -> None:
    with HttpOrigin() as store:
        store.route("/*", lambda _: Answer(wire=()))  # it hangs up; a busy one is asked for longer
        flags = {"hub": (f"one={origin.url}",), "cache_dir": "gs://fleet/x", "gcs_endpoint": store.url}
        running = Engine(load(flags, {"HUBFS_CACHE_DIR": str(tmp_path / "cache")}))
        try:
            assert read(running, "one") == DATA
            assert len(store.requests) == 2
        finally:
            running.close()
