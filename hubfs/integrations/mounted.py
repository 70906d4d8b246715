"""Handles, as paths below a mount."""

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

TFHUB_DEV = "https://tfhub.dev"

_ABOUT = Path(".hubfs", "mount.json")
_ERROR = "user.hubfs.error"
"""The attribute of a directory of versions that says, a line for each, why one cannot be read."""

_Place = tuple[str, ...]
"""A URL without query, cut up to compare: `("web", "tfhub.dev", "google", "spice")`. http and https are one."""


class NotMounted(FileNotFoundError):
    """There is no hub at the mount point."""


class ModelNotOnMount(FileNotFoundError):
    """The mount has no model of that handle."""


class MountResolver:
    """What tensorflow_hub's registry asks. It has no way to take an implementation out again: a retired one says no.

    `hubs` are URLs that handles begin with, beside the URL of the hub that is mounted. Raises `NotMounted` when no hub
    is mounted there, `ValueError` for a hub that is no URL.
    """

    def __init__(self, mountpoint: str | os.PathLike[str], hubs: Iterable[str]) -> None:
        root = Path(os.path.abspath(mountpoint))  # noqa: PTH100 - Path.resolve() would ask the hub for every symlink
        self._mountpoint = root
        self._places = [*map(_place_of_hub, hubs), *_own_place(root)]
        self.retired = False

    def is_supported(self, handle: object) -> bool:
        """Whether the handle begins with one of the hubs."""
        return not self.retired and isinstance(handle, str) and self._segments(handle) is not None

    def __call__(self, handle: str) -> str:
        """The model root; for an unversioned handle, of the version that is the latest at this moment."""
        segments = self._segments(handle)
        if segments is None:
            raise ValueError(f"{handle!r} begins with none of the hubs that are installed for {self._mountpoint}")
        if len(segments) < 2 or not {"", ".", ".."}.isdisjoint(segments):  # noqa: PLR2004 - publisher and name
            raise ModelNotOnMount(
                errno.ENOENT,
                f"{handle!r} names no model: after the hub, PUBLISHER/NAME/VERSION or PUBLISHER/NAME must follow",
            )
        path = self._mountpoint.joinpath(*segments)
        try:
            if not segments[-1].isdecimal():
                path = _followed(path / "latest")
            path.stat()
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))  # a catalogue may name what the hub does not have
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(handle, path) from error
        except OSError as error:
            raise OSError(error.errno, f"{handle} cannot be read: {self._reason(path, error)}", str(path)) from error
        return str(path)

    def _segments(self, handle: str) -> tuple[str, ...] | None:
        """What follows the hub's URL in `handle`, without query; None if it is no handle of these hubs."""
        place = _place(handle)
        for hub in self._places:
            if place is not None and place[: len(hub)] == hub:
                return place[len(hub) :]
        return None

    def _missing(self, handle: str, path: Path) -> OSError:
        try:
            _hub_at(self._mountpoint)
        except NotMounted as gone:
            return gone
        return ModelNotOnMount(
            errno.ENOENT,
            f"{handle} is not on the mount {self._mountpoint}: its hub has no such model; check the spelling "
            "(nothing was downloaded: hubfs.integrations.tensorflow_hub is installed for this hub)",
            str(path),
        )

    def _reason(self, path: Path, error: OSError) -> str:
        """What the mount says of the model, else what the system says."""
        if error.errno == errno.ENOTCONN:
            return "the mount is dead; `hubfs mount` at the same place replaces it"
        # Not the model's attribute: nothing at all can be asked of a path that cannot be looked up.
        with contextlib.suppress(OSError):
            for line in os.getxattr(path.parent, _ERROR).decode(errors="replace").splitlines():
                version, _, reason = line.partition(": ")
                if version == path.name:
                    return reason
        return f"{error.strerror}; `hubfs status {self._mountpoint}` may say more"


def _place(url: str) -> _Place | None:
    """None for what is no URL of a host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if not parts.netloc:
        return None
    scheme = "web" if parts.scheme in ("http", "https") else parts.scheme
    path = parts.path.strip("/")
    host = parts.netloc.rpartition("@")[2].lower()
    return (scheme, host, *(path.split("/") if path else []))


def _place_of_hub(url: str) -> _Place:
    place = _place(url)
    if place is None:
        raise ValueError(f"{url!r} is not the URL of a hub, such as {TFHUB_DEV}")
    return place


def _own_place(mountpoint: Path) -> list[_Place]:
    """The hub at `mountpoint`, if it has a URL that handles can begin with. Raises `NotMounted`."""
    place = _place(_hub_at(mountpoint))
    return [] if place is None else [place]


def _hub_at(mountpoint: Path) -> str:
    """The URL of the hub that is mounted at `mountpoint`, or that is in this directory of a mount of several hubs.

    Raises `NotMounted`.
    """
    try:
        try:
            about = json.loads((mountpoint / _ABOUT).read_bytes())
        except FileNotFoundError:
            return str(json.loads((mountpoint.parent / _ABOUT).read_bytes())["hubs"][mountpoint.name])
        if about["hub"] is not None:
            return str(about["hub"])
        names = ", ".join(str(mountpoint / name) for name in about["hubs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_mounted(mountpoint) from error
    raise NotMounted(errno.ENOENT, f"several hubs are mounted there, and one is to be named: {names}", str(mountpoint))


def _not_mounted(mountpoint: Path) -> NotMounted:
    return NotMounted(
        errno.ENOENT, f"no hub is mounted at {mountpoint}: `hubfs mount {mountpoint}` first", str(mountpoint)
    )


def _followed(latest: Path) -> Path:
    """Where the symlink points now: a model whose files are read one by one must not change in between."""
    try:
        return latest.parent / latest.readlink()
    except OSError as error:
        if error.errno != errno.EINVAL:  # a directory: a copy of a mount, for example
            raise
        return latest
