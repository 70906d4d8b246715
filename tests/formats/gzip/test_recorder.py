import gzip
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.checksums import crc32c
from hubfs.formats.gzip import recorder as index_recorder
from hubfs.formats.gzip.index import MAX_SPAN_OUTPUT_BYTES, GzipIndex
from hubfs.formats.gzip.recorder import LARGEST_SINGLE_BYTES, IndexRecorder
from hubfs.formats.gzip.span import WINDOW_BYTES
from tests.support.archives import in_chunks
from tests.support.examples import examples

MIB = 1 << 20
OUTPUT = random.Random(5).randbytes(24 * MIB)
TRAILER = b"trailer!"


def record(output: bytes, checkpoints: list[tuple[int, int]], *, chunk_bytes: int = MIB, late: int = 0):
    """Feeds `output`, and each checkpoint `late` bytes of output after its own place (before it, if negative)."""
    recorder, fed, left = IndexRecorder(), 0, list(checkpoints)
    for chunk in in_chunks(output, chunk_bytes):
        while left and left[0][1] + late <= fed:
            recorder.checkpoint(*left.pop(0))
        recorder.output(chunk)
        fed += len(chunk)
    for checkpoint in left:
        recorder.checkpoint(*checkpoint)
    return recorder.finish(len(output), TRAILER)


def agrees(index: GzipIndex, output: bytes) -> bool:
    """Whether windows and checksums are those of the output at these places."""
    spans = [index.span(number) for number in range(len(index))]
    return index.output_size_bytes == len(output) and all(
        span.checkpoint.window() == output[max(0, span.output_start_bytes - WINDOW_BYTES) : span.output_start_bytes]
        and span.checkpoint.crc32c == crc32c(output[span.output_start_bytes : span.output_end_bytes])
        for span in spans
    )


EVERY_MIB = [(8 * n * MIB + 3, n * MIB + 5 * n) for n in range(1, 24)]


@pytest.mark.parametrize("late", [-3 * MIB, -1, 0, 1, MIB, 2 * MIB, 3 * MIB])
@pytest.mark.parametrize("chunk_bytes", [100_001, MIB])
def test_checkpoints_may_come_early_and_late(late: int, chunk_bytes: int):
    index = record(OUTPUT, EVERY_MIB, chunk_bytes=chunk_bytes, late=late)
    assert [one.bit_offset // (8 * MIB) for one in index.checkpoints] == [0, 4, 8, 12, 16, 20]
    assert agrees(index, OUTPUT)


def test_a_checkpoint_that_comes_too_late_is_passed_over():
    recorder = IndexRecorder()
    for chunk in in_chunks(OUTPUT, MIB):
        recorder.output(chunk)
    recorder.checkpoint(8 * 5 * MIB, 5 * MIB)
    recorder.checkpoint(8 * 21 * MIB, 21 * MIB)
    index = recorder.finish(len(OUTPUT), TRAILER)
    assert [one.bit_offset for one in index.checkpoints] == [0, 8 * 21 * MIB]
    assert agrees(index, OUTPUT)


@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)), max_size=12),
    st.integers(1, 3000),
    st.integers(-2000, 2000),
)
@examples(150)
def test_whatever_is_announced_the_index_agrees_with_the_output(places, chunk_bytes: int, late: int):
    output = OUTPUT[:8000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_recorder, "SPACING_BYTES", 100)
        patch.setattr(index_recorder, "_LAG_BYTES", 2500)
        places = [(min(bit, 7990) * 8 + 1, start) for bit, start in places]
        index = record(output, places, chunk_bytes=chunk_bytes, late=late)
    assert agrees(index, output)
    bits = [one.bit_offset for one in index.checkpoints]
    assert all(after - before >= 800 for before, after in itertools.pairwise(bits))


def test_well_compressed_output_is_cut_by_its_own_size():
    recorder = IndexRecorder()
    for n in range(40):
        recorder.output(bytes(MIB))
        recorder.checkpoint(8 * 1000 * (n + 1), (n + 1) * MIB)
    index = recorder.finish(41_000, TRAILER)
    assert [one.output_offset_bytes // MIB for one in index.checkpoints] == [0, 16, 32]
    assert len(index.to_bytes()) < 1000


def test_the_end_is_no_checkpoint():
    index = record(OUTPUT, [*EVERY_MIB, (8 * len(OUTPUT), len(OUTPUT))])
    assert index.checkpoints[-1].output_offset_bytes < len(OUTPUT)


def test_a_checkpoint_that_needs_no_window_has_none():
    recorder = IndexRecorder()
    recorder.output(OUTPUT)
    recorder.checkpoint(8 * 5 * MIB, 5 * MIB, needs_window=False)
    assert recorder.finish(len(OUTPUT), TRAILER).checkpoints[1].window() == b""


def test_a_small_file_is_one_span():
    archive = gzip.compress(OUTPUT[: 3 * MIB])
    recorder = IndexRecorder()
    recorder.output(OUTPUT[: 3 * MIB])
    index = recorder.finish(len(archive), archive[-8:])
    assert [(one.bit_offset, one.packed_window) for one in index.checkpoints] == [(0, b"")]
    assert agrees(index, OUTPUT[: 3 * MIB])


def test_an_empty_file_has_an_index():
    index = IndexRecorder().finish(len(gzip.compress(b"")), TRAILER)
    assert (index.output_size_bytes, len(index)) == (0, 1)
    assert list(index.spans_of(0, 10)) == []


def test_without_checkpoints_a_larger_file_has_no_index():
    recorder = IndexRecorder()
    recorder.output(OUTPUT)
    assert recorder.finish(LARGEST_SINGLE_BYTES + 1, TRAILER) is None


def test_a_span_that_would_be_too_large_makes_no_index():
    recorder = IndexRecorder()
    zeros = bytes(MIB)
    for _ in range(MAX_SPAN_OUTPUT_BYTES // MIB):
        recorder.output(zeros)
    recorder.output(b"one more")
    assert recorder.finish(70_000, TRAILER) is None


def test_a_span_of_too_many_bytes_that_inflate_to_nothing_makes_no_index():
    recorder = IndexRecorder()
    recorder.output(bytes(MIB))
    recorder.checkpoint(8 * 40 * MIB, MIB - 1)
    assert recorder.finish(41 * MIB, TRAILER) is None


def test_output_is_kept_by_reference_and_no_longer_than_needed():
    recorder = IndexRecorder()
    for _ in range(50):
        recorder.output(OUTPUT[:MIB])
        assert recorder._kept_bytes <= 5 * MIB
    kept = memoryview(OUTPUT)[:MIB]
    recorder.output(kept)
    assert recorder._kept[-1] is kept
