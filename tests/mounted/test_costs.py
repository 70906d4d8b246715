"""What a mount says of itself and of its files, whatever its models hold."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.commands.units import size
from tests.support.archives import gzipped, tar_of
from tests.support.files import files
from tests.support.http_origin import HttpOrigin
from tests.support.mount import Machine, Mount, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

FILES = {"saved_model.pb": b"graph", **{f"d{number % 10}/f{number}": b"%d" % number for number in range(400)}}
SIZE_BYTES = sum(map(len, FILES.values()))
HANDLES = [f"noise/many-{number}/1" for number in range(3)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> Iterator[HttpOrigin]:
    """A hub all of whose models an earlier mount has cached."""
    archive = gzipped(tar_of(FILES))
    with HttpOrigin() as origin:
        for handle in HANDLES:
            origin.put(f"/{handle}", archive, etag=f'"{handle}"', content_type="application/gzip")
        with mounted(machine, tmp_path_factory.mktemp("before") / "hub", origin.url) as before:
            for handle in HANDLES:
                assert files(before.path / handle) == FILES
        yield origin


@pytest.fixture
def hub(tmp_path: Path, machine: Machine, origin: HttpOrigin) -> Iterator[Mount]:
    with mounted(machine, tmp_path / "hub", origin.url) as hub:
        yield hub


def lines(hub: Mount, *options: str) -> list[str]:
    done = hub.machine.hubfs("status", hub.path, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_copy_that_keeps_attributes_takes_none_of_ours_along(hub: Mount, tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", hub.path / HANDLES[0], tmp_path / "cp"], check=True)
    shutil.copytree(hub.path / HANDLES[0], tmp_path / "copytree")
    for copy in (tmp_path / "cp", tmp_path / "copytree"):
        assert files(copy) == FILES
        assert not any("hubfs" in name for path in copy.rglob("*") for name in os.listxattr(path))


def test_models_that_nobody_reads_take_no_line(hub: Mount) -> None:
    for handle in HANDLES:
        assert (hub.path / handle).is_dir()
    assert [line for line in lines(hub) if "noise/" in line] == []
    assert any(
        "3 more models (3 were found, 0 are in use, 0 in trouble); --all lists them" in line for line in lines(hub)
    )
    assert len([line for line in lines(hub, "--all") if "noise/" in line]) == 3
    assert not any("streaming" in line for line in lines(hub, "--all"))
    (hub.path / HANDLES[1] / "saved_model.pb").read_bytes()
    (shown,) = hub.status()["models"]
    assert (shown["handle"], shown["complete"], shown["streaming"]) == (HANDLES[1], True, False)
    assert (shown["files"], shown["size_bytes"]) == (len(FILES), SIZE_BYTES)


def test_what_an_earlier_mount_cached_is_counted_behind_the_readers_backs(hub: Mount) -> None:
    (hub.path / HANDLES[2] / "saved_model.pb").read_bytes()
    counted = rf"{HANDLES[2]} +{re.escape(size(SIZE_BYTES))} +{re.escape(size(SIZE_BYTES))} .* compressed"
    assert eventually(lambda: any(re.fullmatch(counted, line) for line in lines(hub)))
    assert hub.status()["models"][0]["cached_bytes"] == SIZE_BYTES
    assert int(os.getxattr(hub.path / HANDLES[2] / "d1/f1", "user.hubfs.cached_bytes")) == SIZE_BYTES


def test_the_status_names_the_sha1_that_tensorflow_hub_looked_for_in_vain(hub: Mount) -> None:
    name = hashlib.sha1(b"https://tfhub.dev/noise/mistyped/1", usedforsecurity=False).hexdigest()
    assert not (hub.path / ".hubfs" / "tfhub_modules" / name).exists()
    assert any(f"looked for {name}" in line and "mistyped" in line for line in lines(hub))


def test_all_models_are_in_a_file_within_a_bound(hub: Mount) -> None:
    (hub.path / HANDLES[0]).stat()
    said = json.loads((hub.path / ".hubfs" / "models.json").read_bytes())
    assert said["model_counts"] == {"found": 1, "in_use": 0, "in_trouble": 0, "shown": 1}
    assert [model["handle"] for model in said["models"]] == HANDLES[:1]
