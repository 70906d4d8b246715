"""Archives that are made to exhaust who opens them: each is refused by a documented limit, or costs little.

The limits are those of the daemon as it is; only the bombs are as small as a limit allows.
"""

import errno
import os
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.formats.names import MAX_MEMBERS, MAX_NAMES_BYTES
from hubfs.formats.tar.header import MAX_EXTENDED_HEADER_BYTES, MAX_PAX_RECORDS
from hubfs.formats.tar.sparse import MAX_EXTENTS
from tests.conftest import MountHub
from tests.support.archives import END_MARKER, base_256, gnu_long_name, gzipped, header, member, padded, pax, tar_of
from tests.support.figures import Figures
from tests.support.files import files
from tests.support.gcs_server import gcs_server
from tests.support.mount import Mount
from tests.support.nginx import nginx_hub
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted

MIB = 1 << 20
MEMORY_BYTES = 32 * MIB
CACHE_BYTES = 48 * MIB

GROWTH_BYTES = 128 * MIB
"""What a bomb may add to the daemon's memory at most, with `--memory-size 32MiB`: that, 32 MiB of names
twice (as the archive has them, and as the model's entries), and 100,000 entries. 75 to 100 MiB were measured."""

BOUND_S = 90.0
"""By when a reader has its answer. The slowest takes 3 s on an idle machine; tests share theirs."""

GOOD = {"saved_model.pb": b"graph" * 100, "variables/variables.index": bytes(range(256))}
FIRST = tar_of(GOOD, directories=False).rstrip(b"\0")
FIRST += bytes(-len(FIRST) % 512)


def sparse(sparse_map: bytes, size_bytes: int, name: bytes = b"a") -> bytes:
    """A member with this map, of PAX 1.0, and as many bytes of data as the map's stretches have."""
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"%d" % size_bytes}
    data_bytes = 512 * (sparse_map.count(b"\n512"))
    return pax(records) + member(name, padded(sparse_map) + bytes(data_bytes))


def stretches(count: int) -> tuple[bytes, int]:
    """A map of so many, with holes between them, and the size of the file."""
    numbers = b"".join(b"%d\n512\n" % (1 << 30 | 1024 * number) for number in range(count))
    return b"%d\n" % count + numbers, (1 << 30) + 1024 * count


@pytest.fixture(scope="module")
def bombs() -> dict[str, tuple[bytes, str]]:
    """By name: the archive, and how the reason reads for which it is refused."""
    return {
        "members": (
            gzipped(b"".join(header(b"%d" % number) for number in range(MAX_MEMBERS + 1)) + END_MARKER, level=1),
            f"at most {MAX_MEMBERS} are taken",
        ),
        "directories": (
            gzipped(b"".join(header(b"d%d/" % number + b"d/" * 24 + b"f") for number in range(MAX_MEMBERS // 25 + 1))),
            f"at most {MAX_MEMBERS} are taken",
        ),
        "names": (
            gzipped(
                b"".join(
                    gnu_long_name(b"%d" % number + (b"/" + b"n" * 30) * 120) + header(b"a") for number in range(9100)
                )
            ),
            f"at most {MAX_NAMES_BYTES} bytes are taken",
        ),
        "depth": (
            gzipped(gnu_long_name(b"d/" * 10_000) + header(b"a", kind=tarfile.DIRTYPE)),
            "deeper than 128 directories",
        ),
        "name": (gzipped(gnu_long_name(b"n" * 256) + header(b"a")), "more than 255 bytes"),
        "gnu-name": (
            gzipped(gnu_long_name(b"n" * MIB) + header(b"a")),
            f"at most {MAX_EXTENDED_HEADER_BYTES} are taken",
        ),
        "pax-name": (
            gzipped(pax({b"path": b"n" * MIB}) + header(b"a")),
            f"at most {MAX_EXTENDED_HEADER_BYTES} are taken",
        ),
        "pax-gigabytes": (
            gzipped(header(b"p", kind=tarfile.XHDTYPE, size=base_256(4 << 30)) + bytes(MIB)),
            f"at most {MAX_EXTENDED_HEADER_BYTES} are taken",
        ),
        "pax-on-pax": (
            gzipped(b"".join([pax({b"comment": b"c" * 3000})] * 300) + header(b"a")),
            f"at most {MAX_EXTENDED_HEADER_BYTES} are taken",
        ),
        "pax-records": (
            gzipped(FIRST + pax(b"7 a=bc\n" * 149_000) + header(b"a")),
            f"at most {MAX_PAX_RECORDS} are taken",
        ),
        "exabytes": (gzipped(FIRST + header(b"weights", size=base_256(1 << 60))), "impossible size"),
        "pax-exabytes": (gzipped(FIRST + pax({b"size": b"9" * 20}) + header(b"weights")), "impossible size"),
        "terabytes": (
            gzipped(FIRST + header(b"weights", size=base_256(1 << 43)) + bytes(MIB)),
            "all that deflate can do",
        ),
        "sparse": (gzipped(FIRST + sparse(b"0\n", 1 << 62)), "impossible size"),
        "stretches": (
            gzipped(FIRST + sparse(b"%d\n" % (MAX_EXTENTS + 1), 1 << 40)),
            f"at most {MAX_EXTENTS} stretches",
        ),
        "stretches-in-all": (
            gzipped(b"".join(sparse(*stretches(2000), name=b"%d" % number) for number in range(51)), level=1),
            f"at most {MAX_EXTENTS} stretches",
        ),
        "negative": (gzipped(FIRST + header(b"weights", size=base_256(-1 << 40))), "impossible size"),
        "gzip-of-gzip": (gzipped(gzipped(gzipped(os.urandom(5000)))), "neither gzip nor tar"),
        "file-below-file": (gzipped(FIRST + member(b"saved_model.pb/a", b"1") + END_MARKER), "which is a file"),
    }


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    with nginx_hub(tmp_path / "nginx") as nginx, gcs_server() as store:
        yield Origin(nginx, store, "compressed")


def host(origin: Origin, tmp_path: Path, handle: str, archive: bytes) -> None:
    place = tmp_path / f"{handle.replace('/', '_')}.tar.gz"
    place.write_bytes(archive)
    origin.nginx.host_archive(handle, place)


OPTIONS = ("--memory-size", str(MEMORY_BYTES))
CACHES = {"disk": ("--cache-size", str(CACHE_BYTES)), "no-disk": ("--no-disk-cache",)}


def peak_bytes(hub: Mount) -> int:
    """The most memory that the daemon had since it was last forgotten."""
    (pid,) = hub.pids()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


@contextmanager
def bounded_memory(hub: Mount) -> Iterator[None]:
    """Whatever is done inside, the daemon's memory grows by no more than it may."""
    (pid,) = hub.pids()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    before_bytes = peak_bytes(hub)
    yield
    grown_bytes = peak_bytes(hub) - before_bytes
    print(f"the daemon's memory grew by {grown_bytes / MIB:.0f} MiB")
    assert grown_bytes <= GROWTH_BYTES, f"the daemon's memory grew by {grown_bytes / MIB:.0f} MiB"


def on_disk_bytes(hub: Mount) -> int:
    return sum(path.stat().st_blocks * 512 for path in hub.machine.home.rglob("*") if path.is_file())


@pytest.mark.parametrize("cache", CACHES)
def test_a_bomb_is_refused_by_its_limit_in_bounded_memory_and_time(
    mount: MountHub,
    origin: Origin,
    tmp_path: Path,
    cache: str,
    bombs: dict[str, tuple[bytes, str]],
    figures: Figures,
) -> None:
    if cache == "no-disk":  # once is enough of what takes longest: nothing of it reaches the cache
        bombs = {name: bomb for name, bomb in bombs.items() if name != "members"}
    for name, (archive, _) in bombs.items():
        host(origin, tmp_path, f"bomb/{name}/1", archive)
    host(origin, tmp_path, "good/model/1", gzipped(FIRST + END_MARKER))
    with mount(origin, *OPTIONS, *CACHES[cache]) as hub, bounded_memory(hub):
        for name, (_, reason) in bombs.items():
            began_s = time.monotonic()
            model = hub.path / "bomb" / name / "1"
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                os.listdir(model)
            assert reason in hub.error_of(model)
            assert time.monotonic() - began_s < BOUND_S
            figures.add("bombs", refused=1)
        assert files(hub.path / "good/model/1") == GOOD
        assert on_disk_bytes(hub) < MIB  # nothing is kept of what was refused


def test_as_many_stretches_as_there_may_be_are_read_in_bounded_memory(
    mount: MountHub, origin: Origin, tmp_path: Path
) -> None:
    many = b"".join(sparse(*stretches(2000), name=b"%d" % number) for number in range(50))
    host(origin, tmp_path, "many/stretches/1", gzipped(many + END_MARKER, level=1))
    with mount(origin, *OPTIONS, "--no-disk-cache") as hub, bounded_memory(hub):
        assert len(os.listdir(hub.path / "many/stretches/1")) == 50
        assert (hub.path / "many/stretches/1/7").stat().st_size == (1 << 30) + 1024 * 2000


def test_as_many_names_twice_as_there_may_be_are_read_in_bounded_memory(
    mount: MountHub, origin: Origin, tmp_path: Path
) -> None:
    twice = b"".join(member(b"%d" % (number % 40_000), b"1") for number in range(80_000))
    host(origin, tmp_path, "many/twice/1", gzipped(twice + END_MARKER, level=1))
    with mount(origin, *OPTIONS, "--no-disk-cache") as hub, bounded_memory(hub):
        assert len(os.listdir(hub.path / "many/twice/1")) == 40_000


def zeros_tar(size_bytes: int) -> Iterator[bytes]:
    yield FIRST + header(b"variables/zeros", size=size_bytes)
    yield bytes(size_bytes)
    yield END_MARKER


def read_all_zeros(place: Path) -> int:
    count = 0
    with place.open("rb", buffering=0) as file:
        while chunk := file.read(MIB):
            assert not any(chunk)
            count += len(chunk)
    return count


@pytest.mark.parametrize(
    ("cache", "worker"), [("disk", False), ("no-disk", True)], ids=["disk", "no disk, by the process"]
)
def test_what_deflated_a_thousandfold_is_read_and_takes_no_more_room_than_there_is(
    mount: MountHub, origin: Origin, tmp_path: Path, cache: str, figures: Figures, *, worker: bool
) -> None:
    """Weights that were initialised with zeros are no bomb: nothing tells them apart, so both are bounded by room."""
    size_bytes = 96 * MIB
    packed = b"".join(zeros_tar(size_bytes))
    if worker:  # which takes archives of 8 MiB and more
        noise = os.urandom(9 * MIB)
        packed = packed[: -len(END_MARKER)] + member(b"variables/noise", noise) + END_MARKER
    host(origin, tmp_path, "zeros/model/1", gzipped(packed, level=1))
    host(origin, tmp_path, "good/model/1", gzipped(FIRST + END_MARKER))
    with mount(origin, *OPTIONS, *CACHES[cache]) as hub, bounded_memory(hub):
        assert files(hub.path / "good/model/1") == GOOD
        assert read_all_zeros(hub.path / "zeros/model/1/variables/zeros") == size_bytes
        if worker:
            assert (hub.path / "zeros/model/1/variables/noise").read_bytes() == noise
        assert on_disk_bytes(hub) <= CACHE_BYTES + MIB
        assert files(hub.path / "good/model/1") == GOOD
    figures.add("bombs", bounded=1)


def test_zeros_behind_the_end_cost_time_alone(
    mount: MountHub, origin: Origin, tmp_path: Path, figures: Figures
) -> None:
    host(origin, tmp_path, "tail/model/1", gzipped(FIRST + END_MARKER) + 3 * gzipped(bytes(64 * MIB)))
    with mount(origin, *OPTIONS, *CACHES["disk"]) as hub, bounded_memory(hub):
        assert files(hub.path / "tail/model/1") == GOOD
        assert on_disk_bytes(hub) < MIB
    figures.add("bombs", bounded=1)


def test_zeros_without_end_are_refused(mount: MountHub, origin: Origin, tmp_path: Path, figures: Figures) -> None:
    """Twenty GiB of them until the limit, which takes ten seconds."""
    host(origin, tmp_path, "endless/model/1", gzipped(FIRST + END_MARKER) + 400 * gzipped(bytes(64 * MIB)))
    with mount(origin, *OPTIONS, "--no-disk-cache") as hub, bounded_memory(hub):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.listdir(hub.path / "endless/model/1")
        assert "the archive is hostile" in hub.error_of(hub.path / "endless/model/1")
    figures.add("bombs", refused=1)


def test_a_model_as_deep_as_a_path_may_be_is_found_soon(mount: MountHub, origin: Origin, tmp_path: Path) -> None:
    """Thousands of files, as deep as a path may be: what costs n for each of them must not cost n²."""
    deep = "d/" * 127
    made = b"".join(gnu_long_name(f"{deep}{number}".encode()) + member(b"a", b"data") for number in range(300))
    host(origin, tmp_path, "deep/model/1", gzipped(made + END_MARKER))
    with mount(origin, *OPTIONS) as hub, bounded_memory(hub):
        began_s = time.monotonic()
        assert os.listdir(hub.path / "deep/model/1") == ["d"]
        descriptor = os.open(hub.path / "deep/model/1" / ("d/" * 127), os.O_PATH)
        try:
            with open("299", "rb", opener=lambda name, flags: os.open(name, flags, dir_fd=descriptor)) as file:
                assert file.read() == b"data"
        finally:
            os.close(descriptor)
        assert time.monotonic() - began_s < BOUND_S
