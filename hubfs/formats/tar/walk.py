"""tar: bytes → members, as they pass.

Walking from header to header is done here, because `tarfile`'s walker takes a damaged header, and an end between two
members, for the end of the archive.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from hubfs.blobs.sparse import SparseMap
from hubfs.errors import Damaged
from hubfs.formats.byte_reader import ByteReader, Bytes, Wanted
from hubfs.formats.limits import most_output_bytes, too_large
from hubfs.formats.names import MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, Names, decoded, is_nameable
from hubfs.formats.tar.header import Headers, refused, shown

CHUNK_SIZE_BYTES = 1 << 20
"""No chunk of a member is larger, and none crosses a multiple of this."""

MAX_TRAILING_BYTES = 1 << 30
"""What follows the end marker is ignored, but it is read: for ever, where a host sends it for ever."""


class _Data:
    """The bytes of one member that have not passed yet."""

    def __init__(self, reader: ByteReader, path: str, size_bytes: int) -> None:
        self._reader = reader
        self._path = path
        self._left_bytes = self._size_bytes = size_bytes
        self._padding_bytes = -size_bytes % tarfile.BLOCKSIZE
        self._passed = False

    def chunks(self) -> Iterator[Bytes]:
        while not self._passed:
            if not self._left_bytes:
                return
            passed_bytes = self._size_bytes - self._left_bytes
            chunk = self._reader.at_most(min(self._left_bytes, CHUNK_SIZE_BYTES - passed_bytes % CHUNK_SIZE_BYTES))
            if not chunk:
                raise Damaged(f"the archive ended early: {self._left_bytes} bytes of member {self._path!r} are missing")
            self._left_bytes -= len(chunk)
            yield chunk
        # Ending quietly here would pass a part of the file off as the whole.
        raise RuntimeError(f"the bytes of member {self._path!r} have passed")

    def finish(self) -> None:
        for _ in self.chunks():
            pass
        self._reader.exactly(self._padding_bytes)
        self._passed = True


@dataclass(frozen=True, eq=False)
class Member:
    """A file or a directory in a tar.

    `path` is relative and POSIX: no `.`, no `..`, no empty component, no slash at the end; bytes that are not UTF-8 are
    escaped as `os.fsdecode` does. A directory has no bytes. A file has `size_bytes`; `data_bytes` of them are in the
    tar, in one piece from `offset_bytes` on: all, or what `sparse` says, which leaves holes out.
    """

    path: str
    is_directory: bool
    size_bytes: int
    offset_bytes: int
    data_bytes: int
    sparse: SparseMap | None
    _data: _Data = field(repr=False)

    def chunks(self) -> Iterator[Bytes]:
        """Yields the bytes of the file as they pass, at most 1 MiB each, without holes; called again, what is left.

        Only good until the next member is asked for: `RuntimeError` after that. Raises `Damaged` when the archive
        ends before the file does. Errors of the archive's own chunks pass through.
        """
        return self._data.chunks()


def members(
    chunks: Iterable[Bytes],
    archive_size_bytes: int | None = None,
    *,
    is_verified: Callable[[], bool] = lambda: False,
    wanted: Wanted | None = None,
) -> Iterator[Member]:
    """Yields the members of the tar archive in `chunks`, each as soon as its header is there.

    Bytes of a member that nobody read are skipped. The root (`./`) is not a member; a directory may come twice, or
    never, although files lie in it. The archive is whole only if the iteration ended: it reads `chunks` to their end,
    past the end marker, so that checks which wait there (the gzip CRC) are made.

    `archive_size_bytes`: of the archive as it is hosted, if that is known: what cannot be in it is refused unread.
    `is_verified` says, once `chunks` have ended, whether something vouches for that end, as gzip's checksum and length
    do: then an archive without an end marker is whole, too. `wanted` tells the maker of `chunks` how to cut them.

    Raises `Damaged` for headers that are corrupt, for an end that comes too early, and for what a model may not hold:
    absolute names, `..`, names that contain NUL or are too long, links, devices, pipes, a name that is both file and
    directory, and hostile sizes and numbers. A file may come twice: which of the two counts is for the caller to say.
    Errors of `chunks` pass through. Messages give the reason; the caller, who knows the URL, adds it.
    """
    reader = ByteReader(chunks, wanted)
    headers = Headers(reader, is_verified)
    names = Names()
    while header := headers.read():
        path = _normalised(header.name)
        # Old archives, and some newer ones, know a directory only by the slash at the end of its name.
        is_directory = header.type == tarfile.DIRTYPE or not path or header.name.endswith((b"/", b"/."))
        if is_directory and (header.size_bytes or header.sparse):
            raise Damaged(f"member {shown(header.name)} is a directory, but has {header.size_bytes} bytes of data")
        names.add(path, is_directory=is_directory)
        end_bytes = reader.offset_bytes + header.size_bytes
        if archive_size_bytes is not None and end_bytes > most_output_bytes(archive_size_bytes):
            raise too_large(end_bytes, archive_size_bytes)
        if path:
            data = _Data(reader, path, header.size_bytes)
            size_bytes = header.size_bytes if header.sparse is None else header.sparse.size_bytes
            yield Member(path, is_directory, size_bytes, reader.offset_bytes, header.size_bytes, header.sparse, data)
            data.finish()
    end_bytes = reader.offset_bytes
    while reader.at_most(CHUNK_SIZE_BYTES):
        if reader.offset_bytes - end_bytes > MAX_TRAILING_BYTES:
            raise Damaged(f"the archive is hostile: more than {MAX_TRAILING_BYTES} bytes follow its end")


def _normalised(name: bytes) -> str:
    """The path that `name` means; empty for the root. Raises `Damaged` for a name that must not be."""
    if not name:
        raise Damaged("a member has an empty name")
    if b"\0" in name:
        raise refused(name, "named with a NUL byte")
    if name.startswith(b"/"):
        raise refused(name, "named absolutely")
    parts = [part for part in decoded(name).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refused(name, "named with '..'")
    path = "/".join(parts)
    if not is_nameable(path):
        raise refused(
            name,
            f"named with more than {MAX_NAME_BYTES} bytes ({MAX_PATH_BYTES} for the whole path), or lies deeper than "
            f"{MAX_DEPTH} directories",
        )
    return path
