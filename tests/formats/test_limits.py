import pytest

from hubfs.errors import Damaged
from hubfs.formats import limits
from hubfs.formats.limits import DEFLATE_RATIO, FREE_BYTES, MAX_RATIO, bounded, most_output_bytes
from hubfs.formats.tar.walk import members
from tests.support.archives import END_MARKER, base_256, gzipped, header, member

MIB = 1 << 20


def test_a_small_archive_may_inflate_as_far_as_deflate_can() -> None:
    assert most_output_bytes(1000) == DEFLATE_RATIO * 1000
    assert len(gzipped(bytes(64 * MIB), level=9)) * DEFLATE_RATIO >= 64 * MIB


def test_weights_of_zeros_may_fill_the_free_part() -> None:
    zeros = len(gzipped(bytes(64 * MIB), level=9))  # of which more of the same makes this many bytes
    assert most_output_bytes(zeros * (FREE_BYTES // (64 * MIB))) >= FREE_BYTES


@pytest.mark.parametrize("size_bytes", [10 * MIB, 1 << 30, 1 << 40])
def test_a_larger_one_is_bounded_by_its_ratio(size_bytes: int) -> None:
    assert most_output_bytes(size_bytes) <= FREE_BYTES + MAX_RATIO * size_bytes


def test_the_bound_holds_while_the_bytes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 10 * MIB)
    passed = []
    with pytest.raises(Damaged, match=r"hostile: 1000 bytes of it would inflate to 11\d+ or more"):
        passed += bounded((bytes(MIB) for _ in range(100)), lambda: 1000)
    assert len(passed) == 10
    assert len(list(bounded((bytes(MIB) for _ in range(100)), lambda: MIB))) == 100


def test_where_nobody_announced_a_size_what_was_read_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 0)
    read = iter(range(1, 101))
    passing = bounded((bytes(MIB) for _ in range(100)), lambda: next(read) * MIB // 2)
    assert sum(map(len, passing)) == 100 * MIB


def test_a_member_that_cannot_be_in_the_archive_is_refused_by_its_header() -> None:
    packed = member(b"saved_model.pb", b"graph") + header(b"weights", size=base_256(1 << 43)) + END_MARKER
    passing = members([packed], archive_size_bytes=10 * MIB)
    assert next(passing).path == "saved_model.pb"
    with pytest.raises(Damaged, match="all that deflate can do"):
        next(passing)
    assert [found.size_bytes for found in members([member(b"a", b"data") + END_MARKER], 2048)] == [4]
