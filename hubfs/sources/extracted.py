"""The source of a model that tensorflow_hub downloaded and extracted: it is there already, file by file."""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hubfs.blobs.file import FileBlob
from hubfs.errors import Damaged, HubfsError, Stale
from hubfs.formats.saved_model import check_saved_model
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form
from hubfs.sources.listed import ListedSource, tree_of

_log = logging.getLogger(__name__)

_SUFFIXES = ("", "/", "?tf-hub-format=compressed")
_DESCRIPTOR_BYTES = 4096  # the real ones have 150


def spellings(hub_urls: Iterable[str], name: str) -> Iterator[str]:
    """The ways in which programs write the handle (or unversioned name) `name` of these hubs as a URL."""
    for hub in hub_urls:
        for suffix in _SUFFIXES:
            yield f"{hub.rstrip('/')}/{name}{suffix}"


def module_name(url: str) -> str:
    """What tensorflow_hub calls the directory in its cache for a handle typed as `url`."""
    return hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()


class ExtractedSource(ListedSource):
    """The model `handle` of `hub` in the local `directory`; see `ListedSource`. The hub is not asked for anything.

    Nothing of it goes into the cache: it is on a disk already. Raises `Damaged` for a directory that tensorflow_hub
    cannot have made (it extracts files and directories only), `Stale` if it cannot be listed.
    """

    form = Form.COMPRESSED  # which is how it was downloaded

    def __init__(self, hub: str, handle: Handle, directory: Path) -> None:
        found = _listed(directory)
        url = f"file://{directory}"
        sizes_bytes = {path: blob.size_bytes for path, blob in found.files.items()}
        super().__init__(
            hub,
            handle,
            url,
            _identity(found.files),
            entries=tree_of(url, sizes_bytes, found.directories),
            blob_of=found.files.__getitem__,
            wrap=lambda _, blob: blob,
            on_failure=None,
        )
        self._files = found.files

    def check_whole(self) -> None:
        """Raises `Damaged` if the model was cut when it was extracted, as far as that shows: see `check_saved_model`.

        tensorflow_hub takes a cut archive for a whole one when the cut falls between members.
        """
        check_saved_model(self._files)


def find_extracted(cache_dir: Path, hub: str, handle: Handle, urls: Iterable[str]) -> ExtractedSource | None:
    """The model as tensorflow_hub extracted it into `cache_dir` for a handle typed as one of `urls`, if it did.

    Only if it is whole: nobody is extracting it (`<sha1>.lock`), its descriptor names the URL, and `check_whole` finds
    nothing missing. One that is not is left aside, with a warning. Never raises.
    """
    for url in urls:
        directory = cache_dir / module_name(url)
        if directory.is_symlink() or not directory.is_dir():
            continue
        try:
            _check_extraction(directory, url)
            source = ExtractedSource(hub, handle, directory)
            source.check_whole()
        except HubfsError as error:
            _log.warning("%s, which tensorflow_hub extracted to %s, is left aside: %s", handle, directory, error)
        else:
            return source
    return None


def _check_extraction(directory: Path, url: str) -> None:
    """Raises `Damaged` unless the files beside `directory` say that `url` was extracted there to the end."""
    if os.path.lexists(f"{directory}.lock"):
        raise Damaged(f"{directory.name}.lock says that it is being extracted, or that this was broken off")
    descriptor = directory.with_name(f"{directory.name}.descriptor.txt")
    try:
        with descriptor.open("rb") as file:
            text = file.read(_DESCRIPTOR_BYTES)
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
    """Everything below `root`. Raises `Damaged`, `Stale`."""
    listing = _Listing()
    above = [""]
    try:
        while above:
            prefix = above.pop()
            with os.scandir(root / prefix) as found:
                for item in found:
                    path = prefix + item.name
                    if item.is_dir(follow_symlinks=False):
                        listing.directories.append(path)
                        above.append(f"{path}/")
                    elif item.is_file(follow_symlinks=False):
                        status = item.stat(follow_symlinks=False)
                        listing.files[path] = FileBlob(root / path, status.st_size, status.st_mtime_ns)
                    else:
                        raise Damaged(f"{root}/{path} is neither a file nor a directory: nothing else is extracted")
    except OSError as error:
        raise Stale(f"{root} cannot be listed: {error.strerror}") from error
    return listing


def _identity(files: Mapping[str, FileBlob]) -> str:
    """Of paths, sizes and times of modification."""
    text = "\0".join(files[path].key for path in sorted(files))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
