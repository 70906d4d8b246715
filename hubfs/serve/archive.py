"""Writing one archive: the same bytes for the same files, wherever and whenever it is written."""

import hashlib
import os
import tarfile
from pathlib import Path
from typing import IO

from isal import igzip

from hubfs.cancellation import Cancellation
from hubfs.errors import Stale, Unavailable
from hubfs.serve.listing import Listing, Member

_CHUNK_BYTES = 1 << 20
_LEVEL = 1  # of isal's 0..3; weights hardly compress at any
_SECOND_NS = 1_000_000_000


def write_archive(listing: Listing, target: Path, cancellation: Cancellation) -> None:
    """Writes the members of `listing` as a tar.gz; `target` appears when it is whole.

    Members are sorted, begin with `./` as the public hubs' do, and carry no time, owner or mode of this machine. The
    archive's own time of change is that of the newest file, with a hash of the archive's bytes in place of the
    fraction of a second: aiohttp makes ETags of a file's time and size, and so the ETag is strong, yet the same after
    every restart.

    Raises `Stale` when a file changed since it was listed, `Unavailable` when one cannot be read or the archive cannot
    be written, `Cancelled`.
    """
    partial = target.with_suffix(".partial")
    try:
        with partial.open("wb") as raw:
            content = _write(listing, raw, cancellation)
        time_ns = listing.newest_mtime_ns // _SECOND_NS * _SECOND_NS + int(content, 16) % _SECOND_NS
        os.utime(partial, ns=(time_ns, time_ns))
        partial.replace(target)
    except FileNotFoundError as error:
        raise Stale("a file of the model vanished while it was archived") from error
    except OSError as error:
        raise Unavailable(
            f"the model cannot be archived: {error.strerror or error}; the host's log says more"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write(listing: Listing, raw: IO[bytes], cancellation: Cancellation) -> str:
    """Writes the archive. Returns the sha256 of its bytes, in hexadecimal."""
    hashed = _HashedWriter(raw)
    with (
        igzip.IGzipFile(  # type: ignore[no-untyped-call]  # isal types no class of its igzip module
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=hashed, mtime=0
        ) as packed,
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
    return hashed.digest.hexdigest()


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


class _HashedWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: bytes, /) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
