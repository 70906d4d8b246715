"""`hubfs resolve`: where a handle is, below a mount."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hubfs import mount_table
from hubfs.errors import InvalidHandle, ModelNotFound, MountFailed, Unavailable
from hubfs.hub.handle import Handle, is_name_segment, is_publisher

_OF_MODELS = "user.hubfs.handle"
"""The attribute that tells a model from a directory which could only lead to one (`google/tfjs-model/spice/2`)."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENODATA)


def below_a_mount(text: str) -> Path:
    """The directory of a handle, of a name without version (its latest), or of the URL of either on a mounted hub.

    Raises `MountFailed` where the hub is not mounted, `ModelNotFound`, `InvalidHandle`, and `Unavailable` where a mount
    cannot answer.
    """
    mounted = [*_mounted()]
    asked = [(where, name) for where, hub in mounted if (name := handle_on(hub, text)) is not None]
    if not asked:
        what = f"No hub is mounted, so {text} is nowhere" if not mounted else f"The hub of {text} is not mounted"
        if not mounted and mount_table.mountpoints():  # whose models who asks would run
            what = "No mount that is yours or root's answers"
        raise MountFailed(f"{what}; `hubfs mount MOUNTPOINT` does it")
    troubles = []
    for where, name in asked:
        path = where / name
        versioned = is_versioned(name)
        try:
            if not versioned:
                path /= (path / "latest").readlink()
            os.getxattr(path, _OF_MODELS)
        except OSError as error:
            if error.errno in _NOT_THERE:
                continue
            troubles.append(f"{path} cannot be read: {_reason(where, path, error)}")
        else:
            return path
    if troubles:
        raise Unavailable(f"{text} was not found: {'; '.join(troubles)}")
    raise ModelNotFound(f"{text} was not found below {', '.join(str(where) for where, _ in asked)}; see `hubfs status`")


def _mounted() -> Iterator[tuple[Path, str]]:
    """Where hubs are mounted whose daemons answer, and which."""
    for where in mount_table.mountpoints():
        with contextlib.suppress(MountFailed):  # unmounted just now
            status = mount_table.read_status(where)
            if status is not None:
                yield where, status["hub"]


def _reason(where: Path, path: Path, error: OSError) -> str:
    """What the mount says of the model, else what the system says."""
    with contextlib.suppress(MountFailed):
        status = mount_table.read_status(where) or {}
        for model in status.get("models", ()):
            if where / model["handle"] == path and model["error"]:
                return str(model["error"])
    return f"{error.strerror}; see `hubfs status`"


def handle_on(hub: str, text: str) -> str | None:
    """The handle or name in `text`, which may be its URL on `hub`; None for the URL of something else."""
    if "://" not in text:
        return text.strip("/")
    without_scheme = text.partition("://")[2].partition("?")[0].strip("/")
    prefix = hub.partition("://")[2].strip("/") + "/"
    return without_scheme.removeprefix(prefix) if without_scheme.startswith(prefix) else None


def is_versioned(name: str) -> bool:
    """Whether `name` is a handle; else it is a name without version. Raises `InvalidHandle` for neither."""
    try:
        Handle.parse(name)
    except InvalidHandle:
        segments = name.split("/")
        if len(segments) < 2 or not is_publisher(segments[0]) or not all(map(is_name_segment, segments)):  # noqa: PLR2004 - publisher and name
            raise
        return False
    return True
