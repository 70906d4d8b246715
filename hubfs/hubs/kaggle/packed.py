"""Models of many small files, which come as Kaggle's archive of the whole model. Why: docs/decisions/kaggle.md."""

from collections.abc import Callable, Collection

from hubfs.blobs.http.client import WHOLE_BYTES, HttpClient
from hubfs.errors import NotFound
from hubfs.sources.archive.origin import HttpArchive
from hubfs.sources.source import Form

MANY_FILES = 25
"""Of more files, kagglehub takes the archive."""

SMALL_FILE_BYTES = 4 << 20
"""Of files that are smaller on average, the questions before the bytes take longer than the bytes."""

MOST_BYTES = 256 << 20
"""Of larger models, no archive: a program that reads one file waits for what lies before that file in the archive."""

_GZIP = b"\x1f\x8b"


def comes_packed(sizes_bytes: Collection[int], asked: Form | None) -> bool:
    """Whether a model with files of these sizes is read from its archive; `asked` is the form that the user wants."""
    count, total_bytes = len(sizes_bytes), sum(sizes_bytes)
    if asked is not None:
        return asked is Form.COMPRESSED and count > 1
    return count > MANY_FILES and total_bytes <= min(count * SMALL_FILE_BYTES, MOST_BYTES)


def find_archive(client: HttpClient, url: str, locate: Callable[[], str]) -> HttpArchive | None:
    """The archive that `url` names, where `locate` says that it is; None where there is none that hubfs reads.

    Kaggle may have a zip instead, which has no table in front: its files are read one by one. Raises what the host
    answers, but for `NotFound`.
    """
    try:
        seen = client.probe(url, locate=locate, first_bytes=WHOLE_BYTES)
    except NotFound:
        return None
    return HttpArchive(client, url, {}, locate=locate) if seen.head.startswith(_GZIP) and not seen.encoding else None
