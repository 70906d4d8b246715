from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, block_size_at, blocks_of

SIZES = st.integers(0, 5 * BLOCK_SIZE_BYTES)


@given(file_size_bytes=SIZES)
def test_the_blocks_of_a_file_sum_up_to_it(file_size_bytes: int) -> None:
    sizes = [block_size_at(index, file_size_bytes) for index in range(7)]
    assert sum(sizes) == file_size_bytes
    assert all(size == BLOCK_SIZE_BYTES or not any(sizes[index + 1 :]) for index, size in enumerate(sizes))


@given(offset_bytes=SIZES, size_bytes=SIZES, file_size_bytes=SIZES)
def test_a_read_touches_the_blocks_that_have_bytes_of_it_and_no_others(
    offset_bytes: int, size_bytes: int, file_size_bytes: int
) -> None:
    end_bytes = min(offset_bytes + size_bytes, file_size_bytes)
    touched = [
        index
        for index in range(12)
        if max(offset_bytes, index * BLOCK_SIZE_BYTES) < min(end_bytes, (index + 1) * BLOCK_SIZE_BYTES)
    ]
    assert list(blocks_of(offset_bytes, size_bytes, file_size_bytes)) == touched
