"""What crosses the network where memory is little and no disk keeps anything, as in small containers."""

import random
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from isal import isal_zlib

from tests.support.archives import tar_of
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import NginxHub, nginx_hub
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

HANDLE = "noise/large/1"
MIB = 1 << 20
LITTLE = ("--no-disk-cache", "--memory-size", "32MiB")

GRAPH, INDEX = random.Random(2).randbytes(3 * MIB), b"index" * 300
WEIGHTS = "variables/variables.data-00000-of-00001"
ONE, MANY, LAST = "one large member", "many members", "saved_model.pb last"


@cache
def models() -> Mapping[str, Mapping[str, bytes]]:
    """The files of the models, by the names of their shapes."""
    # Six bits a byte, as Huffman codes have it.
    # Archives of more than 128 MiB have the inflating process take most memory.
    noise = random.Random(1).randbytes(184 * MIB).translate(bytes(n % 64 for n in range(256)))
    return {
        ONE: {
            "fingerprint.pb": INDEX[:60],
            "saved_model.pb": GRAPH,
            WEIGHTS: noise,
            "variables/variables.index": INDEX,
        },
        MANY: {
            "saved_model.pb": GRAPH,
            # In an order that is not that of the names.
            **{
                f"assets/{n:03}": noise[n * 3 * MIB : (n + 1) * 3 * MIB + n]
                for n in random.Random(3).sample(range(61), 61)
            },
        },
        LAST: {WEIGHTS: noise, "variables/variables.index": INDEX, "saved_model.pb": GRAPH},
    }


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("archives")
    found = {name: folder / f"{name}.tar.gz" for name in models()}
    for name, path in found.items():
        path.write_bytes(isal_zlib.compress(tar_of(models()[name]), level=1, wbits=31))
        assert path.stat().st_size > 128 * MIB
    return found


class Served:
    """A model on a hub, and how often its archive was fetched: known once everything that was asked for has ended."""

    def __init__(self, hub: NginxHub, archive: Path) -> None:
        self.hub, self.archive = hub, archive
        hub.host_archive(HANDLE, archive)

    @property
    def times(self) -> float:
        return self.hub.body_bytes(HANDLE) / self.archive.stat().st_size


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[NginxHub]:
    with nginx_hub(tmp_path / "nginx") as hub:
        yield hub


def check(mount: Mount, name: str, paths: Iterable[str], step_bytes: int = MIB) -> None:
    """Reads files from their starts to their ends."""
    for path in paths:
        position, content = 0, memoryview(models()[name][path])
        with (mount.path / HANDLE / path).open("rb", buffering=0) as file:
            while data := file.read(step_bytes):
                assert data == content[position : position + len(data)]
                position += len(data)
        assert position == len(content)


@pytest.mark.parametrize("name", [ONE, MANY, LAST])
def test_a_reader_in_order_has_the_archive_fetched_once(
    tmp_path: Path, machine: Machine, hub: NginxHub, archives: Mapping[str, Path], name: str
) -> None:
    served = Served(hub, archives[name])
    with mounted(machine, tmp_path / "hub", hub.url, *LITTLE) as mount:
        check(mount, name, models()[name])
        assert mount.status()["lost_bytes"] == 0
        assert mount.status()["cache"]["memory"]["used_bytes"] <= 32 * MIB
    assert 1 <= served.times <= 1.2


@pytest.mark.parametrize("binding", ["libfuse2"], indirect=True)
def test_small_reads_in_order_cost_no_more(
    tmp_path: Path, machine: Machine, hub: NginxHub, archives: Mapping[str, Path]
) -> None:
    served = Served(hub, archives[ONE])
    with mounted(machine, tmp_path / "hub", hub.url, *LITTLE) as mount:
        check(mount, ONE, models()[ONE], 50_000)
    assert 1 <= served.times <= 1.2


def test_the_first_bytes_of_files_bring_little_more(
    tmp_path: Path, machine: Machine, hub: NginxHub, archives: Mapping[str, Path]
) -> None:
    served = Served(hub, archives[ONE])
    with mounted(machine, tmp_path / "hub", hub.url, *LITTLE) as mount:
        for path in ("fingerprint.pb", "saved_model.pb", WEIGHTS):
            done = subprocess.run(["head", "-c", "1000", mount.path / HANDLE / path], capture_output=True, check=True)
            assert done.stdout == models()[ONE][path][:1000]
        seen: list[int] = []

        def rests() -> bool:
            seen.append(mount.status()["http"]["bytes_received"])
            return len(set(seen[-4:])) == 1 < len(seen) - 2

        assert eventually(rests)
    assert served.times * served.archive.stat().st_size <= 32 * MIB


def test_what_readers_come_back_for_is_fetched_once_more_by_its_spans(
    tmp_path: Path, machine: Machine, hub: NginxHub, archives: Mapping[str, Path]
) -> None:
    """As a loader reads: the graph, which is last in this archive, and then the weights."""
    served = Served(hub, archives[LAST])
    with mounted(machine, tmp_path / "hub", hub.url, *LITTLE) as mount:
        check(mount, LAST, ["saved_model.pb", WEIGHTS])
        assert mount.status()["lost_bytes"] > 100 * MIB
        assert "memory is too small for its readers" in machine.hubfs("status", mount.path).stdout
    assert 1.9 <= served.times <= 2.3


@pytest.mark.parametrize("binding", ["session"], indirect=True)
def test_a_copy_of_many_members_is_read_in_the_order_of_the_archive(
    tmp_path: Path, machine: Machine, hub: NginxHub, archives: Mapping[str, Path]
) -> None:
    """`cp -r` lists first, so that all of the archive passes by, and copies files by their inode numbers."""
    served = Served(hub, archives[MANY])
    with mounted(machine, tmp_path / "hub", hub.url, *LITTLE) as mount:
        subprocess.run(["cp", "-r", mount.path / HANDLE, tmp_path / "copy"], check=True)
    for path, content in models()[MANY].items():
        assert (tmp_path / "copy" / path).read_bytes() == content
    assert 1.9 <= served.times <= 2.3
