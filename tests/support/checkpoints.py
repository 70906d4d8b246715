"""Where the deflate blocks of a gzip file begin, as rapidgzip finds them, and indexes made of them."""

import io
import random

import rapidgzip

from hubfs.formats.gzip.index import TRAILER_BYTES, GzipIndex
from hubfs.formats.gzip.recorder import IndexRecorder

SMALL_CHUNK_BYTES = 128 << 10


def words(size_bytes: int, seed: int = 1) -> bytes:
    """Text-like bytes, which deflate well, and whose windows are needed everywhere."""
    noise = random.Random(seed)
    pieces = [b"token %d of %d\n" % (noise.randrange(5000), noise.randrange(7)) for _ in range(size_bytes // 9)]
    return b"".join(pieces)[:size_bytes]


def mixture(size_bytes: int, seed: int = 2) -> bytes:
    """Text and noise in turns: compressors store the noise, and stored blocks are aligned to bytes."""
    noise = random.Random(seed)
    pieces = [
        words(noise.randrange(1, 60_000), seed=n) + noise.randbytes(noise.randrange(1, 90_000))
        for n in range(size_bytes // 70_000 + 1)
    ]
    return b"".join(pieces)[:size_bytes]


def checkpoints_of(archive: bytes, chunk_bytes: int = SMALL_CHUNK_BYTES) -> tuple[dict[int, int], bytes]:
    """Bit offset → output offset of deflate blocks in a gzip file, the end included; and the whole output."""
    with rapidgzip.RapidgzipFile(io.BytesIO(archive), parallelization=1, chunk_size=chunk_bytes) as file:
        output = b"".join(iter(lambda: file.read(1 << 20), b""))
        return dict(sorted(file.block_offsets().items())), output


def index_of(archive: bytes) -> GzipIndex:
    """The index of a gzip file, by the real recorder."""
    checkpoints, output = checkpoints_of(archive)
    recorder = IndexRecorder()
    for bit_offset, output_offset in checkpoints.items():
        recorder.checkpoint(bit_offset, output_offset)
    for start in range(0, len(output), 1 << 20):
        recorder.output(output[start : start + (1 << 20)])
    index = recorder.finish(len(archive), archive[-TRAILER_BYTES:])
    assert index is not None
    return index
