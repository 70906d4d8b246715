"""What `hubfs index` does: the index of an archive, and what an archive unpacks to."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hubfs.blobs.file import FileBlob
from hubfs.errors import Damaged, InvalidConfig, Unavailable
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import SUFFIX, IndexedMember, IndexFile
from hubfs.formats.inflating.parallel import inflate
from hubfs.formats.limits import bounded
from hubfs.sources.archive.contents import ArchiveContents
from hubfs.sources.archive.recording import ArchiveRecording
from hubfs.sources.archive.walk import BlockSeen, Repeats, walk
from hubfs.waiting import Cancellation

_CHUNK_BYTES = 256 << 10


def write_index(archive: Path, output: Path | None, *, workers: int) -> str:
    """Writes the index of `archive` (a tar, compressed or not) to `output`, by default beside it.

    Returns what to say of it. The whole archive is read twice: to make the index, and by the index, so that what is
    published is known to lead to the bytes of the archive. Both on `workers` threads. Raises `InvalidConfig` for a file
    that cannot be read or written, `Damaged` for what is not an archive of a model, `Stale` for one that changed
    meanwhile, `Unavailable` for one that can only be inflated from its start.
    """
    output = output or archive.with_name(archive.name + SUFFIX)
    try:
        status = archive.stat()
        index = index_of(archive, workers=workers)
    except Damaged as error:
        raise Damaged(f"{archive} has no index, because it cannot be served: {error}") from error
    except OSError as error:
        raise InvalidConfig(f"{archive} cannot be read: {error.strerror}") from error
    if index is None:
        raise Unavailable(
            f"{archive} has no index, because there is no place to start inflating but its beginning (fixed Huffman "
            "codes, several gzip members, or one block): pack it again as one gzip member, as `tar -cz` does"
        )
    _verify(index, FileBlob(archive.resolve(), status.st_size, status.st_mtime_ns), workers)
    data = index.to_bytes()
    _write(output, data)
    files = sum(not member.is_directory for member in index.members)
    spans = 1 if index.gzip is None else len(index.gzip)
    percent = 100 * len(data) / index.archive_size_bytes
    counts = f"{_counted(files, 'file')} in {_counted(spans, 'span')}"
    return f"{output} has {counts}, and {percent:.2g} % of the archive's size"


def index_of(archive: Path, *, workers: int) -> IndexFile | None:
    """The index of a local archive; None where reading by spans is not worth it.

    Raises `Damaged` for an archive that is, and `OSError` for a file that cannot be read.
    """
    return unpacked(archive, lambda _: None, lambda _path, _index: None, workers=workers)[1]


def unpacked(
    archive: Path, take: Callable[[BlockSeen], None], recall: Callable[[str, int], bytes | None], *, workers: int
) -> tuple[tuple[IndexedMember, ...], IndexFile | None]:
    """The members of a local archive, and its index as `index_of` has it, once all of it was verified.

    `take` is given every block that counts; `recall` gives back what it took, as far as it was kept. Raises `Damaged`,
    `OSError` for a file that cannot be read, and what `take` raises.
    """
    recording = ArchiveRecording(str(archive), useful=True)
    size_bytes = archive.stat().st_size
    inflated = inflate(
        lambda: recording.compressed(_chunks(archive)),
        size_bytes,
        workers=workers,
        cancellation=Cancellation(),
        on_checkpoint=recording.checkpoint,
        on_lost=recording.void,
    )
    passing = bounded(recording.inflated(inflated), lambda: size_bytes)
    contents = ArchiveContents()
    repeats = Repeats(contents, recall)
    for seen in walk(passing, size_bytes, is_verified=lambda: recording.is_gzip):
        for counts in repeats.of(seen):
            if isinstance(counts, BlockSeen):
                take(counts)
    return contents.all(), recording.index_file(contents.all())


def _verify(index: IndexFile, archive: FileBlob, workers: int) -> None:
    """Reads every span of the archive by the index. Raises as `GzipBlob` does."""
    archive.read_at(0, 1)  # it has not changed
    if index.gzip is None:
        return
    with ThreadPoolExecutor(workers) as pool:
        tar = GzipBlob(archive, index.gzip, name=archive.key, pool=pool, cancellation=Cancellation())
        for _ in pool.map(lambda checkpoint: tar.read_at(checkpoint.output_offset_bytes, 1), index.gzip.checkpoints):
            pass


def _chunks(archive: Path) -> Iterator[bytes]:
    with archive.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _write(output: Path, data: bytes) -> None:
    """`output` is whole or as it was: a host may be serving it."""
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(output)
    except OSError as error:
        raise InvalidConfig(f"{output} cannot be written: {error.strerror}; name another --output") from error
    finally:
        partial.unlink(missing_ok=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
