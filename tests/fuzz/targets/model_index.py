"""index.json: the entries of a model, as a disk or a shared cache may give them back; of every form of hosting."""

import json
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hubfs.blobs.stamp import Stamp
from hubfs.blobs.store import StoredObject
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import seal_text
from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.errors import Damaged
from hubfs.model_id import ModelId
from hubfs.sources.archive.contents import ArchiveContents
from hubfs.sources.archive.index import ArchiveIndex, entry_of
from hubfs.sources.bucket import kept_bucket
from hubfs.sources.files import FilesSource, Manifest
from hubfs.sources.hosted import kept_files
from hubfs.sources.source import Entry, EntryKind
from hubfs.tree.times import time_ns
from tests.support.sources import plain

MAX_BYTES = 6000
WORDS = (
    *(f'"{word}":'.encode() for word in ("handle", "form", "url", "identity", "entries", "path", "kind", "size_bytes")),
    *(
        b'"offset_bytes":',
        b'"pin":',
        b'"gs://bucket/hub/',
        b'#17"',
        b'"crc32c":',
        b'"made_s":',
        b'"tag":',
        b'"file"',
        b'"directory"',
    ),
    *(b"[" * 60, b"1e999", b"NaN", b"\\ud800", b"../", b"9" * 60, b"-1", b"true", b"null"),
)
HUB, HANDLE = "hub.example", ModelId("google/spice", "2")
MODEL = f"{HUB}/{HANDLE}@0123"

_LARGEST_BYTES = (1 << 63) - 1


class _OneObject:
    """A store of objects that holds one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def list(self, prefix: str) -> list[StoredObject]:
        return [StoredObject(prefix, len(self._data))]

    def get(self, _: str) -> bytes:
        return self._data


@lru_cache(1)
def _directory() -> "TemporaryDirectory[str]":
    return TemporaryDirectory()


def fuzz(data: bytes) -> None:
    logging.disable()  # each refusal is logged
    try:
        shared = seal_text("shared", MODEL, b'{"saved_s": 1, "index": %b}' % data)
        for found in (
            _from_disk(data),
            _from_disk(seal_text("index", MODEL, data)),
            _from_store(data),
            _from_store(seal_text("shared", MODEL, data)),
            _from_store(shared),
        ):
            if found is not None:
                _sources(found)
    finally:
        logging.disable(logging.NOTSET)


def _from_store(data: bytes) -> Mapping[str, Any] | None:
    return SharedIndexes(_OneObject(data)).of(MODEL)  # type: ignore[arg-type]


def _from_disk(data: bytes) -> Mapping[str, Any] | None:
    layout = CacheLayout(Path(_directory().name))
    path = layout.index(MODEL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return IndexStore(layout).load(f"{HUB}/{HANDLE}")


def _sources(index: Mapping[str, Any]) -> None:
    try:
        known = ArchiveIndex.from_json(HANDLE, index)
        assert ArchiveIndex.from_json(HANDLE, json.loads(json.dumps(known.to_json()))) == known
        _check_date(known.stamp)
        contents = ArchiveContents()
        contents.adopt(known.members)
        _check_tree({member.path: entry_of(member) for member in contents.all()})
    except Damaged as damage:
        str(damage).encode(errors="backslashreplace")  # as it is shown
    unused: Any = None  # nothing is opened
    _files(index, lambda kept: kept_bucket(unused, HANDLE, kept))
    _files(index, lambda kept: kept_files(unused, HANDLE, kept, unused))


def _files(index: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Manifest]) -> None:
    try:
        source = FilesSource(HUB, HANDLE, read(index), plain)
        again = FilesSource(HUB, HANDLE, read(source.to_index()), plain)
    except Damaged as damage:
        str(damage).encode(errors="backslashreplace")  # as it is shown
        return
    assert again.identity == source.identity
    assert again.entries() == source.entries()
    assert again.to_index() == source.to_index() == {key: index[key] for key in source.to_index()}
    _check_tree(source._entries)
    _check_date(source.stamp(""))


def _check_date(stamp: Stamp) -> None:
    assert 0 < time_ns(HANDLE.version, stamp) < 1 << 62


def _check_tree(entries: Mapping[str, Entry]) -> None:
    for path, entry in entries.items():
        assert entry.path == path
        assert not {"", ".", ".."} & set(path.split("/")), f"a path that leads elsewhere: {path!r}"
        assert "\0" not in path
        assert len(path.encode()) <= 4096
        assert type(entry.size_bytes) is int
        assert 0 <= entry.size_bytes <= _LARGEST_BYTES
        above = path.rpartition("/")[0]
        assert not above or entries[above].kind is EntryKind.DIRECTORY, f"{path!r} lies below a file"
