"""The header of a GGUF file: read safely, within its bounds; what follows the header does not change what it says."""

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.formats.gguf import Header, read_header

WORDS = (
    b"GGUF",
    b"\x11\0\0\0\0\0\0\0general.alignment\4\0\0\0",
    b"\x09\0\0\0",
    b"\x08\0\0\0",
    b"\x03\0\0\0",
    b"\0\0\0\3",
    b"\xff" * 8,
)


class _Counted(MemoryBlob):
    read_bytes = 0

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        assert 0 <= offset_bytes <= self.size_bytes
        data = super().read_at(offset_bytes, size_bytes)
        self.read_bytes += len(data)
        return data


def fuzz(data: bytes) -> None:
    header, read_bytes = _read(data)
    # The pieces overlap by less than a number or a name.
    assert read_bytes <= 2 * len(data) + 16
    if header is None:
        return
    assert header.version in (1, 2, 3)
    assert header.data_bytes % header.alignment_bytes == 0
    assert _read(data + b"more")[0] == header
    if header.tensors == 0:
        assert header.data_bytes - header.alignment_bytes < len(data)
    else:
        assert header.data_bytes <= len(data)


def _read(data: bytes) -> tuple[Header | None, int]:
    blob = _Counted("file", data)
    try:
        return read_header(blob), blob.read_bytes
    except Damaged:
        return None, blob.read_bytes


def repair(data: bytes) -> bytes:
    """With the magic, and a version that is read."""
    return data if len(data) < 8 or data[4] in (1, 2, 3) or data[7] in (1, 2, 3) else b"GGUF\3\0\0\0" + data[8:]
