"""Writing one archive and its index: the same bytes for the same files, wherever and whenever it is written."""

import hashlib
import logging
import os
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

from isal import igzip

from hubfs.errors import Damaged, Stale, Unavailable
from hubfs.formats.gzip.index import TRAILER_BYTES
from hubfs.formats.gzip.recorder import SPACING_BYTES, SPACING_OUTPUT_BYTES, IndexRecorder
from hubfs.formats.index_file import SUFFIX, IndexedMember, IndexFile
from hubfs.formats.packing.listing import Listing, Member
from hubfs.waiting import Cancellation

_CHUNK_BYTES = 1 << 20
_LEVEL = 1  # of isal's 0..3; weights hardly compress at any
_SECOND_NS = 1_000_000_000

_log = logging.getLogger(__name__)


def index_beside(archive: Path) -> Path:
    """Where the index of `archive` is, if it has one."""
    return archive.with_name(archive.name + SUFFIX)


def write_archive(listing: Listing, target: Path, cancellation: Cancellation) -> None:
    """Writes the members of `listing` as a tar.gz, and its index beside it; `target` appears when both are whole.

    Members are sorted, begin with `./` as the public hubs' do, and carry no time, owner or mode of this machine. The
    archive's own time of change is that of the newest file, with a hash of the archive's bytes in place of the
    fraction of a second: aiohttp makes ETags of a file's time and size, and so the ETag is strong, yet the same after
    every restart.

    Raises `Stale` when a file changed since it was listed, `Unavailable` when one cannot be read or the archive cannot
    be written, `Cancelled`.
    """
    partial, index = target.with_suffix(".partial"), index_beside(target)
    try:
        with partial.open("wb") as raw:
            written = _Written(raw)
            members = _write(listing, written, cancellation)
        content = int(written.digest.hexdigest(), 16)
        time_ns = listing.newest_mtime_ns // _SECOND_NS * _SECOND_NS + content % _SECOND_NS
        _write_index(index, written, members, time_ns)
        os.utime(partial, ns=(time_ns, time_ns))
        partial.replace(target)
    except FileNotFoundError as error:
        raise Stale("a file of the model vanished while it was archived") from error
    except OSError as error:
        raise Unavailable(f"the model cannot be archived: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
        if not target.exists():
            index.unlink(missing_ok=True)


def _write(listing: Listing, written: "_Written", cancellation: Cancellation) -> list[IndexedMember]:
    """Writes the archive. Returns its members, and where they are in the tar."""
    members = []
    with (
        _IndexedGzipFile(written) as packed,
        tarfile.TarFile(
            fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", copybufsize=_CHUNK_BYTES
        ) as tar,
    ):
        tar.addfile(_directory_info("."))
        for member in listing.members:
            cancellation.check()
            if member.is_directory:
                tar.addfile(_directory_info(f"./{member.name}"))
            else:
                _add_file(tar, member, cancellation)
            data_bytes = member.size_bytes + -member.size_bytes % tarfile.BLOCKSIZE
            offset_bytes = packed.output_bytes - data_bytes
            members.append(IndexedMember(member.name, member.is_directory, member.size_bytes, offset_bytes))
    return members


def _write_index(target: Path, written: "_Written", members: list[IndexedMember], time_ns: int) -> None:
    """Writes the index of the archive that was written; none where clients would refuse its names."""
    try:
        gzip = written.recorder.finish(written.size_bytes, written.tail)
        if gzip is not None:
            target.write_bytes(IndexFile(written.size_bytes, tuple(members), gzip).to_bytes())
            os.utime(target, ns=(time_ns, time_ns))
    except Damaged as error:
        _log.warning("%s has no index: %s", target.name.removesuffix(SUFFIX), error)


def _directory_info(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    info.mode = 0o755
    return info


def _add_file(tar: tarfile.TarFile, member: Member, cancellation: Cancellation) -> None:
    info = tarfile.TarInfo(f"./{member.name}")
    info.size = member.size_bytes
    with member.path.open("rb", buffering=0) as file:
        if not member.as_read(os.fstat(file.fileno())):
            raise Stale(f"{member.name} changed after it was listed")
        try:
            tar.addfile(info, _CancellableReader(file, cancellation))
        except OSError as error:  # tarfile's word for a file that ends early is a bare OSError
            raise (error if error.errno is not None else Stale(f"{member.name} became shorter")) from error
        if not member.as_read(os.fstat(file.fileno())):
            raise Stale(f"{member.name} changed while it was archived")


class _CancellableReader:
    def __init__(self, file: IO[bytes], cancellation: Cancellation) -> None:
        self._file = file
        self._cancellation = cancellation

    def read(self, size: int = -1, /) -> bytes:
        self._cancellation.check()
        return self._file.read(size)


class _Written:
    """The archive as it is written: its size, its hash, its last bytes, and what its index is made of."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.tail = b""
        self.recorder = IndexRecorder()
        self._file = file

    def write(self, data: bytes, /) -> int:
        self.digest.update(data)
        self.size_bytes += len(data)
        self.tail = (self.tail + data[-TRAILER_BYTES:])[-TRAILER_BYTES:]
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class _IndexedGzipFile(igzip.IGzipFile):
    """Compresses, and makes places where inflating may start: nothing behind one refers back, so it needs no window."""

    def __init__(self, written: _Written) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # isal types no class of its igzip module
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=written, mtime=0
        )
        self._written = written
        self._checkpoint_bytes = self._checkpoint_output_bytes = 0
        self.output_bytes = 0
        """How much was taken so far."""

    def write(self, data: Any, /) -> int:  # the base class takes any buffer; a tar comes as bytes
        super().write(data)  # type: ignore[no-untyped-call]
        self._written.recorder.output(data)
        self.output_bytes += len(data)
        if (
            self._written.size_bytes - self._checkpoint_bytes >= SPACING_BYTES
            or self.output_bytes - self._checkpoint_output_bytes >= SPACING_OUTPUT_BYTES
        ):
            self.flush(zlib.Z_FULL_FLUSH)
            self._checkpoint_bytes, self._checkpoint_output_bytes = self._written.size_bytes, self.output_bytes
            self._written.recorder.checkpoint(8 * self._checkpoint_bytes, self.output_bytes, needs_window=False)
        return len(data)
