"""The index file of an archive, as a host may publish it: round trips, is a tree, and reads safely."""

import struct
from concurrent.futures import Executor, Future
from functools import lru_cache
from typing import Any

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged, HubfsError
from hubfs.formats import index_file
from hubfs.formats.gzip import index as gzip_index
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.formats.sealed import OVERHEAD_BYTES, seal
from hubfs.sources.archive.contents import ArchiveContents
from hubfs.waiting import Cancellation
from tests.fuzz.targets.gzip_index import check
from tests.support.archives import gzipped, model_files, tar_of

MAX_BYTES = 8192
WORDS = (b"hubfsIDX", b"hubfsGZI", b"../", b"/")

_HEADER = struct.Struct("<8sHQ")
_HEAD = struct.Struct("<QIQ")


class _Here(Executor):
    """Does at once what it is given."""

    def submit(self, task: Any, /, *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(task(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


@lru_cache(1)
def archive() -> bytes:
    """The one that the corpus is about."""
    return gzipped(tar_of(model_files(variables_bytes=3000)))


def fuzz(data: bytes) -> None:
    try:
        file = IndexFile.from_bytes(data)
    except Damaged:
        return
    assert file.to_bytes() == data
    contents = ArchiveContents()
    try:
        contents.adopt(file.members)
    except Damaged:
        return
    for member in file.members:
        assert not {"", ".", ".."} & set(member.path.split("/"))
        assert member.offset_bytes + member.data_bytes <= file.tar_size_bytes
    for path in contents.members:
        above = path.rpartition("/")[0]
        assert contents.members[above].is_directory, f"{above!r} is a file, and above {path!r}"
    start, size_bytes = file.proof_range
    file.fits(len(archive()), archive()[start : start + size_bytes])
    if file.gzip is not None:
        check(file.gzip)
        _read(file)


def _read(file: IndexFile) -> None:
    """Reads the archive by this index, wrong as it may be."""
    assert file.gzip is not None
    blob = MemoryBlob("archive", archive())
    try:
        tar = GzipBlob(blob, file.gzip, name="archive", pool=_Here(), cancellation=Cancellation())
        for member in file.members[:4]:
            size_bytes = min(member.data_bytes, 1 << 20)
            assert len(tar.read_at(member.offset_bytes, size_bytes)) == size_bytes
    except HubfsError:
        return


def repair(data: bytes) -> bytes:
    """Under right seals, and with the right size of the gzip index within."""
    body = data[_HEADER.size : -4]
    if len(data) <= OVERHEAD_BYTES or len(body) < _HEAD.size:
        return data
    archive_bytes, count, gzip_bytes = _HEAD.unpack_from(body)
    start = body.find(gzip_index._MAGIC)
    if start >= _HEAD.size and gzip_bytes:
        inner = body[start:]
        if len(inner) > OVERHEAD_BYTES:
            inner = seal(gzip_index._MAGIC, gzip_index._VERSION, inner[_HEADER.size : -4])
        body = _HEAD.pack(archive_bytes, count, len(inner)) + body[_HEAD.size : start] + inner
    return seal(index_file._MAGIC, index_file._VERSION, body)
