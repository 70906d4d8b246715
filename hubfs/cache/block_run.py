"""Runs of neighbouring blocks: what one request fetches, and how blocks become the bytes of a read."""

from collections.abc import Iterable, Iterator

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES


def runs_of(indexes: Iterable[int], longest: int, *, cut_every: int | None = None) -> Iterator[range]:
    """Groups ascending block indexes into runs of neighbours, none longer than `longest`.

    With `cut_every`, no run crosses a multiple of it.
    """
    start = stop = -1
    for index in indexes:
        if index == stop and stop - start < longest and not (cut_every and index % cut_every == 0):
            stop += 1
            continue
        if stop > start:
            yield range(start, stop)
        start, stop = index, index + 1
    if stop > start:
        yield range(start, stop)


def slice_blocks(blocks: list[bytes], first_index: int, offset_bytes: int, size_bytes: int) -> bytes:
    """The bytes of a read, from the neighbouring blocks that cover it. An aligned read of one block copies nothing."""
    start_bytes = offset_bytes - first_index * BLOCK_SIZE_BYTES
    if len(blocks) == 1:
        block = blocks[0]
        return block if start_bytes == 0 and size_bytes >= len(block) else block[start_bytes : start_bytes + size_bytes]
    views = [memoryview(block) for block in blocks]
    views[0] = views[0][start_bytes:]
    before_bytes = sum(len(view) for view in views[:-1])
    views[-1] = views[-1][: size_bytes - before_bytes]
    return b"".join(views)
