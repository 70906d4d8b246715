import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scripts._bench import measure, peers
from scripts._bench.hosts import Hosts, kaggle
from scripts._bench.measure import Failed
from scripts._bench.models import Model, tiny
from scripts._bench.shaping import UNSHAPED, Link, shaping
from scripts._bench.world import World, WrongBytes
from tests.support.files import files
from tests.support.nginx import nginx_hub


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny(tmp_path / "tiny")


@pytest.fixture
def world(tmp_path: Path, model: Model) -> Any:
    """A hub and Kaggle: no bucket."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        nginx_hub(tmp_path / "nginx") as nginx,
        shaping(["hub", "store", "kaggle"]) as link,
        kaggle(tmp_path / "kaggle", [model], link.url("kaggle")) as kaggle_port,
    ):
        link.connect("hub", urlsplit(nginx.url).port or 0)
        link.connect("kaggle", kaggle_port)
        nginx.host_archive(model.handle, model.archive)
        yield World(Hosts(link, nginx), scratch, [model], "")


def test_a_peer_is_timed_from_its_delivery_to_the_last_byte(world: World, model: Model) -> None:
    sample = world.read(peers.curl_tar, model, Link(latency_s=0.2))
    assert sample.more["delivered_s"] >= 0.4  # a connection, and a request
    assert sample.value == pytest.approx(sample.more["delivered_s"] + sample.more["took_s"])
    assert sample.requests == 1
    assert sample.sent_bytes is not None
    assert model.archive_bytes < sample.sent_bytes < model.archive_bytes + 1000


def test_every_run_is_in_a_fresh_directory_that_is_gone_afterwards(world: World, model: Model) -> None:
    world.read(peers.curl_tar, model, UNSHAPED)
    world.read(peers.curl_tar, model, UNSHAPED)
    assert list(world.scratch.iterdir()) == []


def test_wrong_bytes_are_no_figure(world: World, model: Model) -> None:
    read = {"bytes": model.size_bytes, "digest": "00000000"}
    with pytest.raises(WrongBytes):
        world.check_read(model, model.files, read)


def test_a_missing_byte_is_no_figure(world: World, model: Model, tmp_path: Path) -> None:
    def said(directory: Path) -> Any:
        done = subprocess.run(
            measure.reader(), input=json.dumps({"path": str(directory)}), capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[1])

    world.check_read(model, model.files, said(model.directory))
    shorter = tmp_path / "shorter"
    subprocess.run(["cp", "-r", model.directory, shorter], check=True)
    with (shorter / "saved_model.pb").open("ab") as graph:
        graph.truncate(graph.tell() - 1)
    with pytest.raises(WrongBytes):
        world.check_read(model, model.files, said(shorter))


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such hub')"]
    with measure.program(tmp_path, command) as started, pytest.raises(Failed, match=r"status 1: no such hub"):
        started.wait_until_ready()


def test_a_program_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        measure.program(tmp_path, command, timeout_s=0.5) as started,
        pytest.raises(Failed, match=r"took too long"),
    ):
        started.wait_until_ready()


def test_the_archive_is_what_a_peer_extracts(world: World, model: Model, tmp_path: Path) -> None:
    with peers.curl_tar(world.hosts, model, tmp_path) as ready:
        extracted = Path(ready.deliver())
    for name in model.files:
        assert (extracted / name).read_bytes() == (model.directory / name).read_bytes()


@pytest.mark.slow
def test_kagglehub_downloads_every_file_within_the_clock(world: World, model: Model, tmp_path: Path) -> None:
    world.hosts.link.shape(Link(latency_s=0.2))
    with peers.kagglehub(world.hosts, model, tmp_path) as ready:
        world.hosts.link.reset()
        started_s = time.monotonic()
        downloaded = Path(ready.deliver())
        assert time.monotonic() - started_s >= 0.8, "a connection and a list; then a download call and a redirect"
    assert files(downloaded) == files(model.directory)
    asked = [line.split()[:2] for line in world.hosts.link.counts().log]
    assert len([1 for method, _ in asked if method == "POST"]) == 1 + len(model.files)
    assert len([1 for _, target in asked if "/kagglesdsdata/" in target]) == len(model.files)


@pytest.mark.mounted
def test_hubfs_reads_the_same_model_of_kaggle(world: World, model: Model) -> None:
    world.read(peers.hubfs_of_kaggle, model, UNSHAPED)
    asked = [line for line in world.hosts.link.counts().log if "/api/" in line]
    assert len(asked) == 1 + len(model.files), "a list, and a download call a file"


def test_what_a_process_and_its_children_used_is_added_up() -> None:
    with subprocess.Popen(["sh", "-c", "head -c 1 >/dev/null; true"], stdin=subprocess.PIPE) as process:
        used = measure.usage([process.pid])
        while not any(name.startswith("head ") for name in used.peak_rss_of_each_bytes):
            assert process.poll() is None
            used = measure.usage([process.pid])
        assert process.stdin is not None
        process.stdin.close()
    assert used.peak_rss_bytes == sum(used.peak_rss_of_each_bytes.values())
    assert {name.split(" ")[0] for name in used.peak_rss_of_each_bytes} == {"sh", "head"}
