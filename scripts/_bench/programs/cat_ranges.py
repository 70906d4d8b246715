"""Reads ranges of files through a file system of fsspec, and says how long that took and what they held.

Says `{}` once everything is imported, waits for `{"protocol": …, "options": …, "paths": …, "starts": …, "ends": …}`,
and then makes the file system and reads by `cat_ranges`. The digest is not timed.
"""

import importlib
import json
import sys
import time
import zlib

import fsspec

_MODULES = {"hubfs": "hubfs.library.filesystem", "hf": "huggingface_hub", "gs": "gcsfs"}


def main() -> None:
    importlib.import_module(_MODULES[sys.argv[1]])
    print("{}", flush=True)
    order = json.loads(sys.stdin.readline())
    started_s = time.perf_counter()
    system = fsspec.filesystem(sys.argv[1], **order["options"])
    pieces = system.cat_ranges(order["paths"], order["starts"], order["ends"])
    took_s = time.perf_counter() - started_s
    digest = f"{zlib.crc32(b''.join(pieces)):08x}"
    print(json.dumps({"took_s": took_s, "bytes": sum(map(len, pieces)), "digest": digest}), flush=True)


if __name__ == "__main__":
    main()
