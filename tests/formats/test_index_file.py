import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.sparse import SparseMap
from hubfs.errors import Damaged
from hubfs.formats import index_file
from hubfs.formats.gzip.index import Checkpoint, GzipIndex
from hubfs.formats.index_file import IndexedMember, IndexFile, looks_like_index
from hubfs.formats.names import MAX_MEMBERS
from hubfs.formats.sealed import seal
from tests.support.archives import flipped
from tests.support.examples import examples

HOLES = SparseMap(1 << 40, ((0, 100), (5000, 20), ((1 << 40) - 1, 1)))
GZIP = GzipIndex(90_000, 200_000, b"trailer!", (Checkpoint(0, 0, 1), Checkpoint(803, 99_000, 2, b"window")))
MEMBERS = (
    IndexedMember("variables", is_directory=True, size_bytes=0, offset_bytes=0),
    IndexedMember("variables/ünï", is_directory=False, size_bytes=1000, offset_bytes=1024),
    IndexedMember("saved_model.pb", is_directory=False, size_bytes=0, offset_bytes=200_000),
)
SPARSE = (*MEMBERS, IndexedMember("holes\udcff", False, 1 << 40, 199_879, HOLES))
TWICE = (*MEMBERS[:2], dataclasses.replace(MEMBERS[2], replaces=True))
FILES = [
    IndexFile(90_000, MEMBERS, GZIP),
    IndexFile(90_000, TWICE, GZIP),
    IndexFile(90_000, SPARSE, GZIP),
    IndexFile(200_000, SPARSE, None),
    IndexFile(200_000, MEMBERS, None),
    IndexFile(90_000, (), GZIP),
]


@pytest.mark.parametrize("file", FILES)
def test_what_was_written_is_read(file: IndexFile):
    written = file.to_bytes()
    assert IndexFile.from_bytes(written) == file
    assert looks_like_index(written[:8])


def test_the_tar_has_the_size_of_the_output_or_of_the_archive():
    assert [file.tar_size_bytes for file in FILES] == [200_000] * 6


@given(st.data())
@examples(200)
def test_any_wrong_bit_and_any_cut_is_damaged(data: st.DataObject):
    written = data.draw(st.sampled_from(FILES)).to_bytes()
    wrong = flipped(written, data.draw(st.integers(0, len(written) * 8 - 1)))
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    for damaged in (wrong, cut, written + b"\0"):
        with pytest.raises(Damaged):
            IndexFile.from_bytes(damaged)


@given(st.data())
@examples(400)
def test_a_changed_body_with_a_right_checksum_is_an_index_or_damaged(data: st.DataObject):
    body = bytearray(data.draw(st.sampled_from(FILES)).to_bytes()[18:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(len(body) // 2, len(body)))]
    try:
        found = IndexFile.from_bytes(seal(index_file._MAGIC, index_file._VERSION, bytes(body)))
    except Damaged:
        return
    assert all(member.offset_bytes + member.data_bytes <= found.tar_size_bytes for member in found.members)


def test_more_members_than_there_are_bytes_is_damaged():
    for count, message in ((100_000, "members cannot be read"), (100_001, "claims 100001 members")):
        body = struct.pack("<QIQ", 1000, count, 0)
        with pytest.raises(Damaged, match=message):
            IndexFile.from_bytes(seal(index_file._MAGIC, index_file._VERSION, body))


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")])
def test_what_lies_below_a_file_is_damaged(paths: tuple[str, str]):
    members = tuple(IndexedMember(path, False, 10, 512 + 1024 * place) for place, path in enumerate(paths))
    with pytest.raises(Damaged, match="file"):
        IndexFile(9000, members, None)


def test_directories_above_members_count_as_those_of_an_archive_do():
    deep = "/d" * 99
    members = tuple(IndexedMember(f"{number}{deep}/f", False, 0, 512) for number in range(MAX_MEMBERS // 100 + 1))
    with pytest.raises(Damaged, match="too many members"):
        IndexFile(9000, members, None)


def test_a_member_is_a_file_or_a_directory_and_nothing_else():
    member = index_file._MEMBER
    for kind in (0, 1, 3, 8, 255):
        body = struct.pack("<QIQ", 2000, 1, 0) + member.pack(kind, 0, 512, 1) + b"a"
        data = seal(index_file._MAGIC, index_file._VERSION, body)
        if kind > 1:
            with pytest.raises(Damaged, match=f"a member of kind {kind}"):
                IndexFile.from_bytes(data)
        else:
            assert IndexFile.from_bytes(data).to_bytes() == data


def test_an_index_of_the_version_before_is_to_be_made_anew():
    with pytest.raises(Damaged, match="of version 1, and version 2 can be read: make it anew"):
        IndexFile.from_bytes(seal(index_file._MAGIC, 1, FILES[0].to_bytes()[18:-4]))


def test_holes_are_counted_over_all_files():
    many = SparseMap(1 << 30, tuple((2 * number, 1) for number in range(60_000)))
    members = tuple(IndexedMember(name, False, 1 << 30, 512, many) for name in "ab")
    with pytest.raises(Damaged, match="too many holes"):
        IndexFile(1 << 20, members, None)


def test_other_files_are_told_from_an_index():
    for data in (b"", b"<html>", b"\x1f\x8b" * 20, GZIP.to_bytes()):
        assert not looks_like_index(data[:8])
        with pytest.raises(Damaged, match="this is not an index of an archive"):
            IndexFile.from_bytes(data)


FILE = MEMBERS[1]


@pytest.mark.parametrize(
    "member",
    [
        dataclasses.replace(FILE, path=""),
        dataclasses.replace(FILE, path="/etc/passwd"),
        dataclasses.replace(FILE, path="../up"),
        dataclasses.replace(FILE, path="a//b"),
        dataclasses.replace(FILE, path="./a"),
        dataclasses.replace(FILE, path="nul\0"),
        dataclasses.replace(FILE, offset_bytes=0),
        dataclasses.replace(FILE, offset_bytes=199_001),
        dataclasses.replace(FILE, is_directory=True),
        dataclasses.replace(FILE, path="variables"),
        dataclasses.replace(FILE, path="\udcc3\udca9"),  # which is spelled "é"
        dataclasses.replace(FILE, path="\ud800"),
        dataclasses.replace(FILE, sparse=HOLES),
        dataclasses.replace(MEMBERS[0], path="twice", replaces=True),
        dataclasses.replace(FILE, size_bytes=1 << 45, sparse=SparseMap(1 << 45, ())),
        dataclasses.replace(FILE, size_bytes=1 << 40, offset_bytes=199_880, sparse=HOLES),
    ],
)
def test_a_member_that_no_archive_could_have_is_damaged(member: IndexedMember):
    with pytest.raises(Damaged, match="impossible member"):
        IndexFile(90_000, (MEMBERS[0], member), GZIP)


def test_gzip_data_of_another_size_is_damaged():
    with pytest.raises(Damaged, match="another size"):
        IndexFile(90_001, MEMBERS, GZIP)
