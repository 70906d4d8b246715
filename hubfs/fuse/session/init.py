"""INIT: what the kernel can do, and what of it is used. Pure."""

from dataclasses import dataclass

from hubfs.fuse.session.protocol import INIT_IN, INIT_IN_EXT, INIT_OUT, MAJOR, MINOR, OLDEST_MINOR, Init

MAX_PAGES = 256
"""Requests of 1 MiB: blocks are as large, and larger requests gained nothing."""

BACKGROUND = 128
"""So many background reads may be under way (the kernel's own limit: 12): faults of mapped files, and reads ahead. One
more waits until one of these ends, and each may wait for its own connection. 64 threads fault side by side."""

_MAX_WRITE_BYTES = 4096
"""The kernel's least: nothing is written, and this is what buffers are to have room for."""

_USED = (
    Init.ASYNC_READ
    | Init.ATOMIC_O_TRUNC
    | Init.AUTO_INVAL_DATA
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.PARALLEL_DIROPS
    | Init.MAX_PAGES
    | Init.INIT_EXT
    | Init.HAS_RESEND
)


class TooOld(Exception):
    """The kernel speaks a version of the protocol that is not spoken here."""


@dataclass(frozen=True)
class Agreement:
    """The reply to INIT, and the flags that both sides have. `reply` alone counts where `flags` is None: the kernel
    begins again, with an older version.
    """

    reply: bytes
    flags: int | None


def agree(request: bytes | memoryview, *, stack_depth: int = 0) -> Agreement:
    """Answers INIT. `stack_depth` above 0 asks for passthrough, for backing files on file systems of that depth.

    Raises `TooOld`, and `struct.error` for what is no request.
    """
    major, minor, readahead_bytes, offered = INIT_IN.unpack_from(request)
    if major > MAJOR:
        return Agreement(INIT_OUT.pack(MAJOR, MINOR, *(0,) * 11), None)
    if major < MAJOR or minor < OLDEST_MINOR:
        raise TooOld(f"the kernel's FUSE is {major}.{minor}; {MAJOR}.{OLDEST_MINOR} (Linux 5.4) is the oldest")
    if offered & Init.INIT_EXT:
        offered |= INIT_IN_EXT.unpack_from(request)[4] << 32
    flags = int(offered & (_USED | (Init.PASSTHROUGH if stack_depth else 0)))
    reply = INIT_OUT.pack(
        *(MAJOR, min(minor, MINOR), readahead_bytes, flags & 0xFFFF_FFFF),
        *(BACKGROUND, BACKGROUND * 3 // 4, _MAX_WRITE_BYTES, 1, MAX_PAGES, 0),
        *(flags >> 32, stack_depth if flags & Init.PASSTHROUGH else 0, 0),
    )
    return Agreement(reply, flags)
