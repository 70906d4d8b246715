import gzip
import itertools
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip

from hubfs.errors import Damaged
from hubfs.formats.gzip.span import _EMPTY_BLOCKS, WINDOW_BYTES, inflate_span, inflate_start
from tests.support.checkpoints import checkpoints_of, mixture, words
from tests.support.examples import examples

EMPTY = gzip.compress(b"")


@cache
def text() -> bytes:
    return words(6_000_000)


@cache
def mixed() -> bytes:
    return mixture(4_000_000)


def in_members(data: bytes, size_bytes: int, level: int = 6) -> Iterator[bytes]:
    return (gzip.compress(data[n : n + size_bytes], level) for n in range(0, len(data), size_bytes))


COMPRESSED: dict[str, Callable[[], bytes]] = {
    "zlib-1": lambda: gzip.compress(text(), 1),
    "zlib-6": lambda: gzip.compress(text(), 6),
    "zlib-9": lambda: gzip.compress(text(), 9),
    "zlib-6-mixed": lambda: gzip.compress(mixed(), 6),
    "zlib-1-mixed": lambda: gzip.compress(mixed(), 1),
    "isal-2": lambda: igzip.compress(text(), 2),
    "isal-1": lambda: igzip.compress(text(), 1),
    "isal-3-mixed": lambda: igzip.compress(mixed(), 3),
    "stored": lambda: gzip.compress(mixed(), 0),
    "noise": lambda: gzip.compress(random.Random(3).randbytes(700_000), 6),
    "members": lambda: b"".join(in_members(mixed(), 300_000)),
    "tiny members": lambda: b"".join(in_members(text()[:1_400_000], 700)),
    "empty members between": lambda: b"".join(EMPTY + one + EMPTY + EMPTY for one in in_members(mixed(), 90_000, 9)),
}


@cache
def compressed_by(name: str) -> bytes:
    return COMPRESSED[name]()


@cache
def spans_of(name: str) -> list[tuple[int, int, bytes, bytes]]:
    """Start bit, end bit, window and output of every span between two checkpoints but the first."""
    checkpoints, output = checkpoints_of(compressed_by(name))
    return [
        (bit, end_bit, output[max(0, start - WINDOW_BYTES) : start], output[start:end])
        for (bit, start), (end_bit, end) in itertools.pairwise(checkpoints.items())
        if start and start < end
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPRESSED)
def test_every_span_is_inflated_alone(name: str):
    archive = compressed_by(name)
    spans = spans_of(name)
    for bit, end_bit, window, output in spans:
        compressed = memoryview(archive)[bit // 8 : -(-end_bit // 8)]
        assert inflate_span(compressed, bit % 8, window, len(output)) == output
    assert len(spans) >= 3


@pytest.mark.slow
def test_spans_begin_at_every_bit_of_a_byte():
    residues = {bit % 8 for name in COMPRESSED for bit, *_ in spans_of(name)}
    assert residues == set(range(8))


def test_some_spans_with_stored_blocks_begin_inside_a_byte():
    # The case that shifting gets wrong: noise is stored, and the checkpoint before it is not at a byte boundary.
    unaligned = [output for bit, _, _, output in spans_of("zlib-6-mixed") if bit % 8]
    assert any(len(zlib.compress(output)) > 0.5 * len(output) for output in unaligned)


@pytest.mark.parametrize("first_bit", range(8))
def test_the_empty_blocks_have_no_output_and_the_bits_they_say(first_bit: int):
    blocks, bits = _EMPTY_BLOCKS[first_bit]
    assert bits % 8 == first_bit
    # A last block behind them, at the next bit: stored, so that one bit more or less would lose its length field.
    end = bits + 3 + -(bits + 3) % 8
    stored = (blocks | 1 << bits).to_bytes(end // 8, "little") + b"\x04\x00\xfb\xffdata"
    inflater = zlib.decompressobj(-15)
    assert inflater.decompress(stored) == b"data"
    assert inflater.eof


def test_the_first_span_begins_with_the_header_of_the_file():
    for archive in (compressed_by("zlib-6"), EMPTY + EMPTY + compressed_by("members")):
        output = gzip.decompress(archive)
        assert inflate_start(archive, 100_000) == output[:100_000]
        assert inflate_start(archive, len(output)) == output
    assert inflate_start(EMPTY, 0) == b""


def test_a_member_that_begins_needs_no_window():
    first, second = gzip.compress(text()[:5000]), gzip.compress(text()[5000:9000])
    assert inflate_span((first + second)[len(first) + 10 :], 0, b"", 4000) == text()[5000:9000]


def test_zeros_between_members_are_skipped():
    members = [gzip.compress(text()[start : start + 5000]) for start in range(0, 15_000, 5000)]
    padded = bytes(9000).join(members)
    assert inflate_span(padded[10:], 0, b"", 15_000) == text()[:15_000]
    with pytest.raises(Damaged):
        inflate_span(padded[10:] + bytes(20), 0, b"", 15_001)


def test_only_what_the_output_needs_is_looked_at():
    archive = gzip.compress(text()[:5000]) + b"something else"
    assert inflate_start(archive, 5000) == text()[:5000]
    assert inflate_span(archive[10:], 0, b"", 5000) == text()[:5000]


def test_a_span_that_is_cut_is_damaged():
    bit, end_bit, window, output = spans_of("zlib-6")[0]
    compressed = compressed_by("zlib-6")[bit // 8 : -(-end_bit // 8)]
    for size_bytes in (0, 1, 2, 1000, len(compressed) - 50):
        with pytest.raises(Damaged, match=r"early|empty"):
            inflate_span(compressed[:size_bytes], bit % 8, window, len(output))
    with pytest.raises(Damaged):
        inflate_start(compressed_by("zlib-6")[:1000], 1_000_000)


def test_more_output_than_there_is_is_damaged():
    archive = gzip.compress(text()[:5000])
    with pytest.raises(Damaged):
        inflate_start(archive, 5001)
    with pytest.raises(Damaged):
        inflate_span(archive[10:], 0, b"", 5001)


@given(st.binary(max_size=200), st.integers(0, 7), st.binary(max_size=50), st.integers(0, 1000))
@examples(300)
def test_any_bytes_are_inflated_or_damaged(data: bytes, first_bit: int, window: bytes, size_bytes: int):
    with suppress(Damaged):
        assert len(inflate_span(data, first_bit, window, size_bytes)) == size_bytes
    with suppress(Damaged):
        assert len(inflate_start(data, size_bytes)) == size_bytes
