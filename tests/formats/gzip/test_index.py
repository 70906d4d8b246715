import dataclasses
import gzip
import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import Damaged
from hubfs.formats.gzip import index as gzip_index
from hubfs.formats.gzip.index import (
    MAX_SPAN_OUTPUT_BYTES,
    Checkpoint,
    GzipIndex,
    pack_window,
    unpack_window,
)
from hubfs.formats.gzip.span import WINDOW_BYTES
from hubfs.formats.sealed import seal
from tests.support.archives import flipped
from tests.support.checkpoints import words
from tests.support.examples import examples

TRAILER = b"\x01\x02\x03\x04\x05\x06\x07\x08"
WINDOW = words(WINDOW_BYTES)


def index(*places: tuple[int, int], compressed: int = 1000, output: int = 5000) -> GzipIndex:
    return GzipIndex(
        compressed,
        output,
        TRAILER,
        tuple(Checkpoint(bit, start, 7 * bit, pack_window(WINDOW[:start])) for bit, start in places),
    )


SOME = index((0, 0), (801, 900), (2400, 2000), (7993, 4999))


def test_spans_lie_between_checkpoints_and_share_a_byte():
    spans = [SOME.span(number) for number in range(len(SOME))]
    assert [(span.start_bytes, span.end_bytes, span.first_bit) for span in spans] == [
        (0, 101, 0),
        (100, 300, 1),
        (300, 1000, 0),
        (999, 1000, 1),
    ]
    assert [(span.output_start_bytes, span.output_end_bytes, span.output_bytes) for span in spans] == [
        (0, 900, 900),
        (900, 2000, 1100),
        (2000, 4999, 2999),
        (4999, 5000, 1),
    ]
    assert [span.checkpoint.window() for span in spans] == [WINDOW[:start] for start in (0, 900, 2000, 4999)]


@given(st.integers(0, 6000), st.integers(0, 6000))
def test_the_spans_of_a_range_are_those_that_hold_a_byte_of_it(offset: int, size: int):
    expected = [
        number
        for number in range(len(SOME))
        if max(offset, SOME.span(number).output_start_bytes) < min(offset + size, SOME.span(number).output_end_bytes)
    ]
    assert list(SOME.spans_of(offset, size)) == expected


@given(st.lists(st.tuples(st.integers(1, 1 << 27), st.integers(1, 1 << 22)), max_size=20), st.binary(max_size=60))
def test_what_was_written_is_read(steps: list[tuple[int, int]], window: bytes):
    places, bit, output = [(0, 0)], 0, 0
    for more_bits, more_output in steps:
        bit, output = bit + more_bits, output + more_output
        places.append((bit, output))
    made = GzipIndex(
        bit // 8 + 9, output + 1, TRAILER, tuple(Checkpoint(*place, 5, pack_window(window)) for place in places)
    )
    assert GzipIndex.from_bytes(made.to_bytes()) == made


@given(st.data())
@examples(200)
def test_any_wrong_bit_and_any_cut_is_damaged(data: st.DataObject):
    written = SOME.to_bytes()
    wrong = flipped(written, data.draw(st.integers(0, len(written) * 8 - 1)))
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    for damaged in (wrong, cut, written + b"\0"):
        with pytest.raises(Damaged):
            GzipIndex.from_bytes(damaged)


@given(st.binary(max_size=300))
@examples(300)
def test_any_body_with_a_right_checksum_is_an_index_or_damaged(body: bytes):
    try:
        found = GzipIndex.from_bytes(seal(gzip_index._MAGIC, gzip_index._VERSION, body))
    except Damaged:
        return
    assert found.span(0).start_bytes == 0


@given(st.data())
@examples(300)
def test_a_changed_body_with_a_right_checksum_is_an_index_or_damaged(data: st.DataObject):
    body = bytearray(SOME.to_bytes()[18:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = GzipIndex.from_bytes(seal(gzip_index._MAGIC, gzip_index._VERSION, bytes(body)))
    except Damaged:
        return
    for number in range(len(found)):
        span = found.span(number)
        assert 0 <= span.start_bytes < span.end_bytes <= found.compressed_size_bytes
        assert 0 < span.output_bytes <= MAX_SPAN_OUTPUT_BYTES


def test_oversized_claims_take_no_memory():
    bomb = gzip_index.isal_zlib.compress(bytes(200 << 20), 1, -15)[:60_000]
    crafted = SOME.checkpoints[:1] + tuple(
        dataclasses.replace(SOME.checkpoints[1], bit_offset=8 * n, output_offset_bytes=n, packed_window=bomb)
        for n in range(1, 20)
    )
    written = dataclasses.replace(SOME, checkpoints=crafted).to_bytes()
    many = struct.pack("<QQ8sI", 1000, 5000, TRAILER, 0xFFFFFFFF)
    tracemalloc.start()
    try:
        found = GzipIndex.from_bytes(written)
        with pytest.raises(Damaged, match="too large"):
            found.span(5).checkpoint.window()
        with pytest.raises(Damaged):
            GzipIndex.from_bytes(seal(gzip_index._MAGIC, gzip_index._VERSION, many))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(written) + 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "places",
    [
        [],
        [(1, 0)],
        [(8, 1)],
        [(0, 0), (0, 10)],
        [(0, 0), (10, 0)],
        [(0, 0), (100, 50), (90, 60)],
        [(0, 0), (100, 50), (190, 40)],
        [(0, 0), (8000, 50)],
        [(0, 0), (100, 5000)],
    ],
)
def test_checkpoints_that_no_file_could_have_are_damaged(places: list[tuple[int, int]]):
    with pytest.raises(Damaged, match="contradicts itself"):
        index(*places)


def test_spans_of_next_to_nothing_are_damaged_if_they_are_many():
    places = [(1000 * n, n) for n in range(64)]
    assert len(index(*places[:63], compressed=9000, output=100)) == 63
    with pytest.raises(Damaged, match="too near"):
        index(*places, compressed=9000, output=100)
    assert len(index(*((1000 * n, n << 14) for n in range(300)), compressed=40_000, output=300 << 14)) == 300


def test_a_span_too_large_to_decode_is_damaged():
    with pytest.raises(Damaged, match="too far apart"):
        index((0, 0), output=MAX_SPAN_OUTPUT_BYTES + 1)
    assert len(index((0, 0), output=MAX_SPAN_OUTPUT_BYTES)) == 1


@pytest.mark.parametrize("compressed", [(16 << 20) + 2 * 900 + 1, 8 << 30])
def test_a_span_too_large_to_fetch_is_damaged_however_little_it_inflates_to(compressed: int):
    with pytest.raises(Damaged, match="too far apart"):
        index((0, 0), compressed=compressed, output=900)
    with pytest.raises(Damaged, match="too far apart"):
        index((0, 0), (801, 900), compressed=101 + compressed, output=1800)
    assert len(index((0, 0), compressed=(16 << 20) + 2 * 900, output=900)) == 1


@given(st.binary(max_size=WINDOW_BYTES))
def test_windows_are_packed_and_unpacked(window: bytes):
    assert unpack_window(pack_window(window)) == window


def test_a_window_of_noise_hardly_grows_and_one_of_text_shrinks():
    assert len(pack_window(random.Random(1).randbytes(WINDOW_BYTES))) < WINDOW_BYTES + 100
    assert len(pack_window(WINDOW)) < WINDOW_BYTES / 2


@given(st.binary(min_size=1, max_size=100))
def test_what_is_no_window_is_damaged(data: bytes):
    try:
        assert len(unpack_window(data)) <= WINDOW_BYTES
    except Damaged:
        return


def test_a_window_that_is_cut_is_damaged():
    with pytest.raises(Damaged, match="ends early"):
        unpack_window(pack_window(WINDOW)[:-5])
    with pytest.raises(Damaged):
        unpack_window(gzip.compress(WINDOW))
