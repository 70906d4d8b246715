"""The header of a safetensors file: what the library refuses is refused, and what is read is what the library reads.

The first byte says what the rest is: `i` an index, anything else a file.
"""

import json
import struct

from safetensors import SafetensorError, deserialize

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.formats.safetensors import Header, read_header, read_index

WORDS = (
    b'"dtype"',
    b'"shape"',
    b'"data_offsets"',
    b'"F32"',
    b'"__metadata__"',
    b'"weight_map"',
    b"[0,",
    b"../",
    b"\\ud800",
    b"-0",
)
_LENGTH = struct.Struct("<Q")


def fuzz(data: bytes) -> None:
    blob = MemoryBlob("file", data[1:])
    if data[:1] == b"i":
        _index(blob)
        return
    try:
        header = read_header(blob)
    except Damaged:
        return
    end_bytes = header.data_bytes
    for tensor in header.tensors:
        assert tensor.start_bytes == end_bytes <= tensor.end_bytes <= blob.size_bytes
        end_bytes = tensor.end_bytes
    _compare(data[1:], header)


def _compare(file: bytes, header: Header) -> None:
    try:
        theirs = deserialize(file)
    except SafetensorError as error:
        # Of a name that comes twice the last one counts here, and the library reads the first one, too. And -0 is 0.
        if _names_twice(file[_LENGTH.size : header.data_bytes]) or "`-0.0`" in str(error):
            return
        raise
    ours = {tensor.name: file[tensor.start_bytes : tensor.end_bytes] for tensor in header.tensors}
    assert ours == {name: bytes(said["data"]) for name, said in theirs}


def _names_twice(header: bytes) -> bool:
    """Whether an object of the header has two fields of one name."""
    twice = []

    def build(fields: list[tuple[str, object]]) -> None:
        twice.append(len(dict(fields)) < len(fields))

    json.loads(header, object_pairs_hook=build)
    return any(twice)


def _index(blob: MemoryBlob) -> None:
    try:
        files = read_index(blob)
    except Damaged:
        return
    for path in files:
        assert not {"", ".", ".."} & set(path.split("/"))
    assert list(files) == sorted({*json.loads(blob.read_at(0, blob.size_bytes))["weight_map"].values()})


def repair(data: bytes) -> bytes:
    """With the length of the header that there is, up to the last brace."""
    end = data.rfind(b"}") + 1
    if data[:1] == b"i" or end <= 1 + _LENGTH.size:
        return data
    return data[:1] + _LENGTH.pack(end - 1 - _LENGTH.size) + data[1 + _LENGTH.size :]
