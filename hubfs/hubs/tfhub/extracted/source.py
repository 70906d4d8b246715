"""The source of a model that tensorflow_hub downloaded and extracted: it is there already, file by file."""

import logging
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hubfs.blobs.file import FileBlob
from hubfs.blobs.own_tree import OwnTree, check_shared_directory, is_there
from hubfs.blobs.stamp import Stamp
from hubfs.errors import Damaged, HubfsError, Untrusted
from hubfs.hubs.tfhub.extracted.saved_model import check_saved_model
from hubfs.hubs.tfhub.names.tfhub_modules import module_name
from hubfs.model_id import ModelId
from hubfs.sources.files import FilesSource, Manifest, RemoteFile
from hubfs.sources.source import Form

_log = logging.getLogger(__name__)

_MODULE_NAME = re.compile(r"[0-9a-f]{40}")
_DESCRIPTOR_BYTES = 4096  # the real ones have 150


class ExtractedSource(FilesSource):
    """The model `handle` of `hub` in the local `directory`. The hub is not asked for anything.

    Nothing of it goes into the cache: it is on a disk already. Every part must be the mounting user's or root's alone,
    now and at every read. Raises `Untrusted` where one is not, `Damaged` for a directory that tensorflow_hub cannot
    have made (it extracts files and directories only), `Stale` if it cannot be listed.
    """

    def __init__(self, hub: str, handle: ModelId, directory: Path) -> None:
        found = _listed(directory)
        files = {path: _described(blob) for path, blob in sorted(found.files.items())}
        # COMPRESSED is how it was downloaded.
        manifest = Manifest(f"file://{directory}", Form.COMPRESSED, files, found.directories)
        super().__init__(hub, handle, manifest, lambda _, blob: blob)
        self._found = found.files

    def check_whole(self) -> None:
        """Raises `Damaged` if the model was cut when it was extracted, as far as that shows: see `check_saved_model`.

        tensorflow_hub takes a cut archive for a whole one when the cut falls between members.
        """
        check_saved_model(self._found)


def find_extracted(cache_dir: Path, hub: str, handle: ModelId, urls: Iterable[str]) -> ExtractedSource | None:
    """The model as tensorflow_hub extracted it into `cache_dir` for a handle typed as one of `urls`, if it did.

    Only if nobody else can have put it there, and it is whole: nobody is extracting it (`<sha1>.lock`), its descriptor
    names the URL, and `check_whole` finds nothing missing. One that is not is left aside, with a warning. Never raises.
    """
    for url in urls:
        directory = cache_dir / module_name(url)
        if not is_there(directory, directory=True):
            continue
        try:
            check_shared_directory(cache_dir)
            _check_extraction(directory, url)
            source = ExtractedSource(hub, handle, directory)
            source.check_whole()
        except (HubfsError, OSError) as error:
            _log.warning("%s, which tensorflow_hub extracted to %s, is left aside: %s", handle, directory, error)
        else:
            return source
    return None


def untrusted(cache_dir: Path) -> Iterator[Untrusted]:
    """Why models in `cache_dir` are not served: what other users could have put there. Asks the files' owners alone."""
    try:
        check_shared_directory(cache_dir)
        found = sorted(path for path in cache_dir.iterdir() if _MODULE_NAME.fullmatch(path.name))
        models = [path for path in found if is_there(path, directory=True)]
    except Untrusted as shared:
        yield shared
        return
    except OSError:
        return
    yield from filter(None, map(_refusal, models))


def _refusal(directory: Path) -> Untrusted | None:
    try:
        with OwnTree(_descriptor_of(directory)).opened():
            deque(OwnTree(directory).parts(), maxlen=0)
    except Untrusted as planted:
        return planted
    except (HubfsError, OSError):
        pass  # it is not served either, but not for who made it
    return None


def _descriptor_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.descriptor.txt")


def _check_extraction(directory: Path, url: str) -> None:
    """Raises `Damaged` unless the files beside `directory` say that `url` was extracted there to the end."""
    if is_there(f"{directory}.lock"):
        raise Damaged(f"{directory.name}.lock says that it is being extracted, or that this was broken off")
    descriptor = _descriptor_of(directory)
    try:
        with OwnTree(descriptor).opened() as opened:
            text = os.pread(opened, _DESCRIPTOR_BYTES, 0)
    except OSError as error:
        raise Damaged(f"{descriptor.name} cannot be read: {error.strerror}") from error
    if text.partition(b"\n")[0] != f"Module: {url}".encode():
        raise Damaged(f"{descriptor.name} names another module than {url}")


@dataclass
class _Listing:
    """The files and directories of a model, by path."""

    files: dict[str, FileBlob] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)


def _listed(root: Path) -> _Listing:
    """Everything below `root`. Raises `Untrusted`, `Damaged`, `Stale`."""
    tree = OwnTree(root)
    listing = _Listing()
    for path, found in tree.parts():
        if stat.S_ISDIR(found.st_mode):
            listing.directories.append(path)
        else:
            opened = partial(tree.opened, path)
            listing.files[path] = FileBlob(root / path, found.st_size, found.st_mtime_ns, opened)
    return listing


def _described(blob: FileBlob) -> RemoteFile:
    stamp = Stamp(blob.mtime_ns // 10**9, str(blob.mtime_ns))
    return RemoteFile(blob.size_bytes, blob.key, lambda: blob, stamp=stamp)
