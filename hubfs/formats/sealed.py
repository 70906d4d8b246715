"""Bytes under a magic, a version and a checksum, so that whatever else a file may be is told from them."""

import struct

from hubfs.blobs.checksums import crc32c
from hubfs.errors import Damaged

_HEADER = struct.Struct("<8sHQ")
_CHECKSUM = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CHECKSUM.size


def seal(magic: bytes, version: int, body: bytes) -> bytes:
    """`body` for `unseal`; `magic` has 8 bytes."""
    sealed = _HEADER.pack(magic, version, len(body)) + body
    return sealed + _CHECKSUM.pack(crc32c(sealed))


def unseal(magic: bytes, version: int, data: bytes, what: str) -> bytes:
    """The body. Raises `Damaged`, naming `what`, for anything that `seal` did not make with this magic and version."""
    if len(data) < OVERHEAD_BYTES or data[: len(magic)] != magic:
        raise Damaged(f"this is not {what}")
    _, found, size_bytes = _HEADER.unpack_from(data)
    if found != version:
        raise Damaged(f"this is {what} of version {found}, and version {version} can be read: make it anew")
    if size_bytes != len(data) - OVERHEAD_BYTES or _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size) != (
        crc32c(data[: -_CHECKSUM.size]),
    ):
        raise Damaged(f"this was {what}: it is truncated, or its checksum is wrong")
    return data[_HEADER.size : -_CHECKSUM.size]
