"""Archives for the inflating process, and a look at it from outside."""

import os
import random
import threading
import zlib
from pathlib import Path


def noise_and_text(size: int, seed: int = 4) -> bytes:
    """Bytes that compress like weights in some places, like text in others."""
    dice = random.Random(seed)
    text = b"".join(b"token %d of %d\n" % (dice.randrange(9_000), number) for number in range(20_000))
    parts: list[bytes] = []
    while sum(map(len, parts)) < size:
        parts += [dice.randbytes(700_000), text, bytes(50_000)]
    return b"".join(parts)[:size]


def zeros_archive(mib: int) -> bytes:
    """A gzip file of so many MiB of zeros: a bomb, made quickly."""
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    body = block.compress(zeros) + block.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(zeros, checksum)
    trailer = checksum.to_bytes(4, "little") + (mib << 20).to_bytes(5, "little")[:4]
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + body * mib + b"\x03\x00" + trailer


def inflating_processes(parent: int | None = None) -> list[int]:
    """The inflating processes that `parent` (this process) started and that live, or were not waited for."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(state[1]) == (parent or os.getpid()) and (
            b"hubfs.formats.inflating.worker" in command or state[0] == "Z"
        ):
            found.append(int(status.parent.name))
    return found


def feeding_threads() -> list[threading.Thread]:
    """The threads that feed an inflating process."""
    return [thread for thread in threading.enumerate() if thread.name == "feed-inflate"]
