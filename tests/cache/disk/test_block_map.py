import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk.blocks import clear_record, read_record, records, seed_of, write_record
from tests.support.disk_cache import KEY, MODEL
from tests.support.examples import examples

SEED = seed_of(KEY)


def recorded_bytes(data: bytes, seed: int) -> int:
    return sum(record.length_bytes for record in records(data, seed))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map"


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_an_empty_map_has_no_record(fd: int) -> None:
    assert read_record(fd, SEED, 0) is None


@given(index=st.integers(0, 100_000), length=st.integers(1, BLOCK_SIZE_BYTES), checksum=st.integers(0, 2**32 - 1))
@settings(examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_was_written_is_read_at_its_place_alone(fd: int, index: int, length: int, checksum: int) -> None:
    os.ftruncate(fd, 0)
    write_record(fd, SEED, index, length, checksum)
    assert read_record(fd, SEED, index) == (length, checksum)
    assert read_record(fd, SEED, index + 1) is None
    assert index == 0 or read_record(fd, SEED, index - 1) is None


def test_a_record_in_another_place_is_not_believed(fd: int, path: Path) -> None:
    write_record(fd, SEED, 0, 100, 7)
    raw = path.read_bytes()
    path.write_bytes(raw + raw[16:])
    assert read_record(fd, SEED, 0) == (100, 7)
    assert read_record(fd, SEED, 1) is None


def test_a_record_of_zeros_is_not_believed(fd: int) -> None:
    write_record(fd, SEED, 3, 1, 0)
    assert read_record(fd, SEED, 3) == (1, 0)
    assert read_record(fd, SEED, 0) is None  # a hole
    clear_record(fd, 3)
    assert read_record(fd, SEED, 3) is None


@pytest.mark.parametrize("length_bytes", [0, BLOCK_SIZE_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_block_has_is_not_believed(fd: int, path: Path, length_bytes: int) -> None:
    write_record(fd, SEED, 0, length_bytes, 7)
    assert read_record(fd, SEED, 0) is None
    assert recorded_bytes(path.read_bytes(), SEED) == 0


@pytest.mark.parametrize("other", [CacheKey(MODEL, "other"), CacheKey("tfhub.dev/google/spice/3@abc", KEY.path)])
def test_a_record_of_another_file_or_model_is_not_believed(fd: int, path: Path, other: CacheKey) -> None:
    write_record(fd, SEED, 0, 100, 7)
    assert read_record(fd, seed_of(other), 0) is None
    assert recorded_bytes(path.read_bytes(), seed_of(other)) == 0


def test_a_flipped_bit_anywhere_in_a_record_takes_it_back(fd: int, path: Path) -> None:
    write_record(fd, SEED, 0, 1 << 20, 0xDEADBEEF)
    good = path.read_bytes()
    for place in range(len(good) * 8):
        damaged = bytearray(good)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        assert read_record(fd, SEED, 0) is None
        assert recorded_bytes(bytes(damaged), SEED) == 0


@pytest.mark.parametrize("cut", range(28))
def test_a_torn_record_is_not_believed(fd: int, path: Path, cut: int) -> None:
    write_record(fd, SEED, 0, 5, 5)
    os.truncate(path, cut)
    assert read_record(fd, SEED, 0) is None
    write_record(fd, SEED, 0, 6, 6)
    assert read_record(fd, SEED, 0) == (6, 6)


def test_two_writers_who_begin_a_map_at_once_lose_nothing(fd: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    other_began = []

    def pread_while_another_begins(fd: int, size: int, offset: int) -> bytes:
        found = pread(fd, size, offset)
        if not other_began:
            other_began.append(True)
            write_record(fd, SEED, 1, 10, 20)
        return found

    monkeypatch.setattr("os.pread", pread_while_another_begins)
    write_record(fd, SEED, 0, 30, 40)
    assert [read_record(fd, SEED, 0), read_record(fd, SEED, 1)] == [(30, 40), (10, 20)]


def test_sums_up_what_a_map_commits_to(fd: int, path: Path) -> None:
    assert recorded_bytes(b"", SEED) == 0
    for index, length in ((0, 100), (7, 20), (2, 3)):
        write_record(fd, SEED, index, length, index)
    assert recorded_bytes(path.read_bytes(), SEED) == 123
    clear_record(fd, 7)
    assert recorded_bytes(path.read_bytes(), SEED) == 103
    assert recorded_bytes(b"another format" + path.read_bytes(), SEED) == 0
