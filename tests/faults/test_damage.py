"""Archives as hubs have them: every sound shape is read, and of a damaged one nothing passes for complete."""

import errno
import gzip
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MountHub
from tests.support import archives
from tests.support.files import files
from tests.support.gcs_server import gcs_server
from tests.support.mount import Mount
from tests.support.nginx import nginx_hub
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted

HANDLE = "noise/model/1"
FILES = archives.model_files(variables_bytes=3_000_000)
TAR = archives.tar_of(FILES)
ARCHIVE = archives.gzipped(TAR)
LONG_NAME = "assets/" + "/".join(f"{'long' * 12}-{number}" for number in range(4)) + "/vocab.txt"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    with nginx_hub(tmp_path / "nginx") as nginx, gcs_server() as store:
        yield Origin(nginx, store, "compressed")


def host(origin: Origin, tmp_path: Path, archive: bytes) -> None:
    place = tmp_path / "archive.tar.gz"
    place.write_bytes(archive)
    origin.nginx.host_archive(HANDLE, place)


@pytest.mark.parametrize(
    ("members", "archive"),
    [
        pytest.param(FILES, ARCHIVE, id="saved_model.pb last"),
        pytest.param(FILES, archives.gzipped(archives.tar_of(FILES, directories=False)), id="no directory members"),
        pytest.param(FILES, archives.gzipped(archives.tar_of(FILES, prefix="./")), id="names with dot-slash"),
        pytest.param(FILES, TAR, id="plain tar"),
        pytest.param(FILES, gzip.compress(TAR[:70_000]) + gzip.compress(TAR[70_000:]), id="two gzip members"),
        *(
            pytest.param(
                {LONG_NAME: b"word\n" * 999, **FILES},
                archives.gzipped(archives.tar_of({LONG_NAME: b"word\n" * 999, **FILES}, format=form)),
                id=f"{name} long names",
            )
            for name, form in (("GNU", tarfile.GNU_FORMAT), ("PAX", tarfile.PAX_FORMAT))
        ),
    ],
)
def test_every_sound_shape_is_read(
    mount: MountHub, origin: Origin, tmp_path: Path, members: dict[str, bytes], archive: bytes
) -> None:
    host(origin, tmp_path, archive)
    with mount(origin) as hub:
        assert files(hub.path / HANDLE) == members


def begun_gzip(data: bytes) -> bytes:
    """The first part of a gzip stream: all of `data` inflates from it, and no checksum follows."""
    deflate = zlib.compressobj(wbits=31)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)


CUT = archives.padded(TAR.rstrip(b"\0"))
"""All members, and no end marker: whole only where gzip's checksum and length vouch for the end."""

DAMAGED = {
    "truncated": ARCHIVE[: len(ARCHIVE) // 2],
    "a tar cut behind a member": CUT,
    "a gzip stream cut behind a member": begun_gzip(CUT),
    "one bit flipped": archives.flipped(ARCHIVE, len(ARCHIVE) * 4),
    "wrong CRC": archives.flipped(ARCHIVE, (len(ARCHIVE) - 6) * 8),
    "a name outside": archives.gzipped(archives.tar_of({**FILES, "../outside": b"x"})),
    "a symlink": archives.gzipped(archives.header(b"link", kind=tarfile.SYMTYPE, link=b"/etc/passwd") + TAR),
}


@pytest.mark.parametrize("archive", DAMAGED.values(), ids=DAMAGED)
def test_nothing_of_a_damaged_archive_passes_for_complete_and_the_reason_is_told(
    mount: MountHub, origin: Origin, tmp_path: Path, archive: bytes
) -> None:
    host(origin, tmp_path, archive)
    with mount(origin) as hub:
        model = hub.path / HANDLE
        assert_unreadable(hub, model)
        reason = hub.error_of(model)
        assert origin.url in reason, "the reason names the URL"
        assert "?" not in reason.split(origin.url)[1].split(":")[0], "but not its query"
        assert reason in hub.log()
        assert reason in texts(hub.status())
        assert HANDLE in json.dumps(hub.status())
    assert cached_bytes(hub) == 0, "damaged bytes were kept"

    with mount(origin) as hub:  # nothing of it is served after a restart either
        assert_unreadable(hub, hub.path / HANDLE)

    host(origin, tmp_path, ARCHIVE)
    with mount(origin) as hub:
        assert files(hub.path / HANDLE) == FILES
        assert hub.is_sound(hub.path / HANDLE)


def assert_unreadable(hub: Mount, model: Path) -> None:
    """A listing, which waits for the whole archive, fails; then so does every file, as often as it is tried."""
    for directory in (model, model / "variables"):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.listdir(directory)
    for name in FILES:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            (model / name).read_bytes()


def texts(value: object) -> str:
    """All strings in a JSON value."""
    match value:
        case dict():
            return "\n".join(map(texts, value.values()))
        case list():
            return "\n".join(map(texts, value))
        case _:
            return str(value)


def cached_bytes(hub: Mount) -> int:
    """What the cache keeps of FILES: bytes of files with a whole block, or a whole file, of theirs."""
    kept = [path.read_bytes() for path in hub.machine.home.rglob("*") if path.is_file()]
    probes = [data[:700] for data in FILES.values() if len(data) >= 700]
    return sum(len(data) for data in kept if any(probe in data for probe in probes))


def test_a_page_for_people_is_no_model(mount: MountHub, origin: Origin, tmp_path: Path) -> None:
    host(origin, tmp_path, b"<!DOCTYPE html><html><body>No such model</body></html>")
    with mount(origin) as hub, pytest.raises(FileNotFoundError):
        (hub.path / HANDLE / "saved_model.pb").read_bytes()


def test_what_is_neither_an_archive_nor_a_page_is_damage(mount: MountHub, origin: Origin, tmp_path: Path) -> None:
    host(origin, tmp_path, b"\x7fELF" + bytes(100_000))
    with mount(origin) as hub:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            (hub.path / HANDLE / "saved_model.pb").read_bytes()
        assert origin.url in hub.log()
        assert origin.url in texts(hub.status()["models"])


def test_files_that_come_before_the_damage_can_be_read_until_it_is_found(mount: MountHub, tmp_path: Path) -> None:
    with nginx_hub(tmp_path / "nginx", bytes_per_s=1_000_000) as nginx, gcs_server() as store:
        origin = Origin(nginx, store, "compressed")
        host(origin, tmp_path, DAMAGED["wrong CRC"])
        with mount(origin) as hub:
            model = hub.path / HANDLE
            assert (model / "assets/vocab.txt").read_bytes() == FILES["assets/vocab.txt"]
            assert hub.is_sound(model)
            assert_unreadable(hub, model)
