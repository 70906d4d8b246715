"""Reads every file of a model from its start to its end, 1 MiB at a time: the same reader for everybody.

Called with `mmap`, it maps each file, and touches every page in order.
Says `{}` when it is ready, waits for `{"path": …, "names": […]}`, and then says how long it took, how many bytes it
read, and their checksum. Without names it lists the directory first, as `cp -r` would.
"""

import json
import mmap
import os
import sys
import time
import zlib

PIECE_BYTES = 1 << 20
CHECKED_BYTES = 4096


def files(path: str, names: list[str]) -> list[str]:
    if names:
        return [f"{path}/{name}" for name in names]
    return sorted(f"{folder}/{name}" for folder, _, found in os.walk(path) for name in found)


def touch_files(path: str, names: list[str]) -> tuple[int, str]:
    """As `read_files`, by mapping: the same bytes have the same checksum."""
    total_bytes = seen = 0
    for name in files(path, names):
        size_bytes = os.path.getsize(name)  # noqa: PTH202 - as little as can be beside what is measured
        if not size_bytes:  # nothing can be mapped of it
            continue
        with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:  # noqa: PTH123
            for offset in range(0, size_bytes, PIECE_BYTES):
                seen = zlib.crc32(mapped[offset : offset + CHECKED_BYTES], seen)
                mapped[offset : offset + PIECE_BYTES : mmap.PAGESIZE]
        total_bytes += size_bytes
    return total_bytes, f"{seen:08x}"


def read_files(path: str, names: list[str]) -> tuple[int, str]:
    """How many bytes, and a checksum of a part of each piece: of the whole, it would be a benchmark of checksums."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    total_bytes = seen = 0
    for name in files(path, names):
        descriptor = os.open(name, os.O_RDONLY)
        offset = 0
        while size := os.preadv(descriptor, [buffer], offset):
            seen = zlib.crc32(buffer[: min(size, CHECKED_BYTES)], seen)
            offset += size
        os.close(descriptor)
        total_bytes += offset
    return total_bytes, f"{seen:08x}"


def main() -> None:
    print("{}", flush=True)
    order = json.loads(sys.stdin.readline())
    started_s = time.perf_counter()
    read = touch_files if sys.argv[1:] == ["mmap"] else read_files
    size_bytes, digest = read(order["path"], order.get("names") or [])
    took_s = time.perf_counter() - started_s
    print(json.dumps({"took_s": took_s, "bytes": size_bytes, "digest": digest}), flush=True)


if __name__ == "__main__":
    main()
