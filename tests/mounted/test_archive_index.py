"""What of an archive crosses the network once its checkpoints are known: evicted, in memory only, published."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.files import files
from tests.support.mount import Machine, mounted
from tests.support.nginx import NginxHub, nginx_hub
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

HANDLE = "noise/large/1"
MIB = 1 << 20
SPANS_BYTES = 2 * 5 * MIB
"""Two spans: they end at the first checkpoint behind 4 MiB, and rapidgzip finds one in each MiB."""

# Six bits a byte, as Huffman codes have it; saved_model.pb is last, as archives often have it.
CONTENT = {
    "variables/variables.data-00000-of-00001": random.Random(1)
    .randbytes(32 * MIB)
    .translate(bytes(n % 64 for n in range(256))),
    "variables/variables.index": b"index" * 300,
    "saved_model.pb": random.Random(2).randbytes(300_000),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.tar.gz"
    path.write_bytes(gzipped(tar_of(CONTENT), level=1))
    return path


@pytest.fixture
def hub(tmp_path: Path, archive: Path) -> Iterator[NginxHub]:
    with nginx_hub(tmp_path / "nginx") as hub:
        hub.host_archive(HANDLE, archive)
        yield hub


def right(root: Path) -> bool:
    return files(root) == CONTENT


def test_after_an_eviction_a_file_costs_its_spans(
    tmp_path: Path, machine: Machine, hub: NginxHub, archive: Path
) -> None:
    cache = tmp_path / "cache"
    options = ("--cache-dir", cache, "--inflate-workers", "2", "--prefetch", "none")
    with mounted(machine, tmp_path / "hub", hub.url, *options) as mount:
        assert right(mount.path / HANDLE)
        assert eventually(lambda: list(cache.rglob("archive.hubfs-index")))
    # nginx counts a reply when it has ended, which may be after hubfs has
    assert eventually(lambda: hub.body_bytes(HANDLE) >= archive.stat().st_size)
    for folder in [*cache.rglob("data"), *cache.rglob("blocks")]:
        shutil.rmtree(folder)
    before_bytes = hub.body_bytes(HANDLE)
    with mounted(machine, tmp_path / "hub", hub.url, *options) as mount:
        assert (mount.path / HANDLE / "saved_model.pb").read_bytes() == CONTENT["saved_model.pb"]
        assert hub.body_bytes(HANDLE) - before_bytes <= SPANS_BYTES
        assert right(mount.path / HANDLE)


def test_what_memory_lost_is_read_again_by_spans(
    tmp_path: Path, machine: Machine, hub: NginxHub, archive: Path
) -> None:
    options = ("--no-disk-cache", "--memory-size", "8MiB", "--inflate-workers", "2")
    with mounted(machine, tmp_path / "hub", hub.url, *options) as mount:
        assert right(mount.path / HANDLE)
        once_bytes = hub.body_bytes(HANDLE)
        with (mount.path / HANDLE / "variables/variables.data-00000-of-00001").open("rb", buffering=0) as file:
            file.seek(17 * MIB + 3)
            assert file.read(1000) == CONTENT["variables/variables.data-00000-of-00001"][17 * MIB + 3 :][:1000]
        assert hub.body_bytes(HANDLE) - once_bytes < archive.stat().st_size


def test_with_a_published_index_the_first_touch_costs_its_spans(
    tmp_path: Path, machine: Machine, hub: NginxHub, archive: Path
) -> None:
    index = tmp_path / "index"
    done = machine.hubfs("index", archive, "--output", index)
    assert done.returncode == 0, done.stderr
    # Beside the archive, by its URL; this host finds files by the query.
    hub.host_archive(f"{HANDLE}.hubfs-index", index)
    with mounted(machine, tmp_path / "hub", hub.url, "--prefetch", "none") as mount:
        assert (mount.path / HANDLE / "saved_model.pb").read_bytes() == CONTENT["saved_model.pb"]
        assert hub.body_bytes(HANDLE) <= SPANS_BYTES
        assert right(mount.path / HANDLE)


def test_an_index_of_another_archive_is_left_aside(
    tmp_path: Path, machine: Machine, hub: NginxHub, archive: Path
) -> None:
    other = tmp_path / "other.tar.gz"
    other.write_bytes(gzipped(tar_of({**CONTENT, "saved_model.pb": b"another"}), level=1))
    index = tmp_path / "index"
    assert machine.hubfs("index", other, "--output", index).returncode == 0
    hub.host_archive(f"{HANDLE}.hubfs-index", index)
    with mounted(machine, tmp_path / "hub", hub.url) as mount:
        assert right(mount.path / HANDLE)
    assert hub.body_bytes(HANDLE) >= archive.stat().st_size
