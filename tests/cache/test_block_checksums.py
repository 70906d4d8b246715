import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as MIB
from hubfs.cache.block_checksums import BlockChecksums, CheckedBlob
from hubfs.errors import Stale

URL = "https://hub.example/a"
DATA = bytes(range(256)) * (2 * MIB // 256) + b"end"


def test_the_same_blocks_may_come_as_often_as_they_like() -> None:
    checksums = BlockChecksums(URL)
    for _ in range(2):
        blob = CheckedBlob(MemoryBlob("key", DATA), "a", checksums)
        assert (blob.key, blob.size_bytes) == ("key", len(DATA))
        assert blob.read_at(0, len(DATA)) == DATA
        assert blob.read_at(2 * MIB, MIB) == b"end"
        assert blob.read_at(5, 10) == DATA[5:15]
        assert blob.read_at(len(DATA), 5) == b""
    assert None not in checksums.of("a", len(DATA))
    assert len(checksums.of("a", len(DATA))) == 3
    assert checksums.of("a", len(DATA) + MIB)[3] is None
    assert checksums.of("empty", 0) == []


@pytest.mark.parametrize("changed", [0, MIB - 1, MIB, 2 * MIB, len(DATA) - 1])
def test_a_block_that_is_another_is_stale_and_every_other_one_is_not(changed: int) -> None:
    checksums = BlockChecksums(URL)
    CheckedBlob(MemoryBlob("key", DATA), "a", checksums).read_at(0, len(DATA))
    other = bytearray(DATA)
    other[changed] ^= 1
    blob = CheckedBlob(MemoryBlob("key", bytes(other)), "a", checksums)
    for index in range(3):
        if index == changed // MIB:
            with pytest.raises(Stale, match=f"{URL} was replaced.*MiB {index} of 'a'"):
                blob.read_at(index * MIB, MIB)
        else:
            assert blob.read_at(index * MIB, MIB) == DATA[index * MIB :][:MIB]
    assert CheckedBlob(MemoryBlob("key", bytes(other)), "b", checksums).read_at(0, 3 * MIB) == other


def test_what_was_known_before_counts() -> None:
    seen = BlockChecksums(URL)
    CheckedBlob(MemoryBlob("key", DATA), "a", seen).read_at(0, len(DATA))
    again = BlockChecksums(URL)
    again.adopt({"a": seen.of("a", len(DATA))})
    again.check("a", 2, b"end")
    with pytest.raises(Stale):
        again.check("a", 2, b"End")
    with pytest.raises(Stale):
        again.adopt({"a": [None, 0]})
