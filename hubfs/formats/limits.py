"""How much an archive may inflate to: a few bytes of the network are not to become days of work, nor a full disk."""

from collections.abc import Callable, Iterable, Iterator

from hubfs.errors import Damaged
from hubfs.formats.byte_reader import Bytes

DEFLATE_RATIO = 1032
"""Deflate says 258 bytes in two bits, and no more: what claims to hold more than that lies."""

FREE_BYTES = 16 << 30
"""So much may come of any archive, however small. Weights that were initialised with zeros deflate a thousandfold, and
nothing tells them from a bomb; inflating so much takes half a minute, and the cache keeps its bound meanwhile."""

MAX_FILE_SIZE_BYTES = 1 << 44
"""16 TiB, the largest file of ext4: a size beyond it is an attack or an accident. A file with holes may be so large
however little the archive inflates to."""

MAX_RATIO = 200
"""... and beyond it so many bytes for each byte of the archive. Trained weights deflate to 90 %, texts to 20 %; an
archive of more than 16 GiB that is half zeros has a ratio of 2."""


def most_output_bytes(size_bytes: int) -> int:
    """What an archive of `size_bytes` may inflate to, headers included."""
    return min(DEFLATE_RATIO * size_bytes, FREE_BYTES + MAX_RATIO * size_bytes)


def bounded(inflated: Iterable[Bytes], read_bytes: Callable[[], int]) -> Iterator[Bytes]:
    """The same chunks. Raises `Damaged` once there are more than `read_bytes()` bytes of an archive may inflate to.

    `read_bytes` is the size of the archive, or, where nobody announced it, how much of it was read so far.
    """
    output_bytes = 0
    for chunk in inflated:
        output_bytes += len(chunk)
        if output_bytes > FREE_BYTES and output_bytes > most_output_bytes(read_bytes()):
            raise too_large(output_bytes, read_bytes())
        yield chunk


HOLLOW_BYTES = 1 << 30
"""So much of an archive may inflate to nothing, and twice of what it inflates to: deflate adds 5 bytes to 64 KiB at
worst, and empty blocks, or zeros behind the end, may come for ever."""


def is_hollow(read_bytes: int, output_bytes: int) -> bool:
    """Whether so much of an archive that inflated to so little is hostile."""
    return read_bytes > HOLLOW_BYTES + 2 * output_bytes


def too_large(output_bytes: int, size_bytes: int) -> Damaged:
    """What is raised for an archive of `size_bytes` that inflates, or claims to inflate, to so much."""
    return Damaged(
        f"the archive is hostile: {size_bytes} bytes of it would inflate to {output_bytes} or more; at most "
        f"{FREE_BYTES} are taken, and {MAX_RATIO} for each byte of the archive, and never more than {DEFLATE_RATIO} "
        "for each, which is all that deflate can do"
    )
