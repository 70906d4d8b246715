"""Sparse members: what GNU tar and bsdtar write of files with holes, and maps that nobody should write."""

import shutil
import subprocess
import tarfile
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.blobs.sparse import SparseBlob
from hubfs.errors import Damaged
from hubfs.formats.tar import sparse as tar_sparse
from hubfs.formats.tar.walk import Member, members
from tests.support.archives import END_MARKER, header, in_chunks, member, padded, pax, pax_record

PAGE = 4096
GNU = b"ustar  \0"


def make_file(path: Path, size: int, stretches: Iterable[tuple[int, bytes]]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in stretches:
            file.seek(offset)
            file.write(data)


FILES = {
    "hole first": (1 << 20, [((1 << 20) - PAGE, b"x" * PAGE)]),
    "hole last": (1 << 20, [(0, b"x" * 5000)]),
    "hole in between": ((1 << 20) + 77, [(0, b"x" * PAGE), (1 << 20, b"y" * 77)]),
    "a hole and nothing else": (1 << 20, []),
    "no hole": (3000, [(0, b"z" * 3000)]),
    "empty": (0, []),
    "thirty stretches": (60 * PAGE, [(2 * n * PAGE, b"%02d" % n * (PAGE // 2)) for n in range(30)]),
    "a hundred and twenty stretches": (240 * PAGE, [(2 * n * PAGE, b"%04d" % n * (PAGE // 4)) for n in range(120)]),
}
GNU_FORMATS = {
    "old GNU": ["--format=gnu"],
    "older GNU": ["--format=oldgnu"],
    "PAX 0.0": ["--format=posix", "--sparse-version=0.0"],
    "PAX 0.1": ["--format=posix", "--sparse-version=0.1"],
    "PAX 1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    for name, (size, stretches) in FILES.items():
        make_file(folder / name, size, stretches)
    return folder


def content(found: Member) -> bytes:
    data = b"".join(found.chunks())
    assert len(data) == found.data_bytes
    if found.sparse is None:
        return data
    return SparseBlob(MemoryBlob("stored", data), found.sparse).read_at(0, found.size_bytes)


def unpacked(packed: bytes) -> dict[str, bytes]:
    return {found.path: content(found) for found in members(in_chunks(packed, 700)) if not found.is_directory}


def packed_by(tool: str, folder: Path, options: list[str]) -> bytes:
    program = shutil.which(tool)
    assert program is not None
    files = ["-f", "-", "-C", folder, *sorted(path.name for path in folder.iterdir())]
    return subprocess.run([program, "-c", *options, *files], check=True, capture_output=True).stdout


@pytest.mark.parametrize("options", GNU_FORMATS.values(), ids=GNU_FORMATS)
def test_files_with_holes_of_every_format_are_what_they_were(folder: Path, options: list[str]) -> None:
    packed = packed_by("tar", folder, ["-S", *options])
    assert len(packed) < 1 << 20  # or nothing was sparse
    assert unpacked(packed) == {path.name: path.read_bytes() for path in folder.iterdir()}
    found = {one.path: one for one in members([packed])}
    assert found["a hole and nothing else"].data_bytes == 0
    assert found["hole last"].sparse is not None
    assert found["no hole"].sparse is None
    for one in found.values():
        if one.data_bytes:
            stored = packed[one.offset_bytes : one.offset_bytes + one.data_bytes]
            data = (folder / one.path).read_bytes()
            stretches = one.sparse.extents if one.sparse is not None else ((0, len(data)),)
            assert stored == b"".join(data[offset : offset + size] for offset, size in stretches)


def test_what_bsdtar_writes_when_nobody_asks_for_holes_is_read(folder: Path) -> None:
    if shutil.which("bsdtar") is None:
        pytest.skip("there is no bsdtar here")
    packed = packed_by("bsdtar", folder, [])
    assert b"GNU.sparse.major=1" in packed
    assert unpacked(packed) == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", GNU_FORMATS.values(), ids=GNU_FORMATS)
def test_a_hole_of_a_tebibyte_costs_neither_time_nor_memory(tmp_path: Path, options: list[str]) -> None:
    make_file(tmp_path / "large", 1 << 40, [((1 << 40) - 5, b"end")])
    packed = packed_by("tar", tmp_path, ["-S", *options])
    began_s = time.process_time()
    tracemalloc.start()
    (found,) = members([packed])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.size_bytes == 1 << 40
    assert found.data_bytes <= PAGE
    assert peak_bytes < 1 << 20
    assert time.process_time() - began_s < 5  # a passed tebibyte takes minutes


# ---------------------------------------------------------------- by hand


def old_gnu(
    *stretches: tuple[int, int], real_size: int, data: bytes, size: int | None = None, name: bytes = b"a"
) -> bytes:
    """A member of type 'S'; as many extension blocks as the stretches take."""
    entries = [b"%011o\0%011o\0" % stretch for stretch in stretches]
    inside, outside = b"".join(entries[:4]), entries[4:]
    size = len(data) if size is None else size
    fields = {"kind": tarfile.GNUTYPE_SPARSE, "magic": GNU}
    block = header(name, size=size, sparse=inside, continues=bool(outside), real_size=real_size, **fields)
    extensions = []
    while outside:
        here, outside = outside[:21], outside[21:]
        extensions.append(b"".join(here).ljust(504, b"\0") + bytes([bool(outside)]) + bytes(7))
    return block + b"".join(extensions) + padded(data)


def pax_0_1(sparse_map: bytes, real_size: bytes, data: bytes, blocks: bytes = b"1") -> bytes:
    records = {b"GNU.sparse.size": real_size, b"GNU.sparse.numblocks": blocks, b"GNU.sparse.map": sparse_map}
    return pax({**records, b"GNU.sparse.name": b"a"}) + member(b"GNUSparseFile.1/a", data)


def pax_1_0(sparse_map: bytes, real_size: bytes, data: bytes) -> bytes:
    versions = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
    records = {**versions, b"GNU.sparse.name": b"a", b"GNU.sparse.realsize": real_size}
    return pax(records) + member(b"GNUSparseFile.1/a", padded(sparse_map) + data)


EXPECTED = {"a": b"\0" * 5 + b"data" + b"\0"}
GOOD = {
    "old GNU": old_gnu((5, 4), (10, 0), real_size=10, data=b"data"),
    "old GNU, binary": old_gnu((5, 4), real_size=10, data=b"data"),
    "old GNU, six stretches": old_gnu(*[(n, 0) for n in range(4)], (5, 4), (10, 0), real_size=10, data=b"data"),
    "PAX 0.0": pax(
        pax_record(b"GNU.sparse.size", b"10")
        + pax_record(b"GNU.sparse.numblocks", b"2")
        + pax_record(b"GNU.sparse.offset", b"5")
        + pax_record(b"GNU.sparse.numbytes", b"4")
        + pax_record(b"GNU.sparse.offset", b"10")
        + pax_record(b"GNU.sparse.numbytes", b"0")
    )
    + member(b"a", b"data"),
    "PAX 0.1": pax_0_1(b"5,4", b"10", b"data"),
    "PAX 0.1 with zeros in front": pax_0_1(b"05,0004", b"00010", b"data", b"01"),
    "PAX 1.0": pax_1_0(b"1\n5\n4\n", b"10", b"data"),
    "PAX 1.0 with zeros in front": pax_1_0(b"002\n0005\n04\n010\n000\n", b"0010", b"data"),
}


@pytest.mark.parametrize("packed", GOOD.values(), ids=GOOD)
def test_a_small_file_with_holes_is_read(packed: bytes) -> None:
    behind = member(b"b", b"1")
    assert unpacked(packed + behind + END_MARKER) == {**EXPECTED, "b": b"1"}


def test_what_has_no_hole_is_an_ordinary_file() -> None:
    data = b"x" * 512 + b"end"
    for packed in (old_gnu((0, 515), real_size=515, data=data), pax_1_0(b"2\n0\n512\n512\n3\n", b"515", data)):
        for found in members([packed + END_MARKER]):
            assert (found.sparse, found.size_bytes, found.data_bytes) == (None, 515, 515)
            assert content(found) == data
        assert unpacked(packed + END_MARKER) == {"a": data}


LARGEST = 1 << 44
B, BLOCK = 512, b"x" * 512
BAD = {
    "old GNU: data behind the end": (old_gnu((5, 4), real_size=8, data=b"data"), "'a' its map of holes contradicts"),
    "old GNU: overlapping": (old_gnu((0, B), (5, B), real_size=9999, data=2 * BLOCK), "contradicts itself"),
    "old GNU: backwards": (old_gnu((B, B), (0, B), real_size=9999, data=2 * BLOCK), "contradicts itself"),
    "old GNU: more data than the map has": (old_gnu((5, 2), real_size=10, data=b"data"), "a map of 2 bytes of data"),
    "old GNU: less data than the map has": (old_gnu((5, 5), real_size=10, data=b"data"), "a map of 5 bytes of data"),
    "old GNU: too large": (old_gnu(real_size=LARGEST + 1, data=b""), "impossible size"),
    "old GNU: no number": (
        old_gnu(*[(2 * n * B, B) for n in range(5)], real_size=9999, data=5 * BLOCK).replace(b"10000\0", b"8*512\0"),
        "no number",
    ),
    "stretches that are no whole blocks": (old_gnu((0, 4), (5, 4), real_size=10, data=b"12345678"), "no whole blocks"),
    "type S of another format": (member(b"a", b"data", kind=tarfile.GNUTYPE_SPARSE), "another format than GNU tar's"),
    "PAX 0.0: half a stretch": (
        pax(pax_record(b"GNU.sparse.numbytes", b"4")) + member(b"a", b"data"),
        "half a stretch of data",
    ),
    "PAX 0.0: an offset too many": (
        pax(2 * pax_record(b"GNU.sparse.offset", b"4")) + member(b"a", b"data"),
        "half a stretch of data",
    ),
    "PAX 0.1: an odd map": (pax_0_1(b"5,4,9", b"10", b"data"), "another number of stretches"),
    "PAX 0.1: fewer than it says": (pax_0_1(b"5,4", b"10", b"data", b"2"), "another number of stretches"),
    "PAX 0.1: no size": (pax_0_1(b"5,4", b"", b"data"), "no number"),
    "PAX 0.1: a negative size": (pax_0_1(b"5,4", b"-1", b"data"), "no number"),
    "PAX 0.1: a map of words": (pax_0_1(b"five,4", b"10", b"data"), "no number"),
    "PAX 1.0: no map": (pax_1_0(b"", b"10", b"data"), "ends early, inside its map"),
    "PAX 1.0: a map without end": (pax_1_0(b"9" * 2000, b"10", b"data"), "ends early, inside its map"),
    "PAX 1.0: a map that goes on behind the data": (pax_1_0(b"400\n5\n", b"10", b""), "ends early, inside its map"),
    "PAX 1.0: too large": (pax_1_0(b"0\n", b"%d" % (LARGEST + 1), b""), "impossible size"),
    "PAX 1.0: more stretches than anybody has": (pax_1_0(b"%d\n" % (1 << 62), b"10", b"data"), "too many holes"),
    "PAX 2.0": (pax({b"GNU.sparse.major": b"2"}) + member(b"a", b"data"), "a version that is not known"),
    "a directory with holes": (
        pax({b"GNU.sparse.major": b"1"}) + member(b"a", kind=tarfile.DIRTYPE),
        "a directory, but has a map of holes",
    ),
    "a slash at the end of a name": (
        pax({b"GNU.sparse.size": b"9", b"GNU.sparse.numblocks": b"0"}) + member(b"a/", kind=tarfile.REGTYPE),
        "a directory, but",
    ),
    "a link with holes": (
        pax({b"GNU.sparse.major": b"1"}) + member(b"a", kind=tarfile.SYMTYPE, link=b"b"),
        "a symbolic link",
    ),
    "for all that follow": (pax({b"GNU.sparse.major": b"1"}, tarfile.XGLTYPE) + member(b"a"), "all that follow"),
}


@pytest.mark.parametrize(("packed", "reason"), BAD.values(), ids=BAD)
def test_a_map_that_nobody_should_write_is_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        unpacked(packed + END_MARKER)


def test_an_end_in_a_map_is_one() -> None:
    packed = old_gnu(*[(n * B, B) for n in range(9)], real_size=9999, data=b"", size=9 * B)
    for cut in (512, 700):
        with pytest.raises(Damaged, match="'a' ends early, inside its map of holes"):
            unpacked(packed[:cut])


def test_stretches_are_counted_over_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_sparse, "MAX_EXTENTS", 9)
    three = [
        old_gnu((0, B), (2 * B, B), (4 * B, B), real_size=5 * B, data=3 * BLOCK),
        pax_0_1(b"0,512,1024,512,2048,512", b"2560", 3 * BLOCK, b"3").replace(b"=a\n", b"=b\n"),
        pax_1_0(b"3\n0\n512\n1024\n512\n2048\n512\n", b"2560", 3 * BLOCK).replace(b"=a\n", b"=c\n"),
    ]
    whole = b"".join(three)
    assert unpacked(whole + END_MARKER) == dict.fromkeys("abc", 2 * (BLOCK + bytes(B)) + BLOCK)
    for one_more in (
        old_gnu((0, 1), real_size=9, data=b"1", name=b"d"),
        pax_0_1(b"0,1", b"9", b"1"),
        pax_1_0(b"1\n0\n1\n", b"9", b"1"),
    ):
        with pytest.raises(Damaged, match="too many holes: at most"):
            unpacked(whole + one_more + END_MARKER)


def test_an_archive_of_nothing_but_a_map_ends_with_its_bound() -> None:
    block = b"".join(b"%011o\0%011o\0" % (2 * n * B, B) for n in range(21)) + b"\1" + bytes(7)
    pulled = 0

    def endless() -> Iterable[bytes]:
        nonlocal pulled
        yield old_gnu(*[(n * B, B) for n in range(5)], real_size=1 << 40, data=b"", size=1 << 30)[:512]
        while True:
            pulled += 1
            yield block

    with pytest.raises(Damaged):
        list(members(endless()))
    assert pulled < tar_sparse.MAX_EXTENTS
