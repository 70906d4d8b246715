"""Files with holes: what is shown, what is read of what is stored, and what a map may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.sparse import SparseBlob, SparseMap
from hubfs.errors import Damaged, Stale
from hubfs.testing import ScriptedBlob


class Stored(ScriptedBlob):
    """Of what is to be fetched ahead it takes `most_bytes`."""

    def __init__(self, data: bytes, most_bytes: int = 1 << 30) -> None:
        super().__init__(data)
        self.ahead: list[tuple[int, int]] = []
        self._most_bytes = most_bytes

    def prefetch(self, offset_bytes: int, size_bytes: int) -> int:
        self.ahead.append((offset_bytes, size_bytes))
        return offset_bytes + min(size_bytes, self._most_bytes)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, SparseMap]:
    """The bytes of a file, and its map; some of its data are zeros, too."""
    parts, stretches, at = [], [], 0
    for hole, data in draw(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=20)), max_size=6)):
        stretches.append((at + hole, len(data)))
        at += hole + len(data)
        parts.append(bytes(hole) + data)
    tail = draw(st.integers(0, 30))
    return b"".join(parts) + bytes(tail), SparseMap.of(at + tail, stretches)


def stored_of(data: bytes, sparse: SparseMap) -> bytes:
    return b"".join(data[offset : offset + size] for offset, size in sparse.extents)


@given(files(), st.integers(0, 250), st.integers(0, 250))
def test_any_range_of_any_file_is_right_and_takes_one_read_at_most(
    file: tuple[bytes, SparseMap], offset: int, size: int
) -> None:
    data, sparse = file
    stored = Stored(stored_of(data, sparse))
    assert SparseBlob(stored, sparse).read_at(offset, size) == data[offset : offset + size]
    assert len(stored.reads) <= 1
    assert sum(size for _, size in stored.reads) <= size


@given(files(), st.integers(0, 250), st.integers(0, 250), st.integers(0, 40))
def test_what_is_fetched_ahead_is_what_is_stored_of_the_range(
    file: tuple[bytes, SparseMap], offset: int, size: int, most_bytes: int
) -> None:
    data, sparse = file
    stored = Stored(stored_of(data, sparse), most_bytes)
    blob = SparseBlob(stored, sparse)
    reached = blob.prefetch(offset, size)
    missing = sum(length for _, _, length in sparse.pieces(offset, max(0, min(size, len(data) - offset))))
    if missing <= most_bytes:
        assert reached == min(offset + size, len(data)) or missing == 0
    else:
        assert offset <= reached < offset + size
        assert sum(length for _, _, length in sparse.pieces(offset, reached - offset)) == most_bytes


def test_a_hole_of_a_tebibyte_is_read_of_nothing() -> None:
    sparse = SparseMap(1 << 40, (((1 << 40) - 3, 3),))
    stored = Stored(b"end")
    blob = SparseBlob(stored, sparse)
    assert blob.read_at(1 << 39, 1 << 20) == bytes(1 << 20)
    assert blob.prefetch(0, 1 << 39) == 1 << 39
    assert (stored.reads, stored.ahead) == ([], [])
    assert blob.read_at((1 << 40) - 5, 100) == b"\0\0end"
    assert blob.read_at(1 << 40, 1) == b""


def test_errors_pass_through_and_too_few_bytes_are_one() -> None:
    failing = Stored(b"1234")
    failing.error = Stale("changed")
    sparse = SparseMap(10, ((2, 4),))
    with pytest.raises(Stale):
        SparseBlob(failing, sparse).read_at(0, 10)
    with pytest.raises(Damaged, match="4 bytes asked for, 3 came"):
        SparseBlob(Stored(b"123"), sparse).read_at(0, 10)


@pytest.mark.parametrize("stretches", [[(5, 6)], [(4, 2), (5, 1)], [(4, 2), (0, 1)], [(11, 0)], [(-1, 2)], [(3, -1)]])
def test_a_map_that_contradicts_itself_is_damaged(stretches: list[tuple[int, int]]) -> None:
    with pytest.raises(Damaged, match="contradicts itself"):
        SparseMap.of(10, stretches)
    with pytest.raises(Damaged, match="contradicts itself"):
        SparseMap(10, tuple(stretches))


def test_neighbours_become_one_stretch_and_empty_ones_none() -> None:
    assert SparseMap.of(10, [(0, 0), (1, 2), (3, 2), (7, 0), (8, 2), (10, 0)]).extents == ((1, 4), (8, 2))
    assert SparseMap.of(4, [(0, 2), (2, 2)]).is_whole
    # An empty stretch behind a hole is no neighbour of the data before that hole.
    assert SparseMap.of(3, [(0, 1), (2, 0), (2, 1)]).extents == ((0, 1), (2, 1))
    assert SparseMap.of(0, []).is_whole
