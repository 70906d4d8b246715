"""A directory before a hub is mounted there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hubfs.errors import MountFailed
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts.taking import detach

_MOST_LAYERS = 64


def absolute(mountpoint: Path) -> Path:
    """The path of a mount point that a user typed. Raises `MountFailed` below a working directory that was removed."""
    try:
        return mountpoint.absolute()
    except FileNotFoundError:
        raise MountFailed(
            f"{mountpoint} is a path below the working directory, and that was removed: cd to another one"
        ) from None


def prepare(mountpoint: Path) -> None:
    """Sees to it that a hub can be mounted there; a dead mount is cleared. Raises `MountFailed`.

    What somebody else has mounted, whose descriptor is given, is as it is.
    """
    if mount_table.given(mountpoint) is not None:
        return
    for _ in range(_MOST_LAYERS):  # mounts over mounts, all of them dead
        if not mount_table.is_dead(mountpoint):
            break
        reason = detach(mountpoint)
        if reason:
            raise MountFailed(f"A dead mount is in the way at {mountpoint}, and cannot be taken off: {reason}")
    if mount_table.is_mounted(mountpoint):
        raise MountFailed(f"A hub is mounted at {mountpoint} already; `hubfs unmount {mountpoint}` takes it off")
    try:
        empty = not any(mountpoint.iterdir())
    except FileNotFoundError:
        raise MountFailed(f"{mountpoint} does not exist; make it first: mkdir -p {mountpoint}") from None
    except NotADirectoryError:
        raise MountFailed(f"{mountpoint} is not a directory") from None
    except OSError as error:
        raise MountFailed(f"{mountpoint} cannot be used: {error.strerror}") from None
    if not empty:
        raise MountFailed(f"{mountpoint} is not empty; a mount would hide what is in it")


@contextlib.contextmanager
def claimed(mountpoint: Path) -> Iterator[None]:
    """As `prepare`; and of several that want to mount there at once, one may. Raises `MountFailed` to the others."""
    prepare(mountpoint)
    with contextlib.ExitStack() as opened:
        if mount_table.given(mountpoint) is not None:
            yield
            return
        name = presence.of_mounting(mount_table.resolved(mountpoint))
        try:  # no lock on the directory: any process that may list it can hold one for ever
            opened.enter_context(presence.announce(name))
        except OSError:  # another user's taking the name is no reason
            if presence.find(name, {os.geteuid()}) is not None:
                raise MountFailed(f"Another hub is just being mounted at {mountpoint}") from None
        prepare(mountpoint)  # who was faster is done by now
        yield
