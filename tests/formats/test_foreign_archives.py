"""Archives of other programs' test suites (Go's archive/tar, CPython's tarfile): as GNU tar has them, or refused.

`scripts/test` fetches them out of Debian's packages. What is refused is in `REFUSED`, with the reason; an archive that
is in a newer package only is refused for one of those reasons.
"""

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.blobs.blob import Blob
from hubfs.errors import Damaged
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.source import EntryKind
from tests.support.archives import END_MARKER, gzipped
from tests.support.paths import ROOT
from tests.support.streams import Desk

FOLDER = ROOT / ".work/foreign-archives"
ARCHIVES = sorted(path for path in FOLDER.rglob("*.tar*") if path.is_file())

NO_END = "without an end marker"
"""The reason in a plain tar only: in gzip these are whole."""

REFUSED = {
    "gnu-incremental.tar": "unknown type b'D'",
    "gnu-long-nul.tar": "named with a NUL byte",
    "gnu-multi-hdrs.tar": "a symbolic link",
    "hardlink.tar": "a hard link",
    "hdr-only.tar": "a named pipe",
    "issue10968.tar": "neither gzip nor tar",
    "issue11169.tar": "PAX header is corrupt",
    "issue12435.tar": "neither gzip nor tar",
    "neg-size.tar": "neither gzip nor tar",
    "nil-uid.tar": NO_END,
    "pax-bad-hdr-file.tar": "PAX header is corrupt",
    "pax-bad-hdr-large.tar.bz2": "as bzip2 does",
    "pax-bad-mtime-file.tar": NO_END,
    "pax-global-records.tar": "an empty name",  # GNU tar fails, too
    "pax-multi-hdrs.tar": "a symbolic link",
    "pax-nul-path.tar": "named with a NUL byte",
    "pax-path-hdr.tar": "before the member it belongs to|without an end marker",
    "pax-pos-size-file.tar": NO_END,
    "pax.tar": "a symbolic link",
    "recursion.tar": "PAX header is corrupt",
    "sparse-formats.tar": "no whole blocks",  # GNU tar fails, too
    "testtar.tar": "a directory, but has 255 bytes",
    "testtar.tar.xz": "as xz does",
    "ustar-file-reg.tar": NO_END,
    "writer-big-long.tar": "is hostile",  # a header of 16 GiB, and nothing behind it
    "writer-big.tar": "is hostile",
    "writer.tar": "a symbolic link",
}
"""By the name of the file."""

REFUSED_MEMBERS = {
    "a hard link",
    "a symbolic link",
    "a character device",
    "a block device",
    "a named pipe",
    "unknown type",
    "a directory, but has 255 bytes",  # of which there are none: GNU tar and others disagree about what follows
}
"""Of members of CPython's testtar, one by one."""

pytestmark = [
    pytest.mark.fetched,
    pytest.mark.skipif(not ARCHIVES, reason="scripts/test fetches the archives of other test suites"),
]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def extracted(packed: bytes, folder: Path) -> dict[bytes, Path | None]:
    """What GNU tar makes of it: the files, and None for directories. It may fail, and have made some of it."""
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder, "--no-same-owner"], input=packed, check=False, capture_output=True)
    found = {}
    for path in folder.rglob("*"):
        assert path.is_dir() or path.is_file()
        found[os.fsencode(path.relative_to(folder))] = None if path.is_dir() else path
    return found


def is_same(blob: Blob, path: Path) -> bool:
    """Whether the two have the same bytes; holes are not read, however large they are."""
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        at = 0
        while at < size_bytes and blob.size_bytes == size_bytes:
            try:
                begins = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                begins = size_bytes
            ends = os.lseek(file.fileno(), begins, os.SEEK_HOLE) if begins < size_bytes else size_bytes
            for hole in {at, max(at, begins - 5000)}:
                length = min(5000, begins - hole)
                assert blob.read_at(hole, length) == bytes(length)
            assert blob.read_at(begins, ends - begins) == os.pread(file.fileno(), ends - begins, begins)
            at = ends
        return blob.size_bytes == size_bytes


def refusal_of(source: ArchiveSource) -> str | None:
    try:
        source.entries()
    except Damaged as refused:
        return str(refused)
    return None


def check(source: ArchiveSource, expected: dict[bytes, Path | None]) -> None:
    entries = {os.fsencode(entry.path): entry for entry in source.entries()}
    assert {path: entry.kind is EntryKind.DIRECTORY for path, entry in entries.items()} == {
        path: place is None for path, place in expected.items()
    }
    for path, place in expected.items():
        assert place is None or is_same(source.open(entries[path]), place), path


@pytest.mark.parametrize("compressed", [False, True], ids=["as it is", "in gzip"])
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_an_archive_is_what_gnu_tar_makes_of_it_or_refused_for_a_reason(
    desk: Desk, tmp_path: Path, archive: Path, *, compressed: bool
) -> None:
    packed = archive.read_bytes()
    source = desk.source(desk.stream(gzipped(packed) if compressed else packed))
    reason = REFUSED.get(archive.name)
    if reason is not None and not (compressed and reason == NO_END):
        with pytest.raises(Damaged, match=reason):
            source.entries()
        return
    refusal = refusal_of(source)
    if refusal is None:
        check(source, extracted(packed, tmp_path / "extracted"))
    else:
        assert archive.name not in KNOWN
        assert any(re.search(one, refusal) for one in (*REFUSED.values(), *REFUSED_MEMBERS))


KNOWN = {
    *(
        "file-and-dir.tar",
        "gnu-nil-sparse-data.tar",
        "gnu-nil-sparse-hole.tar",
        "gnu-not-utf8.tar",
        "gnu-sparse-big.tar",
    ),
    *("gnu-utf8.tar", "gnu.tar", "invalid-go17.tar", "pax-nil-sparse-data.tar", "pax-nil-sparse-hole.tar"),
    *("pax-nul-xattrs.tar", "pax-records.tar", "pax-sparse-big.tar", "star.tar", "trailing-slash.tar"),
    *("ustar-file-devs.tar", "ustar.tar", "v7.tar", "xattrs.tar"),
    *(name for name, reason in REFUSED.items() if reason == NO_END),
}
"""What is read."""


def test_the_archives_that_the_table_is_about_are_there() -> None:
    assert {*REFUSED, *KNOWN} - {path.name for path in ARCHIVES} <= {"recursion.tar"}


def test_most_of_pythons_testtar_is_read(desk: Desk) -> None:
    read = [name for name, packed in MEMBERS.items() if refusal_of(desk.source(desk.stream(packed))) is None]
    assert len(read) >= 24
    assert len([name for name in read if "sparse" in name]) >= 3


def members_of(packed: bytes) -> dict[str, bytes]:
    """Each member, with its extended headers, as an archive of its own."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as whole:
        infos = whole.getmembers()
    begins = [info.offset for info in infos] + [len(packed)]
    found = {}
    for number, info in enumerate(infos):
        name = info.name.encode("utf-8", "backslashreplace").decode()
        found[f"{number} {name[:60]}"] = packed[info.offset : begins[number + 1]] + END_MARKER
    return found


TESTTAR = next((path for path in ARCHIVES if path.name == "testtar.tar"), None)
MEMBERS = members_of(TESTTAR.read_bytes()) if TESTTAR is not None else {}


@pytest.mark.parametrize("packed", MEMBERS.values(), ids=MEMBERS)
def test_each_member_of_pythons_testtar_is_what_gnu_tar_makes_of_it(desk: Desk, tmp_path: Path, packed: bytes) -> None:
    source = desk.source(desk.stream(packed))
    refusal = refusal_of(source)
    if refusal is None:
        check(source, extracted(packed, tmp_path / "extracted"))
    else:
        assert any(re.search(one, refusal) for one in REFUSED_MEMBERS)
