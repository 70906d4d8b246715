"""Archives of every style that tar programs write, and that their test suites cover: right bytes, or a clean refusal.

All of them are made here. What is accepted has to be what Python's tarfile finds in it; where hubfs refuses what
tarfile takes, the table says why.
"""

import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hubfs.errors import Damaged
from hubfs.formats.tar.walk import members
from tests.support.archives import (
    END_MARKER,
    ZEROS,
    base_256,
    gnu_long_name,
    header,
    in_chunks,
    member,
    padded,
    pax,
    pax_record,
    tar_of,
)

FILES = {"assets/a.txt": b"a" * 700, "empty": b"", "saved_model.pb": b"graph" * 300}
PLAIN = tar_of(FILES, directories=False, format=tarfile.USTAR_FORMAT).rstrip(b"\0") + bytes(412)
A = {"a": b"data"}


def unpacked(packed: bytes) -> dict[str, bytes]:
    """The files, as hubfs finds them, fed in pieces that fit nothing."""
    return {found.path: b"".join(found.chunks()) for found in members(in_chunks(packed, 700)) if not found.is_directory}


def by_tarfile(packed: bytes) -> dict[str, bytes]:
    """The files, as Python's tarfile finds them; names without what does not matter in them."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:", errorlevel=2) as archive:
        for found in archive:
            if found.isfile():
                data = archive.extractfile(found)
                assert data is not None
                files[os.path.normpath(found.name)] = data.read()
    return files


def patched(block: bytes, **fields: bytes) -> bytes:
    """A header block with other fields, and the right checksum again."""
    places = {
        "mode": (100, 8),
        "uid": (108, 8),
        "gid": (116, 8),
        "size": (124, 12),
        "mtime": (136, 12),
        "magic": (257, 8),
        "uname": (265, 32),
        "devmajor": (329, 8),
        "star_times": (475, 25),
        "tail": (500, 12),
    }
    for name, text in fields.items():
        start, size = places[name]
        block = block[:start] + text.ljust(size, b"\0")[:size] + block[start + size :]
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def one(**fields: bytes) -> bytes:
    """An archive of `A` with odd fields in its header."""
    return patched(header(b"a", size=4), **fields) + padded(b"data") + END_MARKER


def with_checksum(packed: bytes, text: bytes) -> bytes:
    return packed[:148] + text.ljust(8, b" ")[:8] + packed[156:]


def signed_sum(block: bytes) -> int:
    """As historic tars computed it, with signed characters."""
    return sum(byte - 256 if byte > 127 else byte for byte in block[:148] + b" " * 8 + block[156:])


NAIVE = header("naïve".encode(), size=4) + padded(b"data")

ACCEPTED: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "ustar": (tar_of(FILES, format=tarfile.USTAR_FORMAT), FILES),
    "gnu": (tar_of(FILES, format=tarfile.GNU_FORMAT), FILES),
    "pax": (tar_of(FILES, format=tarfile.PAX_FORMAT), FILES),
    "with dot-slash": (tar_of(FILES, prefix="./"), FILES),
    "v7: no magic": (one(magic=b""), A),
    "ustar with another version": (one(magic=b"ustar\x00  "), A),
    "star: times behind the prefix, a magic of its own": (
        one(star_times=b"\0" + b"00000000001 00000000001 ", tail=b"\0" * 8 + b"tar\0"),
        A,
    ),
    "a ustar prefix": (
        header(b"n" * 90, size=4, prefix=b"p" * 155) + padded(b"data") + END_MARKER,
        {"p" * 155 + "/" + "n" * 90: b"data"},
    ),
    "a name that fills its field": (member(b"n" * 100, b"data") + END_MARKER, {"n" * 100: b"data"}),
    "a contiguous file": (member(b"a", b"data", kind=tarfile.CONTTYPE) + END_MARKER, A),
    "an old regular file": (member(b"a", b"data", kind=tarfile.AREGTYPE, magic=b"") + END_MARKER, A),
    "a size in octal with spaces": (header(b"a", size=b"          4 ") + padded(b"data") + END_MARKER, A),
    "a size in octal that fills its field": (header(b"a", size=b"000000000004") + padded(b"data") + END_MARKER, A),
    "a size in octal with NULs": (header(b"a", size=b"4\0\0\0\0\0\0\0\0\0\0\0") + padded(b"data") + END_MARKER, A),
    "a size of nothing at all": (header(b"a", size=b"\0" * 12) + END_MARKER, {"a": b""}),
    "a size as a binary number": (header(b"a", size=base_256(4)) + padded(b"data") + END_MARKER, A),
    "a time before 1970": (one(mtime=base_256(-1)), A),
    "a time at the end of all days": (one(mtime=b"77777777777\0"), A),
    "a time of 64 bits": (one(mtime=base_256((1 << 63) - 1)), A),
    "an owner as a binary number": (one(uid=b"\x80\0\0\0\x7f\xff\xff\xff"), A),
    "an owner that is negative": (one(uid=b"\xff" * 8), A),
    "modes with everything set": (one(mode=b"7777777\0"), A),
    "a mode of nothing": (one(mode=b""), A),
    "an owner's name that is no UTF-8": (one(uname=b"\xff\xfe"), A),
    "device numbers of a file": (one(devmajor=b"0000010\0"), A),
    "a checksum with a trailing space": (with_checksum(one(), b"%06o \0" % sum(with_checksum(one()[:512], b""))), A),
    "a checksum without leading zeros": (with_checksum(one(), b"%o\0 " % sum(with_checksum(one()[:512], b""))), A),
    "a signed checksum": (with_checksum(NAIVE, b"%06o\0 " % signed_sum(NAIVE[:512])) + END_MARKER, {"naïve": b"data"}),
    "only directories": (member(b"d", kind=tarfile.DIRTYPE) + member(b"d/e/", kind=tarfile.DIRTYPE) + END_MARKER, {}),
    "a directory by its slash": (member(b"d/", kind=tarfile.AREGTYPE, magic=b"") + END_MARKER, {}),
    "slashes at the end and in between": (
        member(b"d//", kind=tarfile.DIRTYPE) + member(b"d//e/./f", b"1") + END_MARKER,
        {"d/e/f": b"1"},
    ),
    "a directory twice": (2 * member(b"d", kind=tarfile.DIRTYPE) + member(b"d/a", b"1") + END_MARKER, {"d/a": b"1"}),
    "names that differ by case": (
        member(b"README", b"1") + member(b"readme", b"2") + END_MARKER,
        {"README": b"1", "readme": b"2"},
    ),
    "names with odd characters": (
        member("tab\t\nline\\ \u202e\x7f*?".encode(), b"1") + END_MARKER,
        {"tab\t\nline\\ \u202e\x7f*?": b"1"},
    ),
    "a name of dots": (member(b"...", b"1") + END_MARKER, {"...": b"1"}),
    "a GNU long name": (
        gnu_long_name(b"long/" * 30 + b"a") + member(b"cut", b"1") + END_MARKER,
        {"long/" * 30 + "a": b"1"},
    ),
    "a GNU long name of a short name": (gnu_long_name(b"a") + member(b"cut", b"data") + END_MARKER, A),
    "a GNU long name beside a long link": (
        member(b"././@LongLink", b"t" * 200 + b"\0", kind=tarfile.GNUTYPE_LONGLINK)
        + gnu_long_name(b"a")
        + member(b"cut", b"data")
        + END_MARKER,
        A,
    ),
    "a PAX path": (pax({b"path": b"a"}) + member(b"cut", b"data") + END_MARKER, A),
    "a PAX header of Solaris": (
        pax({b"path": b"a"}, tarfile.SOLARIS_XHDTYPE) + member(b"cut", b"data") + END_MARKER,
        A,
    ),
    "PAX times, owners and attributes": (
        pax({b"mtime": b"-1.5", b"atime": b"1e99", b"uid": b"-7", b"uname": b"\xff", b"SCHILY.xattr.a": b"\0=\n"})
        + member(b"a", b"data")
        + END_MARKER,
        A,
    ),
    "a PAX record that comes twice": (
        pax(pax_record(b"path", b"first") + pax_record(b"path", b"a")) + member(b"cut", b"data") + END_MARKER,
        A,
    ),
    "a global PAX header with a comment": (
        pax({b"comment": b"52 bytes of a commit"}, tarfile.XGLTYPE) + member(b"a", b"data") + END_MARKER,
        A,
    ),
    "a name in Latin-1": (member(b"na\xefve", b"data") + END_MARKER, {"na\udcefve": b"data"}),
    "half a surrogate pair": (member(b"\xed\xa0\x80", b"data") + END_MARKER, {"\udced\udca0\udc80": b"data"}),
    "a file twice": (member(b"a", b"first") + member(b"a", b"data") + END_MARKER, A),
    "a file twice by two spellings": (member(b"./a", b"first") + member(b"a", b"data") + END_MARKER, A),
    "a PAX size": (pax({b"size": b"4"}) + header(b"a") + padded(b"data") + END_MARKER, A),
    "one zero block at the end": (member(b"a", b"data") + ZEROS, A),
    "records of ten blocks": (member(b"a", b"data") + bytes(10_240 - 1024), A),
    "garbage behind the end": (member(b"a", b"data") + END_MARKER + b"garbage" * 999, A),
    "two archives in one": (member(b"a", b"data") + END_MARKER + tar_of(FILES), A),
    "a zero block in the middle": (member(b"a", b"data") + ZEROS + member(b"b", b"2") + END_MARKER, A),
}


@pytest.mark.parametrize(("packed", "files"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_any_tar_program_writes_is_read_as_tarfile_reads_it(packed: bytes, files: dict[str, bytes]) -> None:
    assert unpacked(packed) == files
    assert by_tarfile(packed) == files


LINKED = member(b"a", b"data")

REFUSED: dict[str, tuple[bytes, str]] = {
    # Links: a file of a model is read by its name. The protocol's client library refuses them, too.
    "a hard link": (LINKED + member(b"b", kind=tarfile.LNKTYPE, link=b"a"), "a hard link"),
    "a hard link with data": (LINKED + member(b"b", b"data", kind=tarfile.LNKTYPE, link=b"a"), "a hard link"),
    "a symbolic link": (LINKED + member(b"b", kind=tarfile.SYMTYPE, link=b"a"), "a symbolic link"),
    "a symbolic link out": (member(b"b", kind=tarfile.SYMTYPE, link=b"/etc/passwd"), "a symbolic link"),
    "a pipe": (member(b"a", kind=tarfile.FIFOTYPE), "a named pipe"),
    "a character device": (member(b"a", kind=tarfile.CHRTYPE), "a character device"),
    "a block device": (member(b"a", kind=tarfile.BLKTYPE), "a block device"),
    "PAX sparse for all that follow": (pax({b"GNU.sparse.major": b"1"}, tarfile.XGLTYPE) + LINKED, "a sparse file"),
    "a part of a multi-volume archive": (member(b"a", b"data", kind=b"M"), "unknown type b'M'"),
    "a volume label": (member(b"label", kind=b"V"), "unknown type b'V'"),
    "a directory of an incremental dump": (member(b"d/", b"Yfile\0\0", kind=b"D"), "unknown type b'D'"),
    "a type of a vendor": (member(b"a", b"data", kind=b"Z"), "unknown type b'Z'"),
    "an absolute name": (member(b"/a", b"1"), "absolutely"),
    "a name that climbs": (member(b"d/../../a", b"1"), "'..'"),
    "a name that climbs by its prefix": (member(b"a", b"1", prefix=b".."), "'..'"),
    "no name": (member(b"", b"1"), "empty name"),
    "a PAX path with a NUL": (pax({b"path": b"a\0b"}) + LINKED, "NUL"),
    "a GNU long name with a NUL": (gnu_long_name(b"a\0b") + LINKED, "NUL"),
    "a file below a file": (LINKED + member(b"a/b", b"1"), "which is a file"),
    "a file that becomes a directory": (LINKED + member(b"a", kind=tarfile.DIRTYPE), "both a file and a directory"),
    "a directory with data": (header(b"d", kind=tarfile.DIRTYPE, size=512) + ZEROS, "but has 512 bytes"),
    "a negative size": (header(b"a", size=base_256(-1)), "impossible size"),
    "a size in exabytes": (header(b"a", size=base_256(1 << 60)), "impossible size"),
    "a PAX size in exabytes": (pax({b"size": b"%d" % (1 << 60)}) + header(b"a"), "impossible size"),
    "a PAX size that lies": (pax({b"size": b"900000"}) + LINKED, "ended early"),
    "a PAX size below nothing": (pax({b"size": b"-1"}) + LINKED, "not a number"),
    "a PAX record that claims too much": (pax(b"99 path=a\n") + LINKED, "PAX header is corrupt"),
    "a PAX record that claims too little": (pax(b"5 path=a\n") + LINKED, "PAX header is corrupt"),
    "a PAX record of no length": (pax(b"0 path=a\n") + LINKED, "PAX header is corrupt"),
    "a PAX header for nobody": (pax({b"path": b"a"}), "before the member it belongs to"),
    "a long name for nobody": (gnu_long_name(b"a"), "before the member it belongs to"),
    "a wrong checksum": (with_checksum(one(), b"0000000\0"), "neither gzip nor tar"),
    "a wrong checksum in the middle": (LINKED + with_checksum(one(), b"0000000\0"), "corrupt"),
    "a time that is no number": (one(mtime=b"yesterday"), "neither gzip nor tar"),
    "nothing but zeros": (b"", "no members"),
}


@pytest.mark.parametrize(("packed", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_a_model_cannot_be_is_refused_and_the_reason_is_named(packed: bytes, reason: str) -> None:
    with pytest.raises(Damaged) as refused:
        unpacked(packed + END_MARKER)
    assert reason in str(refused.value)


@pytest.mark.parametrize("cut_bytes", [len(PLAIN), 512, 700, 100])
def test_an_archive_without_its_end_is_refused_though_tarfile_takes_it(cut_bytes: int) -> None:
    assert unpacked(PLAIN + END_MARKER) == FILES
    with pytest.raises(Damaged, match="ended early"):
        unpacked(PLAIN[:cut_bytes])


def pack(tool: str, folder: Path, *options: str) -> bytes:
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"there is no {tool} here")
    return subprocess.run([program, *options, "-C", folder, "model"], check=True, capture_output=True).stdout


STYLES = ["--format=v7", "--format=oldgnu", "--format=gnu", "--format=ustar", "--format=posix"]
MODEL = {"model/saved_model.pb": b"graph" * 999, "model/variables/data": b"\x01\xff" * 70_000, "model/ünïcode": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, data in MODEL.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("blocking", ["-b1", "-b20", "-b126"])
def test_every_format_and_blocking_of_gnu_tar_is_read(folder: Path, style: str, blocking: str) -> None:
    packed = pack("tar", folder, "-c", style, blocking)
    assert unpacked(packed) == by_tarfile(packed) == MODEL


@pytest.mark.parametrize(
    "options",
    [
        ["--format=posix", "--pax-option=globexthdr.name=/g/%n,comment=hello,SCHILY.xattr.user.a:=b"],
        ["--format=posix", "--pax-option=delete=atime,delete=ctime"],
        ["--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,mtime:=-1234567890.5"],
        ["--format=gnu", "--mtime=1901-12-14"],
        ["--format=posix", "--mtime=1901-12-14"],
        ["--format=gnu", "--mtime=2500-01-01", "--owner=root:4294967294", "--group=x:2097152"],
        ["--format=gnu", "--numeric-owner", "--mode=7777"],
        ["--format=gnu", "--sort=name", "--transform=s,^model,./model,"],
    ],
    ids=" ".join,
)
def test_what_gnu_tar_writes_with_odd_metadata_is_read(folder: Path, options: list[str]) -> None:
    assert unpacked(pack("tar", folder, "-c", *options)) == MODEL


def test_what_gnu_tar_appends_is_read(folder: Path) -> None:
    place = folder / "packed.tar"
    place.write_bytes(pack("tar", folder, "-c", "--exclude=*.pb"))
    subprocess.run(["tar", "-rf", place, "-C", folder, "model/saved_model.pb"], check=True)
    assert unpacked(place.read_bytes()) == MODEL


@pytest.mark.parametrize("style", ["--format=ustar", "--format=pax", "--format=gnutar", "--format=v7"])
def test_what_bsd_tar_writes_is_read(folder: Path, style: str) -> None:
    assert unpacked(pack("bsdtar", folder, "-c", "-f", "-", style)) == MODEL


@pytest.mark.parametrize("style", STYLES[1:])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda place: (place / "link").symlink_to("saved_model.pb"), "a symbolic link"),
        (lambda place: (place / "link").hardlink_to(place / "saved_model.pb"), "a hard link"),
        (lambda place: os.mkfifo(place / "pipe"), "a named pipe"),
    ],
    ids=["symlink", "hard link", "pipe"],
)
def test_what_gnu_tar_packs_beside_files_and_directories_is_refused(
    folder: Path, style: str, make: Callable[[Path], None], reason: str
) -> None:
    make(folder / "model")
    with pytest.raises(Damaged, match=reason):
        unpacked(pack("tar", folder, "-c", style))


def test_a_socket_is_left_out_by_tar_itself(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder / "model")  # a socket's address is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        assert unpacked(pack("tar", folder, "-c", "--format=gnu")) == MODEL


def test_the_first_volume_of_several_is_refused(folder: Path) -> None:
    script = folder / "next.sh"
    script.write_text('#!/bin/sh\necho "$TAR_ARCHIVE.2" >&$TAR_FD\n')
    script.chmod(0o700)
    place = folder / "volume"
    subprocess.run(
        ["tar", "-cM", "-L40", "--format=gnu", "-F", script, "-f", place, "-C", folder, "model"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    with pytest.raises(Damaged, match=r"ended early|unknown type"):
        unpacked(place.read_bytes())
