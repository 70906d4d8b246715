import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, blocks_of, runs_of, slice_blocks

PAYLOAD = random.Random(5).randbytes(3 * BLOCK_SIZE_BYTES + 77)
BLOCKS = [PAYLOAD[start : start + BLOCK_SIZE_BYTES] for start in range(0, len(PAYLOAD), BLOCK_SIZE_BYTES)]


@given(st.sets(st.integers(0, 200)), st.integers(1, 9))
def test_runs_are_neighbours_in_order_and_not_too_long(indexes: set[int], longest: int) -> None:
    runs = list(runs_of(sorted(indexes), longest))
    assert [index for run in runs for index in run] == sorted(indexes)
    assert all(1 <= len(run) <= longest for run in runs)
    for one, two in pairwise(runs):
        assert one.stop < two.start or len(one) == longest


@given(st.sets(st.integers(0, 200)), st.integers(1, 9), st.integers(1, 9))
def test_runs_that_are_cut_cross_no_multiple(indexes: set[int], longest: int, cut_every: int) -> None:
    runs = list(runs_of(sorted(indexes), longest, cut_every=cut_every))
    assert [index for run in runs for index in run] == sorted(indexes)
    assert all(run.start // cut_every == (run.stop - 1) // cut_every for run in runs)


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, len(PAYLOAD)))
def test_slices_are_the_bytes_of_the_read(offset_bytes: int, size_bytes: int) -> None:
    indexes = blocks_of(offset_bytes, size_bytes, len(PAYLOAD))
    blocks = [BLOCKS[index] for index in indexes]
    assert slice_blocks(blocks, indexes.start, offset_bytes, size_bytes) == PAYLOAD[offset_bytes:][:size_bytes]


def test_a_whole_block_is_not_copied() -> None:
    assert slice_blocks([BLOCKS[1]], 1, BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES) is BLOCKS[1]
    assert slice_blocks([BLOCKS[3]], 3, 3 * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES) is BLOCKS[3]
