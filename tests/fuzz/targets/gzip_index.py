"""The index of gzip data: what is taken is what `to_bytes` makes, and its spans are a partition of the file."""

import struct

from hubfs.errors import Damaged
from hubfs.formats.gzip import index as gzip_index
from hubfs.formats.gzip.index import GzipIndex
from hubfs.formats.gzip.span import WINDOW_BYTES
from hubfs.formats.sealed import OVERHEAD_BYTES, seal

WORDS = (b"hubfsGZI",)
_HEADER = struct.Struct("<8sHQ")


def fuzz(data: bytes) -> None:
    try:
        index = GzipIndex.from_bytes(data)
    except Damaged:
        return
    check(index)
    assert index.to_bytes() == data


def check(index: GzipIndex) -> None:
    """The promises of an index."""
    end = 0
    for number in range(len(index)):
        span = index.span(number)
        assert span.output_start_bytes == end
        assert 0 <= span.start_bytes < span.end_bytes <= index.compressed_size_bytes
        assert 0 <= span.output_bytes <= gzip_index.MAX_SPAN_OUTPUT_BYTES
        assert span.end_bytes - span.start_bytes <= (17 << 20) + 2 * span.output_bytes, "fetched into memory"
        assert span.output_bytes == 0 or number in index.spans_of(end, 1)
        end = span.output_end_bytes
        try:
            assert len(span.checkpoint.window()) <= WINDOW_BYTES
        except Damaged:
            continue
    assert end == index.output_size_bytes
    assert list(index.spans_of(0, 1 << 62)) == (list(range(len(index))) if end else [])


def repair(data: bytes) -> bytes:
    """Under a right seal."""
    return seal(gzip_index._MAGIC, gzip_index._VERSION, data[_HEADER.size : -4]) if len(data) > OVERHEAD_BYTES else data
