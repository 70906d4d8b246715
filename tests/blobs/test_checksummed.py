import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.checksummed import ChecksummedBlob
from hubfs.blobs.crc32c import crc32c
from hubfs.blobs.memory import MemoryBlob
from hubfs.errors import Damaged
from hubfs.testing import ScriptedBlob

BLOCK = 1000
DATA = random.Random(3).randbytes(7 * BLOCK + 123)


def checksummed(data: bytes, announced: bytes | None = None) -> ChecksummedBlob:
    return ChecksummedBlob(MemoryBlob("gs://b/o#1", data), crc32c(data if announced is None else announced), BLOCK)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@given(st.permutations(range(8)))
def test_right_bytes_are_verified_in_whatever_order_they_are_read(order: list[int]) -> None:
    blob = checksummed(DATA)
    for index in order:
        assert blob.read_at(index * BLOCK, BLOCK) == DATA[index * BLOCK : (index + 1) * BLOCK]
    assert blob.read_at(0, len(DATA)) == DATA


@given(st.permutations(range(8)), st.integers(0, len(DATA) - 1))
def test_one_wrong_bit_is_found_by_the_read_that_completes_the_whole(order: list[int], position: int) -> None:
    blob = checksummed(flipped(DATA, position), announced=DATA)
    for index in order[:-1]:
        blob.read_at(index * BLOCK, BLOCK)
    with pytest.raises(Damaged, match="gs://b/o#1 is damaged: its crc32c is"):
        blob.read_at(order[-1] * BLOCK, BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(order[0] * BLOCK, BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(5, 5)


def test_reads_of_several_blocks_count_as_each_of_them() -> None:
    blob = checksummed(flipped(DATA, 77), announced=DATA)
    blob.read_at(0, 3 * BLOCK)
    blob.read_at(6 * BLOCK, 2 * BLOCK)
    with pytest.raises(Damaged):
        blob.read_at(2 * BLOCK, 4 * BLOCK)


def test_one_read_of_everything_is_verified_before_it_returns() -> None:
    with pytest.raises(Damaged):
        checksummed(flipped(DATA, 77), announced=DATA).read_at(0, len(DATA))


def test_a_blob_of_one_block_is_verified_before_any_of_it_is_returned() -> None:
    assert checksummed(b"x" * BLOCK).read_at(0, BLOCK) == b"x" * BLOCK
    with pytest.raises(Damaged):
        checksummed(b"x" * BLOCK, announced=b"y" * BLOCK).read_at(0, BLOCK)
    with pytest.raises(Damaged):
        checksummed(b"short", announced=b"shirt").read_at(0, BLOCK)


def test_reads_that_are_no_whole_blocks_pass_unrecorded() -> None:
    blob = checksummed(flipped(DATA, 77), announced=DATA)
    for offset in range(0, len(DATA), 500):
        assert len(blob.read_at(offset, 500)) == min(500, len(DATA) - offset)
    assert blob.read_at(1, len(DATA)) == flipped(DATA, 77)[1:]


def test_an_empty_blob_is_verified_from_the_start() -> None:
    assert checksummed(b"").read_at(0, 10) == b""


def test_an_empty_blob_that_should_not_be_empty_is_damaged() -> None:
    with pytest.raises(Damaged):
        checksummed(b"", announced=b"something").read_at(0, 10)


class Changing(MemoryBlob):
    """Its bytes are other ones from some moment on."""

    def change(self, data: bytes) -> None:
        self._data = data


def test_a_block_that_differs_from_its_first_reading_is_refused_after_the_whole_was_right() -> None:
    inner = Changing("k", DATA)
    blob = ChecksummedBlob(inner, crc32c(DATA), BLOCK)
    blob.read_at(0, len(DATA))
    inner.change(flipped(DATA, 2 * BLOCK))
    assert blob.read_at(0, 2 * BLOCK) == DATA[: 2 * BLOCK]
    with pytest.raises(Damaged, match="block 2 was read twice, and differed"):
        blob.read_at(2 * BLOCK, BLOCK)


def test_of_many_readers_at_once_none_gets_the_only_block_when_it_is_wrong() -> None:
    barrier = threading.Barrier(8)

    def together(_offset_bytes: int, _size_bytes: int) -> bytes:
        barrier.wait(10)
        return b"wrong"

    inner = ScriptedBlob(b"wrong")
    inner.answer = together
    blob = ChecksummedBlob(inner, crc32c(b"right"), BLOCK)

    def refused(_: int) -> bool:
        with pytest.raises(Damaged):
            blob.read_at(0, BLOCK)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refused, range(8)))


def test_many_readers_at_once_verify_the_whole_once_each_block_was_read() -> None:
    data = random.Random(5).randbytes(300 * BLOCK + 5)
    blob = ChecksummedBlob(MemoryBlob("k", data), crc32c(data), BLOCK)
    places = [index * BLOCK for index in range(301)] * 2
    random.Random(6).shuffle(places)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda at: blob.read_at(at, BLOCK) == data[at : at + BLOCK], places))
