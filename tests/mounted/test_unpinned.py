"""Hosts that name no version of what they send: a weak ETag and no date, as Express' defaults; nothing, as HTTP/1.0."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.files import files
from tests.support.http_origin import Answer, HttpOrigin, Resource, Route
from tests.support.mount import Machine, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

HANDLE = "noise/large/1"
NOTES = "assets/notes.txt"
WEIGHTS = "variables/variables.data-00000-of-00001"
MIB = 1 << 20
MODEL_MIB = 14
LITTLE_MEMORY = ("--no-disk-cache", "--memory-size", "8MiB", "--inflate-workers", "1")

_FEW_BITS = bytes(n % 64 for n in range(256))  # six bits a byte, as Huffman codes have it
_ALIKE = random.Random(1).randbytes(2 * MIB).translate(_FEW_BITS)


def content(version: int) -> dict[str, bytes]:
    """Two versions begin alike, as two trainings of one graph do."""
    weights = _ALIKE + random.Random(version).randbytes((MODEL_MIB - 2) * MIB).translate(_FEW_BITS)
    return {
        "saved_model.pb": b"graph" * 60_000,
        NOTES: b"trained anew, " * version**8,
        WEIGHTS: weights,
        "variables/variables.index": b"index" * 300,
    }


def packed(version: int, size_bytes: int) -> bytes:
    """The archive of that version; zeros behind it, which gzip allows, make all of one size."""
    archive = gzipped(tar_of(content(version)), level=1)
    assert len(archive) <= size_bytes
    return archive + bytes(size_bytes - len(archive))


FIRST, SECOND = content(1), content(2)


@dataclass
class Host:
    """A host of one archive, which `how` makes replies of."""

    origin: HttpOrigin
    how: "Callable[[Host, bytes], Route]"
    archives: tuple[bytes, bytes]

    def serve(self, archive: bytes) -> None:
        self.origin.route(f"/{HANDLE}", _of_the_form(self.how(self, archive)))

    def body_bytes(self) -> int:
        return self.origin.body_bytes_sent(f"/{HANDLE}")


def _of_the_form(route: Route) -> Route:
    return lambda request: route(request) if request.query == "tf-hub-format=compressed" else Answer(404)


def express(_: Host, archive: bytes) -> Route:
    """`res.sendFile` without dates."""
    return Resource(archive, etag=f'W/"{len(archive):x}-{hash(archive):x}"')


def express_that_does_not_tell(_: Host, archive: bytes) -> Route:
    """A weak ETag promises nothing."""
    return Resource(archive, etag=f'W/"{len(archive):x}"')


def express_without_ranges(_: Host, archive: bytes) -> Route:
    """`res.send(buffer)`."""
    return Resource(archive, etag=f'W/"{len(archive):x}"', ranges=False)


def http_1_0(host: Host, archive: bytes) -> Route:
    """The end of the connection is the end of the body."""

    def reply() -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"
        for start in range(0, len(archive), 1 << 16):
            piece = archive[start : start + (1 << 16)]
            host.origin.sent(f"/{HANDLE}", len(piece))
            yield piece

    return lambda _: Answer(wire=reply())


@pytest.fixture(scope="module")
def archives() -> tuple[bytes, bytes]:
    size_bytes = max(len(gzipped(tar_of(files), level=1)) for files in (FIRST, SECOND))
    return packed(1, size_bytes), packed(2, size_bytes)


every_host = pytest.mark.parametrize(
    "how", [express, express_that_does_not_tell, express_without_ranges, http_1_0], ids=lambda how: how.__name__
)


@pytest.fixture
def host(how: "Callable[[Host, bytes], Route]", archives: tuple[bytes, bytes]) -> Iterator[Host]:
    with HttpOrigin() as origin:
        host = Host(origin, how, archives)
        host.serve(archives[0])
        yield host


@every_host
def test_a_model_larger_than_the_cache_is_read(host: Host, machine: Machine, tmp_path: Path) -> None:
    with mounted(machine, tmp_path / "hub", host.origin.url, *LITTLE_MEMORY) as mount:
        root = mount.path / HANDLE
        assert files(root) == FIRST
        assert not _read_here_and_there(root)
        assert files(root) == FIRST
        assert all(model["error"] is None for model in mount.status()["models"])


@every_host
def test_a_model_that_is_swapped_is_stale_and_never_mixed(host: Host, machine: Machine, tmp_path: Path) -> None:
    user = machine.with_environment(HUBFS_FAILURE_TTL="1s")
    with mounted(user, tmp_path / "hub", host.origin.url, *LITTLE_MEMORY) as mount:
        root = mount.path / HANDLE
        assert files(root) == FIRST
        host.serve(host.archives[1])
        assert errno.ESTALE in _read_here_and_there(root), "nobody noticed"
        assert eventually(lambda: _files_or_none(root) == SECOND)


@pytest.mark.parametrize("how", [express])
def test_the_kernel_is_told_of_the_size_of_a_file_that_nobody_opened_before_the_swap(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    """It believes for a day what it was told of the size, and ends the reads of the other file there."""
    user = machine.with_environment(HUBFS_FAILURE_TTL="1s")
    with mounted(user, tmp_path / "hub", host.origin.url, *LITTLE_MEMORY) as mount:
        graph, notes = mount.path / HANDLE / "saved_model.pb", mount.path / HANDLE / NOTES
        assert notes.stat().st_size == len(FIRST[NOTES])
        host.serve(host.archives[1])
        assert errno.ESTALE in _read_here_and_there(mount.path / HANDLE), "nobody noticed"
        assert eventually(lambda: _read_or_none(graph) == SECOND["saved_model.pb"])
        assert notes.stat().st_size == len(SECOND[NOTES])
        assert notes.read_bytes() == SECOND[NOTES]


@every_host
def test_a_cached_model_is_kept_and_what_it_lost_is_held_against_it(
    host: Host, machine: Machine, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    options = ("--cache-dir", cache, "--inflate-workers", "1", "--prefetch", "none")
    with mounted(machine, tmp_path / "hub", host.origin.url, *options) as mount:
        assert files(mount.path / HANDLE) == FIRST
    once_bytes = host.body_bytes()
    with mounted(machine, tmp_path / "hub", host.origin.url, *options) as mount:
        assert files(mount.path / HANDLE) == FIRST
    assert host.body_bytes() == once_bytes, "a cached model was fetched"
    _lose(cache, WEIGHTS)
    with mounted(machine, tmp_path / "hub", host.origin.url, *options) as mount:
        assert files(mount.path / HANDLE) == FIRST
    _lose(cache, WEIGHTS)
    host.serve(host.archives[1])
    user = machine.with_environment(HUBFS_FAILURE_TTL="1s")
    with mounted(user, tmp_path / "hub", host.origin.url, *options) as mount:
        root = mount.path / HANDLE
        assert (root / "saved_model.pb").read_bytes() == FIRST["saved_model.pb"]
        assert errno.ESTALE in _read_here_and_there(root), "nobody noticed"
        assert eventually(lambda: _files_or_none(root) == SECOND)


def _lose(cache: Path, path: str) -> None:
    """What of a file is cached goes away."""
    for kind in ("data", "blocks"):
        found = [one for one in cache.rglob(path) if kind in one.parts]
        assert found
        for one in found:
            one.unlink()
    for folder in cache.rglob("trash/*"):
        shutil.rmtree(folder)


def _read_here_and_there(root: Path) -> set[int]:
    """Reads the weights MiB by MiB, last ones first; whatever is read is of FIRST. Returns the errnos that came."""
    errnos = set()
    with (root / WEIGHTS).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what the kernel has is no question to us
        for offset in range((MODEL_MIB - 1) * MIB, -1, -MIB):
            file.seek(offset)
            try:
                read = file.read(MIB)
            except OSError as error:
                errnos.add(error.errno)
            else:
                assert read == FIRST[WEIGHTS][offset : offset + MIB], "another version's bytes"
    return errnos


def _files_or_none(root: Path) -> dict[str, bytes] | None:
    with suppress(OSError):
        return files(root)
    return None


def _read_or_none(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None
