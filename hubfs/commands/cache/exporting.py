"""Models of a cache as one file, for a machine that is offline: a tar of what the cache keeps of them.

Its first member, `hubfs-export.json`, says what follows: of each model its name, its index, and of each file the blocks
that there are, with their checksums. Members are numbered, so that no name of the file is a path.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from hubfs.blobs.checksums import crc32c
from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.sealed_json import seal
from hubfs.errors import Damaged

CONTENTS, KIND = "hubfs-export.json", "export"


def export(store: DiskStore, models: Sequence[str], file: BinaryIO) -> int:
    """Writes everything that the cache keeps of these models; how many bytes of files that is. Raises OSError.

    Raises `Damaged` for a block that is not what it was: it is taken out of the cache.
    """
    indexes = IndexStore(store.layout)
    described: list[dict[str, Any]] = []
    for model in models:
        keys = store.layout.files(model)
        files = [{"path": key.path, "blocks": [[*one] for one in store.records(key)]} for key in keys]
        archive_index = indexes.load_file(model)
        described.append(
            {
                "model": model,
                "index": indexes.of(model),
                "archive_index_crc32c": None if archive_index is None else crc32c(archive_index),
                "files": sorted(files, key=lambda one: str(one["path"])),
            }
        )
    size_bytes = 0
    with tarfile.open(fileobj=file, mode="w|") as tar:
        _add(tar, CONTENTS, seal(KIND, CONTENTS, {"models": described}))
        for number, one in enumerate(described):
            archive_index = indexes.load_file(one["model"])
            if archive_index is not None:
                _add(tar, f"{number}/archive-index", archive_index)
            for at, told in enumerate(one["files"]):
                key = CacheKey(one["model"], told["path"])
                blocks = _Blocks(store, key, [index for index, _, _ in told["blocks"]])
                info = tarfile.TarInfo(f"{number}/{at}")
                info.size = sum(length_bytes for _, length_bytes, _ in told["blocks"])
                tar.addfile(info, blocks)
                size_bytes += info.size
    return size_bytes


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


class _Blocks(io.RawIOBase):
    """The blocks of a file that there are, one behind the other, verified. Raises `Damaged`."""

    def __init__(self, store: DiskStore, key: CacheKey, indexes: Sequence[int]) -> None:
        super().__init__()
        self._blocks = self._read(store, key, indexes)
        self._left = b""

    @staticmethod
    def _read(store: DiskStore, key: CacheKey, indexes: Sequence[int]) -> Iterator[bytes]:
        for index in indexes:
            block = store.read(key, index)
            if block is None:
                raise Damaged(f"block {index} of {key.model}/{key.path} in the cache is not what it was: prefetch it")
            yield block

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size_bytes: int = -1) -> bytes:
        """The next bytes: as many, fewer only at the end."""
        parts = []
        while size_bytes:
            if not self._left:
                self._left = next(self._blocks, b"")
                if not self._left:
                    break
            part = self._left if size_bytes < 0 else self._left[:size_bytes]
            self._left = self._left[len(part) :]
            parts.append(part)
            size_bytes -= len(part) if size_bytes > 0 else 0
        return b"".join(parts)
