"""Several hubs in one mount: each in its directory, with its own credentials and troubles; one cache, one `.hubfs`."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.files import files
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.mount import Machine, Mount, mounted

pytestmark = pytest.mark.mounted

HANDLE = "google/spice/2"
FILES = {"saved_model.pb": b"graph" * 1000, "variables/variables.index": b"index"}
OTHER = {"saved_model.pb": b"other" * 77}
STORED = {"saved_model.pb": b"stored" * 33}


@pytest.fixture
def one() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, f"/{HANDLE}", "tf-hub-format=compressed", gzipped(tar_of(FILES)))
        yield origin


@pytest.fixture
def two() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, f"/{HANDLE}", "tf-hub-format=compressed", gzipped(tar_of(OTHER)))
        yield origin


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GcsServer]:
    with gcs_server(tmp_path / "store") as store:
        store.create_bucket("team")
        for path, data in STORED.items():
            store.upload("team", f"hub/noise/small/1/{path}", data)
        yield store


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a hub that takes every connection, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def user(machine: Machine, store: GcsServer, tmp_path: Path) -> Machine:
    config = tmp_path / "config.toml"
    config.write_text('[hub.one]\ntoken = "t0k3n"\n[hub.two]\nformat = "compressed"\n', encoding="utf-8")
    config.chmod(0o600)
    return machine.with_environment(
        STORAGE_EMULATOR_HOST=store.url, HUBFS_CONFIG=str(config), HUBFS_STALL_TIMEOUT="20s"
    )


@pytest.fixture
def hubs(user: Machine, tmp_path: Path, one: HttpOrigin, two: HttpOrigin, silent: str) -> Iterator[Mount]:
    options = [f"--hub=two={two.url}", "--hub=team=gs://team/hub", f"--hub=silent={silent}"]
    with mounted(user, tmp_path / "hubs", f"one={one.url}", *options) as mount:
        yield mount


def test_each_hub_is_in_its_directory(hubs: Mount) -> None:
    assert sorted(os.listdir(hubs.path)) == [".hubfs", "one", "silent", "team", "two"]
    assert files(hubs.path / "one" / HANDLE) == FILES
    assert files(hubs.path / "two" / HANDLE) == OTHER
    assert files(hubs.path / "team/noise/small/1") == STORED
    assert os.listdir(hubs.path / "team/noise/small") == ["1", "latest"]
    assert (hubs.path / "team/noise/small/latest").readlink() == Path("1")
    assert not (hubs.path / "three").exists()
    assert ".hubfs" not in os.listdir(hubs.path / "one")


def test_a_hub_that_hangs_delays_no_other(hubs: Mount) -> None:
    def look() -> float:
        with pytest.raises(OSError, match=r"timed out|No route"):
            (hubs.path / "silent" / HANDLE).stat()
        return time.monotonic()

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(look) for _ in range(8)]
        while not any(future.running() for future in waiting):
            time.sleep(0.01)
        assert files(hubs.path / "one" / HANDLE) == FILES
        assert files(hubs.path / "two" / HANDLE) == OTHER
        assert files(hubs.path / "team/noise/small/1") == STORED
        assert os.listdir(hubs.path / "team")
        read_s = time.monotonic()
        assert not any(future.done() for future in waiting)
        assert min(future.result(120) for future in waiting) > read_s
    troubled = [model["handle"] for model in hubs.status()["models"] if model["error"]]
    assert troubled == [f"silent/{HANDLE}"]
    assert hubs.is_sound(hubs.path / "one" / HANDLE)


def test_credentials_of_a_hub_are_sent_to_no_other(hubs: Mount, one: HttpOrigin, two: HttpOrigin) -> None:
    files(hubs.path / "one" / HANDLE)
    files(hubs.path / "two" / HANDLE)
    assert {request.headers.get("authorization") for request in one.requests} == {"Bearer t0k3n"}
    assert {request.headers.get("authorization") for request in two.requests} == {None}
    assert {request.query for request in two.requests if request.path == f"/{HANDLE}"} == {"tf-hub-format=compressed"}


def test_the_status_tells_them_apart(hubs: Mount, one: HttpOrigin, two: HttpOrigin, silent: str) -> None:
    files(hubs.path / "one" / HANDLE)
    files(hubs.path / "team/noise/small/1")
    status = hubs.status()
    assert status["hub"] is None
    assert status["hubs"] == {"one": one.url, "two": two.url, "team": "gs://team/hub", "silent": silent}
    assert {model["handle"] for model in status["models"]} == {f"one/{HANDLE}", "team/noise/small/1"}
    assert status["model_counts"]["found"] == 2
    assert status["http"]["requests"] >= len(one.requests)
    text = hubs.machine.hubfs("status", hubs.path).stdout
    assert f"one={one.url}" in text
    assert f"one/{HANDLE} " in text


def test_a_handle_is_found_below_the_hub_that_has_it(hubs: Mount, two: HttpOrigin) -> None:
    for text, path in (
        (HANDLE, f"one/{HANDLE}"),
        (f"{two.url}/{HANDLE}", f"two/{HANDLE}"),
        ("noise/small", "team/noise/small/1"),
        (f"two/{HANDLE}", f"two/{HANDLE}"),
        ("team/noise/small", "team/noise/small/1"),
    ):
        done = hubs.machine.hubfs("resolve", text)
        assert done.stdout.strip() == str(hubs.path / path), done.stderr


def test_tensorflow_hubs_cache_leads_to_the_hub_that_a_url_names(hubs: Mount, two: HttpOrigin) -> None:
    files(hubs.path / "two" / HANDLE)
    name = hashlib.sha1(f"{two.url}/{HANDLE}".encode()).hexdigest()
    module = hubs.path / ".hubfs" / "tfhub_modules" / name
    assert module.readlink() == Path(f"../../two/{HANDLE}")
    assert files(module) == OTHER


def test_one_cache_serves_them_after_a_remount(user: Machine, tmp_path: Path, one: HttpOrigin, two: HttpOrigin) -> None:
    arguments = (user, tmp_path / "hubs", f"one={one.url}", f"--hub=two={two.url}")
    with mounted(*arguments) as mount:
        files(mount.path / "one" / HANDLE)
        files(mount.path / "two" / HANDLE)
    one.reset()
    two.reset()
    with mounted(*arguments, "--offline") as mount:
        assert files(mount.path / "one" / HANDLE) == FILES
        assert files(mount.path / "two" / HANDLE) == OTHER
        assert os.listdir(mount.path / "two/google/spice") == ["2", "latest"]
    assert not one.requests
    assert not two.requests


def test_the_mount_says_which_hubs_it_is_of(hubs: Mount, one: HttpOrigin) -> None:
    about = json.loads((hubs.path / ".hubfs" / "mount.json").read_text())
    assert about["hub"] is None
    assert about["hubs"]["one"] == one.url
