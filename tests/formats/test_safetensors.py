"""Headers of safetensors files, beside what the library reads."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.formats.safetensors import MAX_HEADER_BYTES, MAX_INDEX_BYTES, Header, read_header, read_index

U8 = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}


def file_of(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def header_of(file: bytes) -> Header:
    return read_header(MemoryBlob("file", file))


def library(file: bytes) -> dict[str, bytes]:
    """The tensors by their names, as the library reads them."""
    return {name: bytes(said["data"]) for name, said in deserialize(file)}


def ours(file: bytes) -> dict[str, bytes]:
    return {one.name: file[one.start_bytes : one.end_bytes] for one in header_of(file).tensors}


ARRAYS = st.builds(
    lambda kind, shape: np.arange(int(np.prod(shape))).astype(kind).reshape(shape),
    st.sampled_from(["uint8", "int16", "float16", "float32", "float64", "int64", "bool"]),
    st.lists(st.integers(0, 4), max_size=3),
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), ARRAYS, max_size=6), st.dictionaries(st.text(), st.text()))
def test_what_the_library_writes_is_read_equal(arrays: dict[str, Any], metadata: dict[str, str]) -> None:
    arrays.pop("__metadata__", None)
    file = save(arrays, metadata or None)
    assert ours(file) == library(file) == {name: array.tobytes() for name, array in arrays.items()}
    ends = [header_of(file).data_bytes, *(tensor.end_bytes for tensor in header_of(file).tensors)]
    assert [tensor.start_bytes for tensor in header_of(file).tensors] == ends[:-1]


@given(st.integers(0, 3), st.integers(0, 255), st.integers(0, 120), st.binary(max_size=3))
def test_what_the_library_refuses_is_refused(cut: int, byte: int, at: int, more: bytes) -> None:
    good = save({"b": np.arange(3, dtype="float32"), "a": np.arange(5, dtype="uint8")}, {"format": "np"})
    file = (good[:at] + bytes([byte]) + good[at + 1 :])[: len(good) - cut] + more
    try:
        expected = library(file)
    except SafetensorError:
        with pytest.raises(Damaged, match="no file of safetensors"):
            header_of(file)
    else:
        if _is_known(file):
            assert ours(file) == expected


def _is_known(file: bytes) -> bool:
    """Whether the header has no fields but those of the format, which the library passes over."""
    said = json.loads(file[8 : 8 + struct.unpack_from("<Q", file)[0]])
    said.pop("__metadata__", None)
    return all(isinstance(one, dict) and len(one) == 3 for one in said.values())


@pytest.mark.parametrize(
    "header",
    [
        {"a": {**U8, "data_offsets": [1, 3]}},
        {"a": U8, "b": {**U8, "data_offsets": [1, 3]}},
        {"a": {**U8, "shape": [3]}},
        {"a": {**U8, "shape": [1 << 40, 1 << 40, 1 << 40]}},
        {"a": {**U8, "shape": [-2]}},
        {"a": {**U8, "shape": [True, 2]}},
        {"a": {**U8, "shape": [2.0]}},
        {"a": {**U8, "data_offsets": [0, 1 << 70]}},
        {"a": {**U8, "data_offsets": [0, 2, 3]}},
        {"a": {**U8, "dtype": "X"}},
        {"a": {**U8, "dtype": None}},
        {"a": {**U8, "more": 1}},
        {"a": {"dtype": "U8"}},
        {"a": 1},
        {"__metadata__": {"a": 1}, "a": U8},
        {"__metadata__": [], "a": {**U8, "data_offsets": [2, 0]}},
        {"\ud800": U8},
        b'{"a":' + b"[" * 100_000,
        b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}\0',
        b"[]",
        b"\xff",
        b"",
    ],
)
def test_a_header_that_contradicts_itself_is_refused(header: bytes | dict[str, Any]) -> None:
    with pytest.raises(Damaged, match="no file of safetensors"):
        header_of(file_of(header, b"12"))


@pytest.mark.parametrize("file", [b"", b"1234567", struct.pack("<Q", 1), struct.pack("<Q", 1 << 63) + b"{}"])
def test_a_length_beyond_the_file_is_refused(file: bytes) -> None:
    with pytest.raises(Damaged, match="no file of safetensors"):
        header_of(file)


class Huge:
    """A file of 1 TB that begins with `head`, and counts what is read."""

    key, size_bytes = "huge", 1 << 40

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.read_bytes = 0

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        self.read_bytes += size_bytes
        return self.head[offset_bytes : offset_bytes + size_bytes].ljust(size_bytes, b" ")


@pytest.mark.parametrize("claimed_bytes", [MAX_HEADER_BYTES + 1, 100_000_001, 1 << 39])
def test_a_header_longer_than_the_bound_is_not_read(claimed_bytes: int) -> None:
    huge = Huge(struct.pack("<Q", claimed_bytes))
    with pytest.raises(Damaged, match=str(claimed_bytes)):
        read_header(huge)
    assert huge.read_bytes == 8


def test_more_tensors_than_the_bound_are_refused() -> None:
    with pytest.raises(Damaged, match="values, more than"):
        header_of(file_of(b'{"a":[' + b"1," * 500_000 + b"1]}"))


def index_of(told: object) -> tuple[str, ...]:
    return read_index(MemoryBlob("index", json.dumps(told).encode()))


def test_an_index_names_each_file_once() -> None:
    names = ["b-00002.safetensors", "a-00001.safetensors", "b-00002.safetensors"]
    assert index_of({"metadata": {}, "weight_map": dict(zip("xyz", names, strict=True))}) == (names[1], names[0])


@pytest.mark.parametrize(
    "told",
    [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "../b"}}, {"weight_map": {"a": ""}}],
)
def test_what_is_no_index_is_refused(told: object) -> None:
    with pytest.raises(Damaged, match="its index"):
        index_of(told)


def test_an_index_longer_than_the_bound_is_not_read() -> None:
    huge = Huge(b"{}")
    with pytest.raises(Damaged, match=str(MAX_INDEX_BYTES)):
        read_index(huge)
    assert huge.read_bytes == 0
