"""A directory that looks like tensorflow_hub's cache: the sha1 of a handle as typed → a symlink to the model."""

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from hubfs.hubs.names import View
from hubfs.hubs.tfhub.names.handle import is_version

_log = logging.getLogger(__name__)

_SUFFIXES = ("", "/", "?tf-hub-format=compressed")
_DIGEST = re.compile(r"[0-9a-f]{40}", re.ASCII)
_DESCRIPTOR = ".descriptor.txt"


def spellings(hub_urls: Iterable[str], name: str) -> Iterator[str]:
    """The ways in which programs write the handle (or unversioned name) `name` of these hubs as a URL."""
    for hub in hub_urls:
        for suffix in _SUFFIXES:
            yield f"{hub.rstrip('/')}/{name}{suffix}"


def module_name(url: str) -> str:
    """What tensorflow_hub calls the directory in its cache for a handle typed as `url`."""
    return hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()


class TfhubModules(View):
    """Answers for the names in `/.hubfs/tfhub_modules`.

    `hub_urls` are what handles begin with, the canonical one first. `root` leads from the directory to the hub's root.
    `handles` gives the handles that are known
    (`google/spice/2`; also names without a version), more of them as time goes by; it is asked when a name is looked
    up that no known handle has. A handle that was found once stays.

    `_lock` guards `_spelled` and `_indexed`; neither `handles` is called under it, nor anything hashed.
    """

    def __init__(self, hub_urls: Sequence[str], handles: Callable[[], Iterable[str]], root: str = "../..") -> None:
        self._hub_urls = [*dict.fromkeys(url.rstrip("/") for url in hub_urls)]
        self._handles = handles
        self._root = root
        self._lock = threading.Lock()
        self._indexed: set[str] = set()
        self._spelled: dict[str, tuple[str, str]] = {}  # sha1 → where it leads, and the URL it is the sha1 of

    def target(self, path: str) -> str | None:
        """Where the symlink at `path` leads, relative to the directory that it is in; None if there is no such symlink.

        There never is a lock or a temporary directory.
        """
        known = self._known(path)
        return f"{self._root}/{known[0]}" if known else None

    def content(self, path: str) -> bytes | None:
        """What the file at `path` says of the symlink beside it; None if there is no such file."""
        known = self._known(path.removesuffix(_DESCRIPTOR)) if path.endswith(_DESCRIPTOR) else None
        return f"Module: {known[1]}\nServed by: hubfs, from {self._root}/{known[0]}\n".encode() if known else None

    def _known(self, digest: str) -> tuple[str, str] | None:
        if not _DIGEST.fullmatch(digest):
            return None  # `<sha1>.lock` and the like: nobody needs to be asked
        with self._lock:
            known = self._spelled.get(digest)
        if known is None:
            self._extend()
            with self._lock:
                known = self._spelled.get(digest)
            if known is None:
                # All that the library will say is that it cannot write here.
                _log.warning(
                    "tensorflow_hub looked for %s, which is the sha1 of no handle that is known here: the handle is "
                    "mistyped, or in no catalogue (--catalog), and nobody read the model from this mount yet",
                    digest,
                )
        return known

    def _extend(self) -> None:
        """Takes in the handles that came up since the last time."""
        places = {place for handle in self._handles() for place in _places(handle)}
        with self._lock:
            new = places - self._indexed
        spelled = {
            module_name(url): (name if is_version(name.rpartition("/")[2]) else f"{name}/latest", url)
            for name in new
            for url in spellings(self._hub_urls, name)
        }
        with self._lock:
            self._spelled.update(spelled)
            self._indexed |= new


def _places(handle: str) -> tuple[str, ...]:
    """The handle, and the name without its version, which stands for the latest."""
    name, _, version = handle.rpartition("/")
    return (handle, name) if is_version(version) else (handle,)
