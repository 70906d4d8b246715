"""Headers of GGUF files, beside what the library writes and reads."""

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.formats.gguf import MAX_HEADER_BYTES, MAX_ITEMS, Header, read_header

ALIGNMENTS = st.sampled_from([None, 8, 32, 64, 4096])


def written(
    path: Path,
    keys: dict[str, Any],
    tensors: dict[str, Any],
    alignment: int | None = None,
    order: Any = gguf.GGUFEndian.LITTLE,
) -> bytes:
    """The file that the library writes."""
    writer = gguf.GGUFWriter(path, "llama", endianess=order)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for key, value in keys.items():
        kind = gguf.GGUFValueType.get_type(value)
        writer.add_key_value(
            key, value, kind, gguf.GGUFValueType.get_type(value[0]) if isinstance(value, list) else None
        )
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def header_of(file: bytes) -> Header:
    return read_header(MemoryBlob("file", file))


VALUES = st.one_of(
    st.integers(0, 100),
    st.booleans(),
    st.floats(width=32, allow_nan=False),
    st.text(max_size=9),
    st.lists(st.text(max_size=5), min_size=1, max_size=9),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
)
ARRAYS = st.builds(
    lambda kind, shape: np.ones(shape, dtype=kind),
    st.sampled_from(["float16", "float32"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from("abcdef"), VALUES),
    st.dictionaries(st.sampled_from("uvwxyz"), ARRAYS, min_size=1),
    ALIGNMENTS,
    st.sampled_from(gguf.GGUFEndian),
)
def test_what_the_library_writes_is_read_equal(
    tmp_path: Path, keys: dict[str, Any], tensors: dict[str, Any], alignment: int | None, order: Any
) -> None:
    file = written(tmp_path / "a.gguf", keys, tensors, alignment, order)
    header, theirs = header_of(file), gguf.GGUFReader(tmp_path / "a.gguf")
    assert header.tensors == len(theirs.tensors) == len(tensors)
    assert (header.data_bytes, header.alignment_bytes) == (theirs.data_offset, theirs.alignment)
    assert header.version == 3


def small(tmp_path: Path) -> bytes:
    keys = {"tokenizer.ggml.tokens": ["a", "b"], "n": 5}
    return written(tmp_path / "small.gguf", keys, {"t": np.ones((2, 3), dtype="float32")})


def test_a_header_that_is_cut_is_refused_wherever_the_library_refuses_it(tmp_path: Path) -> None:
    file = small(tmp_path)
    data_bytes = header_of(file).data_bytes
    for size_bytes in range(data_bytes):
        with pytest.raises(Damaged, match="no GGUF"):
            header_of(file[:size_bytes])


def test_an_array_of_numbers_is_passed_over_and_not_read() -> None:
    class Counting(MemoryBlob):
        read_bytes = 0

        def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
            self.read_bytes += size_bytes
            return super().read_at(offset_bytes, size_bytes)

    numbers = struct.pack("<IIQ", 9, 6, 5 << 20) + bytes(20 << 20)
    file = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + numbers
    blob = Counting("file", file.ljust(-(-len(file) // 32) * 32, b"\0"))
    assert read_header(blob).data_bytes == blob.size_bytes
    assert blob.read_bytes <= 1 << 20


def _file(*parts: bytes, version: int = 3, tensors: int = 0, keys: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(parts) + bytes(200)


def _key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(100),
        _file(version=4),
        _file(version=0),
        _file(keys=MAX_ITEMS + 1),
        _file(tensors=MAX_ITEMS + 1, keys=0),
        _file(_key(b"k", 13, bytes(8))),
        _file(_key(b"k", 8, struct.pack("<Q", 1 << 63))),
        _file(_key(b"k", 9, struct.pack("<IQ", 8, 1 << 60))),
        _file(_key(b"k", 9, struct.pack("<IQ", 6, 1 << 62))),
        _file(_key(b"k", 9, struct.pack("<IQ", 9, 1) * 9)),
        _file(_key(b"general.alignment", 4, struct.pack("<I", 0))),
        _file(_key(b"general.alignment", 4, struct.pack("<I", 24))),
        _file(_key(b"general.alignment", 5, struct.pack("<I", 32))),
        _file(struct.pack("<Q", 1 << 20), bytes(1 << 20)),
        _file(struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 1, 0, 1 << 50), tensors=1, keys=0),
        _file(struct.pack("<Q", 1) + b"t" + struct.pack("<I", 1 << 31), tensors=1, keys=0),
    ],
)
def test_what_contradicts_itself_or_exceeds_a_bound_is_refused(file: bytes) -> None:
    with pytest.raises(Damaged, match="no GGUF"):
        header_of(file)


def test_a_file_of_version_1_has_shorter_counts() -> None:
    file = b"GGUF" + struct.pack("<III", 1, 0, 1) + struct.pack("<I", 1) + b"k" + struct.pack("<IH", 2, 7)
    assert header_of(file.ljust(64, b"\0")) == Header(1, 0, 32, 32)


def test_no_more_than_the_bound_is_read_of_a_header_without_an_end() -> None:
    class Endless:
        key, size_bytes, read_bytes = "endless", 1 << 40, 0

        def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
            self.read_bytes += size_bytes
            piece = _file(_key(b"k", 9, struct.pack("<IQ", 8, MAX_ITEMS - 1)))[:45] if offset_bytes == 0 else b""
            return piece + struct.pack("<Q", 88).ljust(96, b"x") * (size_bytes // 96 + 1)

    endless = Endless()
    with pytest.raises(Damaged, match="no GGUF"):
        read_header(endless)
    assert endless.read_bytes <= 2 * MAX_HEADER_BYTES
