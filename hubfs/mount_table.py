"""Which hubs are mounted on this machine, and how they are. Changes nothing."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hubfs.errors import MountFailed

_TABLE = Path("/proc/self/mounts")
_DEVICES = Path("/proc/self/mountinfo")
_TYPE = "fuse.hubfs"
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)

ANSWER_S = 5.0
"""A mount that takes longer to say how it is does not answer."""

_LOOK = """
import os, sys
try:
    os.statvfs(sys.argv[1])  # not stat, which the kernel answers out of its cache though nobody is there any more
    with open(sys.argv[1] + "/.hubfs/status.json", "rb") as file:
        sys.stdout.buffer.write(file.read())
except OSError as error:
    sys.exit(error.errno)
"""


class State(Enum):
    """How a mount is, as far as this user can tell."""

    ALIVE = "alive"
    DEAD = "dead"  # its daemon is gone
    SILENT = "silent"  # its daemon does not answer in time
    SHUT = "shut"  # another user mounted it: it does not answer us, or what it says is that user's to say


@dataclass(frozen=True)
class Answer:
    """What a mount says when it is looked at: an errno (0 if all is well, None if nothing in time), and its status.

    `status` is None where there is none, or nothing that makes sense. Whoever mounted it may have it say anything.
    """

    code: int | None
    status: Mapping[str, Any] | None = None

    @property
    def is_late(self) -> bool:
        """Whether it did not come in time, which need not mean that the daemon is gone."""
        return self.code is None

    @property
    def is_dead(self) -> bool:
        """Whether it is the kernel's, since the daemon is gone."""
        return self.code in _DEAD


def mountpoints() -> list[Path]:
    """Where hubs are mounted, dead mounts included."""
    lines = [line.split(" ") for line in _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    return [Path(_unescaped(fields[1])) for fields in lines if fields[2] == _TYPE]


def _unescaped(text: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def is_mounted(mountpoint: Path) -> bool:
    """Whether a hub is mounted there, dead or alive."""
    return resolved(mountpoint) in mountpoints()


def resolved(mountpoint: Path) -> Path:
    """The name by which the kernel knows it. Asks no daemon about its own root, which might never answer."""
    parent = Path(os.path.realpath(mountpoint.parent))  # which raises nothing, whatever is there
    if mountpoint.name != ".." and parent / mountpoint.name in mountpoints():
        return parent / mountpoint.name
    return Path(os.path.realpath(mountpoint))


def device_of(mountpoint: Path) -> int | None:
    """The `st_dev` of what is mounted there (of the last of several), told by the kernel alone."""
    wanted = resolved(mountpoint)
    return next((device for device, path in reversed(_devices()) if path == wanted), None)


def where_is(device: int) -> Path | None:
    """Where the mount with this `st_dev` is now: a directory above it may have been renamed. None if nowhere."""
    return next((path for found, path in _devices() if found == device), None)


def _devices() -> list[tuple[int, Path]]:
    return [(device, Path(_unescaped(fields[4]))) for device, fields in _mounts()]


def _owners() -> list[tuple[int, int]]:
    """By device: who mounted a file system of FUSE."""
    options = ((device, fields[-1].split(",")) for device, fields in _mounts())
    return [(device, int(one[8:])) for device, all_ in options for one in all_ if re.fullmatch(r"user_id=\d+", one)]


def owner_of(device: int | None) -> int | None:
    """The user who mounted it, which the kernel knows; None if it is not mounted here."""
    return next((user for found, user in _owners() if found == device), None)


def _mounts() -> list[tuple[int, list[str]]]:
    lines = [line.split(" ") for line in _DEVICES.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    return [(os.makedev(*map(int, fields[2].split(":"))), fields) for fields in lines]


def is_dead(mountpoint: Path) -> bool:
    """Whether the daemon behind the mount point is gone. One that does not answer in time is not known to be."""
    return is_mounted(mountpoint) and look(mountpoint).is_dead


def read_status(mountpoint: Path) -> Mapping[str, Any] | None:
    """What the daemon says of itself; None unless the mount is alive. Raises `MountFailed` where no hub is mounted."""
    return state_of(mountpoint)[1]


def state_of(mountpoint: Path) -> tuple[State, Mapping[str, Any] | None]:
    """How the mount is, and, if it is alive, what its daemon says of itself.

    Raises `MountFailed` where no hub is mounted.
    """
    must_be_mounted(mountpoint)
    answer = look(mountpoint)
    owner = owner_of(device_of(mountpoint))
    if answer.code == errno.EACCES or (answer.status is not None and owner not in (None, 0, os.geteuid())):
        return State.SHUT, None
    if answer.status is not None:
        return State.ALIVE, answer.status
    return State.DEAD if answer.is_dead else State.SILENT, None


def must_be_mounted(mountpoint: Path) -> None:
    """Raises `MountFailed` where no hub is mounted."""
    if not is_mounted(mountpoint):
        raise MountFailed(f"No hub is mounted at {mountpoint}; `hubfs status` lists those that are")


def look(mountpoint: Path) -> Answer:
    """Asks the mount how it is.

    Another process asks: one that waits for a stuck daemon can neither be killed nor end by itself.
    """
    process = subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-S", "-c", _LOOK, str(mountpoint)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        said, _ = process.communicate(timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Answer(None)
    return Answer(process.returncode, _status_in(said))


def _status_in(text: bytes) -> Mapping[str, Any] | None:
    try:
        status = json.loads(text)
    except ValueError:
        return None
    return status if isinstance(status, dict) else None
