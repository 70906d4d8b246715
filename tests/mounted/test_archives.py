"""Archives as tar programs write them, of odd files: what a mount shows is what the tar program extracts."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.archives import END_MARKER, gzipped, member
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import NginxHub, nginx_hub

pytestmark = [pytest.mark.mounted, pytest.mark.both_libfuses]

NO_UTF_8 = b"na\xefve \xff\xfe"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[NginxHub]:
    with nginx_hub(tmp_path / "nginx") as hub:
        yield hub


def host(hub: NginxHub, handle: str, packed: bytes, folder: Path) -> None:
    archive = folder / f"{handle.replace('/', '-')}.tar.gz"
    archive.write_bytes(packed)
    hub.host_archive(handle, archive)


def same(mount: Mount, handle: str, folder: Path) -> bool:
    done = subprocess.run(["diff", "-r", folder, mount.path / handle], check=False, capture_output=True, timeout=120)
    assert not done.stdout
    assert not done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("tool", ["bsdtar -cz", "tar -Scz --format=gnu", "tar -Scz --format=posix"])
def test_files_with_holes_and_names_that_are_no_utf_8(
    tmp_path: Path, machine: Machine, hub: NginxHub, tool: str
) -> None:
    program, *options = tool.split()
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    folder = tmp_path / "model"
    folder.mkdir()
    with (folder / "holes").open("wb") as file:
        file.truncate(70 << 20)
        for offset in (0, 5 << 20, 64 << 20):
            file.seek(offset)
            file.write(os.urandom(5000))
    with open(os.fsencode(folder) + b"/" + NO_UTF_8, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"named")
    archive = tmp_path / "model.tar.gz"
    subprocess.run([program, *options, "-f", archive, "-C", folder, "."], check=True, env={**os.environ, "LC_ALL": "C"})
    hub.host_archive("odd/files/1", archive)
    cache = tmp_path / "cache"
    for _ in range(2):  # the second time out of the cache
        with mounted(machine, tmp_path / "hub", hub.url, "--cache-dir", cache) as mount:
            root = mount.path / "odd/files/1"
            named = root / os.fsdecode(NO_UTF_8)
            assert same(mount, "odd/files/1", folder)
            assert named.stat().st_size == 5
            assert sorted(os.listdir(os.fsencode(root))) == sorted([b"holes", NO_UTF_8])
            assert os.getxattr(named, "user.hubfs.handle") == b"odd/files/1"
            with pytest.raises(FileNotFoundError):
                named.with_name(named.name + "\udcfd").stat()
            assert mount.status()["models"]
            assert "Traceback" not in mount.log()
    room_bytes = sum(path.stat().st_blocks * 512 for path in cache.rglob("*") if path.is_file())
    assert room_bytes < 1 << 20
    with mounted(machine, tmp_path / "hub", hub.url, "--cache-dir", cache, "--offline") as mount:
        assert same(mount, "odd/files/1", folder)


def test_a_hole_of_a_tebibyte_is_there_at_once(tmp_path: Path, machine: Machine, hub: NginxHub) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)
        file.seek((1 << 40) - 4)
        file.write(b"last")
    archive = tmp_path / "model.tar.gz"
    subprocess.run(["tar", "-Scz", "-f", archive, "-C", folder, "."], check=True)
    hub.host_archive("odd/large/1", archive)
    with mounted(machine, tmp_path / "hub", hub.url) as mount:
        file = os.open(mount.path / "odd/large/1/large", os.O_RDONLY)
        try:
            assert os.fstat(file).st_size == 1 << 40
            assert os.pread(file, 5000, 1 << 39) == bytes(5000)
            assert os.pread(file, 5000, (1 << 40) - 6) == b"\0\0last"
        finally:
            os.close(file)
        assert sum(model["cached_bytes"] for model in mount.status()["models"]) <= 4096


def test_a_tar_without_an_end_is_whole_in_gzip_only(tmp_path: Path, machine: Machine, hub: NginxHub) -> None:
    packed = member(b"a", b"first") + member(b"b", b"second")
    host(hub, "no/end/1", gzipped(packed), tmp_path)
    host(hub, "no/end/2", packed, tmp_path)
    host(hub, "no/end/3", gzipped(packed + END_MARKER)[:-9], tmp_path)
    with mounted(machine, tmp_path / "hub", hub.url) as mount:
        assert {path.name: path.read_bytes() for path in (mount.path / "no/end/1").iterdir()} == {
            "a": b"first",
            "b": b"second",
        }
        for version in ("2", "3"):
            with pytest.raises(OSError) as refused:  # noqa: PT011 - the errno is asked for below
                list((mount.path / "no/end" / version).iterdir())
            assert refused.value.errno == errno.EIO
        assert "without an end marker, behind member 'b'" in mount.log()


def test_a_file_that_comes_twice_is_the_last_one_for_who_lists_and_damage_for_who_has_the_first(
    tmp_path: Path, machine: Machine, hub: NginxHub
) -> None:
    same = member(b"a", b"one") + member(b"b", b"1") + member(b"a", b"one")
    other = member(b"a", b"one") + member(b"b", b"1") + member(b"a", b"two, longer")
    host(hub, "twice/same/1", gzipped(same + END_MARKER), tmp_path)
    for version in (1, 2):
        host(hub, f"twice/other/{version}", gzipped(other + END_MARKER), tmp_path)
    with mounted(machine, tmp_path / "hub", hub.url) as mount:
        assert (mount.path / "twice/same/1/a").read_bytes() == b"one"
        assert sorted(os.listdir(mount.path / "twice/same/1")) == ["a", "b"]
        listed = mount.path / "twice/other/1"
        assert sorted(os.listdir(listed)) == ["a", "b"]
        assert (listed / "a").stat().st_size == 11
        assert (listed / "a").read_bytes() == b"two, longer"
        # Whoever asks for the first may be told of it, and read it, before the last comes by: then that is damage.
        asked = mount.path / "twice/other/2"
        with suppress(OSError):
            size_bytes = (asked / "a").stat().st_size
            assert (size_bytes, (asked / "a").read_bytes()) in ((3, b"one"), (11, b"two, longer"))
        try:
            os.listdir(asked)
            assert (asked / "a").read_bytes() == b"two, longer"
        except OSError as damaged:
            assert damaged.errno == errno.EIO  # noqa: PT017 - or it is the last one
            assert "'a' comes twice, with other bytes" in mount.log()
