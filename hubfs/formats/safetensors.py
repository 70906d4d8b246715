"""The headers of safetensors files, and the indexes that say which files a model of several consists of.

A file is 8 bytes (the length of its header, little endian), the header (JSON), and the tensors, one behind the other.
Source: https://huggingface.co/docs/safetensors, and what the library of version 0.8 accepts.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from hubfs.blobs.blob import Blob
from hubfs.blobs.json_text import parse
from hubfs.errors import Damaged
from hubfs.formats.names import is_path

MAX_HEADER_BYTES = 8 << 20
"""A longer header is not read. The format allows 100 MB; 97 % of the headers at the Hugging Face Hub have less than
100 KB, and 50,000 tensors need 5 MB."""

MAX_INDEX_BYTES = 32 << 20
"""A longer index is not read. One of 91,000 tensors in 163 files has 9 MB."""

_LENGTH = struct.Struct("<Q")

_FORMAT_HEADER_BYTES = 100_000_000
_MAX_SIZE = 1 << 63
_MAX_BITS = 8 * _MAX_SIZE

_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""How many bits an element of each type has."""


@dataclass(frozen=True)
class Tensor:
    """A tensor, and where its bytes lie in the file."""

    name: str
    start_bytes: int
    end_bytes: int


@dataclass(frozen=True)
class Header:
    """The tensors in the order of their bytes, which begin at `data_bytes` and fill the rest of the file."""

    data_bytes: int
    tensors: tuple[Tensor, ...] = field(repr=False)


def read_header(blob: Blob) -> Header:
    """The header of a file. Reads no more than `MAX_HEADER_BYTES` and the 8 bytes before them.

    Raises `Damaged` for what the library refuses, for a header that is longer or has more than about 50,000 tensors,
    and for fields that the format does not know; and as the blob does.
    """
    head = blob.read_at(0, _LENGTH.size)
    if len(head) < _LENGTH.size:
        raise _damaged("it is shorter than 8 bytes")
    (header_bytes,) = _LENGTH.unpack(head)
    data_bytes = _LENGTH.size + header_bytes
    if header_bytes > _FORMAT_HEADER_BYTES or data_bytes > blob.size_bytes:
        raise _damaged(f"its header claims {header_bytes} bytes")
    if header_bytes > MAX_HEADER_BYTES:
        raise _damaged(f"its header has {header_bytes} bytes, more than {MAX_HEADER_BYTES}")
    described = _object(blob.read_at(_LENGTH.size, header_bytes), "its header")
    metadata = described.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged("its metadata are no texts")
    tensors = sorted(
        (_tensor(name, said, data_bytes) for name, said in described.items()),
        key=lambda tensor: (tensor.start_bytes, tensor.end_bytes),
    )
    end_bytes = data_bytes
    for tensor in tensors:
        if tensor.start_bytes != end_bytes:
            raise _damaged("its tensors overlap, or do not lie one behind the other")
        end_bytes = tensor.end_bytes
    if end_bytes != blob.size_bytes:
        raise _damaged(f"its tensors end at {end_bytes}, and the file at {blob.size_bytes}")
    return Header(data_bytes, tuple(tensors))


def read_index(blob: Blob) -> tuple[str, ...]:
    """The files of a model, sorted, that an index names (`*.safetensors.index.json`): paths from the index's folder.

    Raises `Damaged` for what is no index, and for one of more than `MAX_INDEX_BYTES` or about 500,000 tensors; and as
    the blob does.
    """
    if blob.size_bytes > MAX_INDEX_BYTES:
        raise _damaged(f"its index has {blob.size_bytes} bytes, more than {MAX_INDEX_BYTES}")
    files = _object(blob.read_at(0, blob.size_bytes), "its index").get("weight_map")
    if not isinstance(files, dict):
        raise _damaged("its index has no weight_map")
    names = set()
    for name in files.values():
        if not isinstance(name, str):
            raise _damaged("its index names files that are no texts")
        names.add(name)
    if not all(map(is_path, names)):
        raise _damaged("its index names files outside of its folder")
    return tuple(sorted(names))


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        told = parse(data.decode())
    except ValueError as error:  # UnicodeDecodeError is one
        raise _damaged(f"{what} cannot be read: {error}") from None
    if not isinstance(told, dict):
        raise _damaged(f"{what} is no object")
    return told


def _tensor(name: str, said: object, data_bytes: int) -> Tensor:
    match said:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [start, end], **others} if not others:
            bits = _BITS.get(kind)
        case _:
            raise _damaged("a tensor is described wrongly")
    if bits is None or not _is_text(name) or not all(map(_is_size, (start, end, *shape))):
        raise _damaged("a tensor is described wrongly")
    for size in shape:
        bits = min(bits * size, _MAX_BITS)
    if bits != 8 * (end - start):
        raise _damaged("a tensor has another size than its shape")
    return Tensor(name, data_bytes + start, data_bytes + end)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_SIZE


def _is_text(name: str) -> bool:
    """Whether `name` is no half of a surrogate pair: JSON can write one."""
    return name.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in name)


def _damaged(why: str) -> Damaged:
    return Damaged(f"this is no file of safetensors: {why}")
