"""Brings into a cache what another one exported, or an archive that somebody fetched by hand."""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hubfs.blobs.checksums import crc32c
from hubfs.blobs.stamp import Stamp
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.disk.indexes import MOST_BYTES, IndexStore
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.tier import DiskTier
from hubfs.cache.sealed_json import unseal
from hubfs.commands.cache.exporting import CONTENTS, KIND
from hubfs.commands.indexing import unpacked
from hubfs.errors import Damaged, InvalidConfig, quoted
from hubfs.model_id import ModelId, model_name
from hubfs.sources.archive.index import ArchiveIndex
from hubfs.sources.archive.walk import BlockSeen

_CHUNK_BYTES = 1 << 20


class Importing:
    """Keeps models in a cache, by `tier`, which makes room as a mount would. Not thread-safe."""

    def __init__(self, store: DiskStore, tier: DiskTier) -> None:
        self._store = store
        self._tier = tier
        self._indexes = IndexStore(store.layout)

    def exported(self, path: Path) -> Sequence[str]:
        """Keeps the models that a file of `hubfs cache export` has; their names in the cache.

        Raises `Damaged` for a file that is none, or is not whole: then nothing new is there. `InvalidConfig` for want
        of room. Raises OSError.
        """
        try:
            with tarfile.open(path, "r|") as tar:
                return self._models(tar, path)
        except tarfile.TarError as error:
            raise Damaged(f"{path} is no export of a cache, or not whole: {error}") from error

    def _models(self, tar: tarfile.TarFile, path: Path) -> Sequence[str]:
        models = _described(_member(tar, path, CONTENTS, MOST_BYTES), path)
        with self._all_or_nothing([one["model"] for one in models]):
            for number, one in enumerate(models):
                if one["archive_index_crc32c"] is not None:
                    data = _member(tar, path, f"{number}/archive-index", MOST_BYTES)
                    if crc32c(data) != one["archive_index_crc32c"]:
                        raise Damaged(f"{path} is damaged: the index of {quoted(one['model'])} is not what it was")
                    self._indexes.save_file(one["model"], data)
                for at, told in enumerate(one["files"]):
                    self._file(tar, path, f"{number}/{at}", CacheKey(one["model"], told["path"]), told["blocks"])
            for one in models:
                if one["index"] is not None:
                    self._indexes.save(one["model"], one["index"])
        return [one["model"] for one in models]

    def _file(
        self, tar: tarfile.TarFile, path: Path, name: str, key: CacheKey, blocks: Sequence[tuple[int, int, int]]
    ) -> None:
        opened = _opened(tar, path, name, sum(length_bytes for _, length_bytes, _ in blocks))
        for index, length_bytes, checksum in blocks:
            block = opened.read(length_bytes)
            if len(block) != length_bytes or crc32c(block) != checksum:
                raise Damaged(
                    f"{path} is damaged: block {index} of {quoted(key.model)}/{quoted(key.path)} is not what it was"
                )
            self._keep(key, index, block)

    def _keep(self, key: CacheKey, index: int, block: bytes) -> None:
        if not self._tier.put(key, index, block):
            raise InvalidConfig(
                f"the cache has no room for {quoted(key.model)}: name a larger --cache-size, or prune it"
            )

    def archive(self, path: Path, hub: str, model: ModelId, url: str, *, workers: int) -> str:
        """Keeps the model whose archive lies at `path`, once all of it was verified; its name in the cache.

        `hub` is the hub's name in the cache, and `url` where the archive is from. Raises `Damaged` for what is no
        archive of a model: then nothing new is there. `InvalidConfig` for want of room. Raises OSError.
        """
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        identity, stamp = f"sha256:{digest.hexdigest()}", Stamp(int(path.stat().st_mtime))
        name = model_name(hub, model, identity)

        def take(seen: BlockSeen) -> None:
            self._keep(CacheKey(name, seen.path), seen.index, seen.block)

        def recall(kept_path: str, index: int) -> bytes | None:
            return self._tier.get(CacheKey(name, kept_path), index)

        with self._all_or_nothing([name]):
            members, index = unpacked(path, take, recall, workers=workers)
            if index is not None:
                self._indexes.save_file(name, index.to_bytes())
            self._indexes.save(name, ArchiveIndex(model, url, identity, members, stamp).to_json())
        return name

    @contextmanager
    def _all_or_nothing(self, models: Sequence[str]) -> Iterator[None]:
        """Holds the models meanwhile. Those that were not there before are taken away if it fails. Raises OSError."""
        new = [model for model in models if self._indexes.of(model) is None]
        held = [self._store.hold(model) for model in models]
        try:
            yield
        except BaseException:
            for model in new:
                self._store.drop(model)
            raise
        finally:
            for release in held:
                release()


def _member(tar: tarfile.TarFile, path: Path, name: str, most_bytes: int) -> bytes:
    """The bytes of the next member. Raises `Damaged` if that is another one, or too large."""
    return _opened(tar, path, name, None, most_bytes).read()


def _opened(tar: tarfile.TarFile, path: Path, name: str, size_bytes: int | None, most_bytes: int = 0) -> IO[bytes]:
    """The next member, of that size, or of at most so many bytes. Raises `Damaged` if it is none."""
    info = tar.next()
    opened = None if info is None or info.name != name else tar.extractfile(info)
    if info is None or opened is None or (info.size > most_bytes if size_bytes is None else info.size != size_bytes):
        raise Damaged(f"{path} is no export of a cache, or not whole: {name} should come next")
    return opened


def _described(data: bytes, path: Path) -> Sequence[dict[str, Any]]:
    """What an export says that it has. Raises `Damaged` for what `export` would not have written."""
    try:
        return [_model(one) for one in unseal(KIND, CONTENTS, data)["models"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path} is no export of a cache by this version of hubfs: {quoted(error)}") from error


def _model(told: dict[str, Any]) -> dict[str, Any]:
    """Raises `KeyError`, `TypeError`, `ValueError`."""
    name, index, archive_index_crc32c = told["model"], told["index"], told["archive_index_crc32c"]
    if not isinstance(name, str) or "@" not in name.rpartition("/")[2]:
        raise ValueError(f"{name!r} is no model")
    if not isinstance(index, dict | None) or type(archive_index_crc32c) not in (int, type(None)):
        raise ValueError(f"the index of {name} is none")
    files = [{"path": str(file["path"]), "blocks": [_block(one) for one in file["blocks"]]} for file in told["files"]]
    return {"model": name, "index": index, "archive_index_crc32c": archive_index_crc32c, "files": files}


def _block(told: Sequence[Any]) -> tuple[int, int, int]:
    """Raises `ValueError`."""
    index, length_bytes, checksum = told
    if any(type(number) is not int for number in told) or index < 0 or not 0 < length_bytes <= BLOCK_SIZE_BYTES:
        raise ValueError(f"{told} is no block")
    return index, length_bytes, checksum
