import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as MIB
from hubfs.cache.block_checksums import BlockChecksums
from hubfs.errors import Stale

URL = "https://hub.example/a"
DATA = bytes(range(256)) * (2 * MIB // 256) + b"end"


def check(checksums: BlockChecksums, path: str, data: bytes) -> None:
    for index in range(3):
        checksums.check(path, index, data[index * MIB :][:MIB])


def test_the_same_blocks_may_come_as_often_as_they_like() -> None:
    checksums = BlockChecksums(URL)
    for _ in range(2):
        check(checksums, "a", DATA)
    assert None not in checksums.of("a", len(DATA))
    assert len(checksums.of("a", len(DATA))) == 3
    assert checksums.of("a", len(DATA) + MIB)[3] is None
    assert checksums.of("empty", 0) == []


@pytest.mark.parametrize("changed", [0, MIB - 1, MIB, 2 * MIB, len(DATA) - 1])
def test_a_block_that_is_another_is_stale_and_every_other_one_is_not(changed: int) -> None:
    checksums = BlockChecksums(URL)
    check(checksums, "a", DATA)
    other = bytearray(DATA)
    other[changed] ^= 1
    for index in range(3):
        if index == changed // MIB:
            with pytest.raises(Stale, match=f"{URL} was replaced.*MiB {index} of 'a'"):
                checksums.check("a", index, bytes(other[index * MIB :][:MIB]))
        else:
            checksums.check("a", index, bytes(other[index * MIB :][:MIB]))
    check(checksums, "b", bytes(other))


def test_what_was_known_before_counts() -> None:
    seen = BlockChecksums(URL)
    check(seen, "a", DATA)
    again = BlockChecksums(URL)
    again.adopt({"a": seen.of("a", len(DATA))})
    again.check("a", 2, b"end")
    with pytest.raises(Stale):
        again.check("a", 2, b"End")
    with pytest.raises(Stale):
        again.adopt({"a": [None, 0]})
