"""Every byte that is read through the mount is the origin's, whatever reads it and however."""

import hashlib
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.support.files import files
from tests.support.mount import Mount
from tests.support.origin import Origin
from tests.support.programs import output_of

pytestmark = [pytest.mark.mounted, pytest.mark.both_libfuses]

# In a process of its own: a page fault holds the interpreter's lock, which the tests' own servers need to answer it.
MMAP_PROGRAM = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    middle = len(mapped) // 2
    assert len(mapped[middle : middle + 5000]) == 5000
    print(hashlib.sha256(mapped).hexdigest())
"""


@pytest.fixture
def hub(mount: MountHub, origin: Origin) -> Iterator[Mount]:
    with mount(origin) as hub:
        yield hub


def run(*command: str | Path) -> str:
    return output_of(command, timeout=120)


def test_cp_copies_the_whole_model(hub: Mount, small: Path, tmp_path: Path) -> None:
    run("cp", "-r", hub.path / SMALL, tmp_path / "copy")
    assert files(tmp_path / "copy") == files(small)


def test_sha256sum_gives_the_sums_of_the_original(hub: Mount, small: Path) -> None:
    for name, data in files(small).items():
        assert run("sha256sum", hub.path / SMALL / name).split()[0] == hashlib.sha256(data).hexdigest()


def test_a_mapped_file_holds_the_bytes_of_the_original(hub: Mount, small: Path) -> None:
    name = "variables/variables.data-00000-of-00001"
    printed = run(sys.executable, "-c", MMAP_PROGRAM, hub.path / SMALL / name)
    assert printed.strip() == hashlib.sha256((small / name).read_bytes()).hexdigest()


def test_ten_thousand_random_reads_give_the_bytes_of_the_original(hub: Mount, small: Path) -> None:
    name = "variables/variables.data-00000-of-00001"
    original = (small / name).read_bytes()
    places = random.Random(11)
    file = os.open(hub.path / SMALL / name, os.O_RDONLY)
    try:
        for _ in range(10_000):
            offset = places.randrange(len(original) + 1000)
            size = places.choice([1, 100, 4096, 65_537])
            assert os.pread(file, size, offset) == original[offset : offset + size]
    finally:
        os.close(file)


def test_sixteen_parallel_readers_read_the_bytes_of_the_original(hub: Mount, small: Path) -> None:
    originals = files(small)

    def differing(reader: int) -> list[str]:
        names = random.Random(reader).sample(sorted(originals), len(originals))
        return [name for name in names if (hub.path / SMALL / name).read_bytes() != originals[name]]

    with ThreadPoolExecutor(16) as readers:
        assert list(readers.map(differing, range(16))) == [[]] * 16


def test_a_cold_read_by_many_asks_for_each_byte_once(hub: Mount, origin: Origin, small: Path) -> None:
    before = origin.sent_bytes(SMALL)
    with ThreadPoolExecutor(16) as readers:
        assert all(data == files(small) for data in readers.map(files, [hub.path / SMALL] * 16))
    hosted_bytes = sum(len(data) for data in files(small).values())
    # Noise does not compress: the archive is as large as its files.
    assert hosted_bytes * 0.98 <= origin.sent_bytes(SMALL) - before <= hosted_bytes * 1.02


def test_without_a_disk_cache_no_file_is_ever_written(mount: MountHub, origin: Origin, small: Path) -> None:
    with mount(origin, "--no-disk-cache") as hub:
        assert files(hub.path / SMALL) == files(small)
        written = [path for path in hub.machine.root.rglob("*") if not path.is_dir()]
        assert written == []
        dump = hub.log_file.with_name(hub.log_file.name + ".dump")  # for SIGUSR1: it must be open when that comes
        assert open_for_writing(hub) <= {hub.log_file, dump}
    assert [path for path in hub.machine.root.rglob("*") if path not in (hub.machine.home, hub.machine.temp)] == []


def test_the_disk_cache_is_where_files_go_otherwise(
    mount: MountHub, origin: Origin, small: Path, tmp_path: Path
) -> None:
    with mount(origin, "--cache-dir", tmp_path / "cache") as hub:
        assert files(hub.path / SMALL) == files(small)
        assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) > 8 << 20
        assert [path for path in hub.machine.root.rglob("*") if path.is_file()] == []


def test_reading_one_file_of_a_bucket_fetches_nothing_of_the_others(
    mount: MountHub, servers: Origin, small: Path
) -> None:
    origin = servers.asked_for("uncompressed")
    with mount(origin, "--prefetch", "none") as hub:
        before = (origin.sent_bytes(SMALL, "variables/"), origin.sent_bytes(SMALL, "saved_model.pb"))
        data = (hub.path / SMALL / "saved_model.pb").read_bytes()
        assert data == (small / "saved_model.pb").read_bytes()
        assert origin.sent_bytes(SMALL, "variables/") == before[0]
        assert origin.sent_bytes(SMALL, "saved_model.pb") == before[1] + len(data)


def open_for_writing(hub: Mount) -> set[Path]:
    """The regular files that the daemon has open for writing."""
    found = set()
    for pid in hub.pids():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = descriptor.readlink()
            flags = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0]
            if target.is_file() and int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                found.add(target)
    return found
