"""Which hubs are mounted on this machine, and how they are. Changes nothing."""

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from hubfs.errors import MountFailed
from hubfs.mounts.processes import lines_of

_TABLE = Path("/proc/self/mountinfo")
_TYPE = "fuse.hubfs"
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)

ABOUT, REPORT, MODELS = "mount.json", "status.json", "models.json"
"""Control files: which hub a mount is of and which process serves it, made at once; how that process is; and all models
that it knows."""

MOST_BYTES = 1 << 20
"""No control file that is looked at has more."""

ANSWER_S = 5.0
"""A mount that takes longer to say how it is does not answer."""

_SIDE_BY_SIDE = 16
"""So many mounts are asked at a time: each by a process."""

_GIVEN = Path("/dev/fd")

T = TypeVar("T")

_MOST_LINKS = 40
"""Symlinks on the way to one file: MAXSYMLINKS of Linux."""

_DEEPEST = 20
"""Nothing that a mount says of itself is nested deeper: `json` encodes a value by recursion."""

_LOOK = """
import errno, os, stat, sys
mountpoint, device, name, most_bytes = sys.argv[1:]

def text():
    file = os.open(f"{mountpoint}/.hubfs/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_dev != int(device):
        sys.exit(22)
    with os.fdopen(file, "rb") as opened:
        return opened.read(int(most_bytes) + 1)

try:
    os.statvfs(mountpoint)  # not stat, which the kernel answers out of its cache though nobody is there any more
    if name:
        try:
            said = text()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            said = text()  # another daemon took over while the file was read
        sys.stdout.buffer.write(said)
except OSError as error:
    sys.exit(error.errno)
"""
"""Asks a mount whether its daemon is there and, given a name, for that control file.

The user that mounted it may have put anything there: a symlink, a fifo, a device, another file system.
"""


class State(Enum):
    """How a mount is, as far as this user can tell."""

    ALIVE = "alive"
    DEAD = "dead"  # its daemon is gone
    SILENT = "silent"  # its daemon does not answer in time
    SHUT = "shut"  # another user mounted it: it does not answer us, or what it says is that user's to say
    STRANGE = "strange"  # it answers, but not as a daemon of this version of hubfs does


@dataclass(frozen=True)
class Mounted:
    """A line of the mount table: the mount's number, where, the `st_dev` of its files, its type, and who mounted it.

    `owner`: None if it is no FUSE.
    """

    number: int
    path: Path
    device: int
    type: str
    owner: int | None

    @property
    def is_believed(self) -> bool:
        """Whether what it says of itself is looked at: anybody can mount a file system that says what he likes."""
        return self.owner in (None, 0, os.geteuid())


@dataclass(frozen=True)
class Answer:
    """What a mount says when it is looked at: an errno (0 if all is well, None if nothing in time), and a control file.

    `said` is None where there is none, or nothing that makes sense: no JSON object, one of more than 1 MiB, or nested
    deeper than any of ours.
    """

    code: int | None
    said: Mapping[str, Any] | None = None

    @property
    def is_late(self) -> bool:
        """Whether it did not come in time, which need not mean that the daemon is gone."""
        return self.code is None

    @property
    def is_dead(self) -> bool:
        """Whether it is the kernel's, since the daemon is gone."""
        return self.code in _DEAD


def _table() -> list[Mounted]:
    """All mounts, in the order of the table: of several at one place, the last is on top."""
    return [_mounted_by(line.split(" ")) for line in lines_of(_TABLE)]


def _mounted_by(fields: list[str]) -> Mounted:
    """See proc_pid_mountinfo(5): optional fields, of any number, end with a hyphen."""
    type_, _, options = fields[fields.index("-", 6) + 1 :][:3]
    owner = re.search(r"(?:^|,)user_id=(\d+)(?:,|$)", options, re.ASCII)
    device = os.makedev(*map(int, fields[2].split(":")))
    return Mounted(int(fields[0]), Path(_unescaped(fields[4])), device, type_, int(owner[1]) if owner else None)


def _unescaped(text: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mountpoints() -> list[Path]:
    """Where hubs are mounted, dead mounts included."""
    return [mounted.path for mounted in _table() if mounted.type == _TYPE]


def of_each(ask: Callable[[Path], T]) -> list[T]:
    """What `ask` returns for each place where a hub is mounted, but for those that are taken off meanwhile.

    They are asked side by side: any number of them may be silent for `ANSWER_S`.
    """

    def asked(mountpoint: Path) -> list[T]:
        with contextlib.suppress(MountFailed):
            return [ask(mountpoint)]
        return []

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return [one for found in pool.map(asked, mountpoints()) for one in found]


def is_believed(mountpoint: Path) -> bool:
    """Whether what the mount there says of itself is looked at. `mountpoint` is what the kernel calls it."""
    mounted = _on_top(mountpoint)
    return mounted is None or mounted.is_believed


def is_mounted(mountpoint: Path) -> bool:
    """Whether a hub is mounted there, dead or alive."""
    return resolved(mountpoint) in mountpoints()


def resolved(mountpoint: Path) -> Path:
    """The name by which the kernel knows it. Asks no daemon about its own root, which might never answer."""
    here, names = _followed(mountpoint, set(mountpoints()))
    return here.joinpath(*names)


def leads_into(path: Path, mounts: Container[Path]) -> bool:
    """Whether the path is in one of the directories `mounts`, by symlinks, too. Nothing in them is asked."""
    return _followed(path, mounts)[0] in mounts


def _followed(path: Path, mounts: Container[Path]) -> tuple[Path, list[str]]:
    """Where the path leads without symlinks, up to the first of `mounts`; and the names that are left from there."""
    left, here, links = [*path.absolute().parts], Path("/"), 0
    while left and here not in mounts:
        name = left.pop(0)
        here = here.parent if name == ".." else here / name
        if here not in mounts and links < _MOST_LINKS:
            with contextlib.suppress(OSError):
                left = [*Path(os.readlink(here)).parts, *left]  # noqa: PTH115 - the parts alone are of use
                here = here.parent
                links += 1
    return here, left


def given(mountpoint: Path) -> int | None:
    """N for `/dev/fd/N`: a descriptor of /dev/fuse that somebody else has mounted. None for another path."""
    is_number = mountpoint.parent == _GIVEN and mountpoint.name.isascii() and mountpoint.name.isdecimal()
    return int(mountpoint.name[:9]) if is_number else None


def device_of(mountpoint: Path) -> int | None:
    """The `st_dev` of the mount there (the last of several), told by the kernel alone.

    What a descriptor serves the kernel tells from Linux 6.11 on.
    """
    descriptor = given(mountpoint)
    if descriptor is not None:
        return _connection_of(descriptor)
    mounted = _on_top(resolved(mountpoint))
    return None if mounted is None else mounted.device


def _connection_of(descriptor: int) -> int | None:
    try:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    except OSError:
        return None
    number = told.partition("\nfuse_connection:")[2].split(maxsplit=1)
    return os.makedev(0, int(number[0])) if number else None


def _on_top(path: Path) -> Mounted | None:
    return next((mounted for mounted in reversed(_table()) if mounted.path == path), None)


def where_is(device: int) -> Path | None:
    """Where the mount with this `st_dev` is now: a directory above it may have been renamed. None if nowhere."""
    return next((mounted.path for mounted in _table() if mounted.device == device), None)


def type_of(device: int) -> str | None:
    """The type of the file system with this `st_dev`, as the kernel calls it; None if it is not mounted here."""
    return next((mounted.type for mounted in _table() if mounted.device == device), None)


def owner_of(device: int | None) -> int | None:
    """The user who mounted it, which the kernel knows; None if it is not mounted here, or is no FUSE."""
    return next((mounted.owner for mounted in _table() if mounted.device == device), None)


def owner_of_mount(number: int) -> int | None:
    """The user who made the mount with this number (`mnt_id` of an open file), if it is a FUSE of this table."""
    return next((mounted.owner for mounted in _table() if mounted.number == number), None)


def inside(mountpoint: Path) -> list[Path]:
    """What is mounted below a mount: while it is, the outer mount is busy."""
    name = resolved(mountpoint)
    return [mounted.path for mounted in _table() if name in mounted.path.parents]


def is_dead(mountpoint: Path) -> bool:
    """Whether the daemon behind the mount point is gone. One that does not answer in time is not known to be."""
    return is_mounted(mountpoint) and look(mountpoint, "").is_dead


def state_of(mountpoint: Path, name: str = REPORT) -> tuple[State, Mapping[str, Any] | None]:
    """How the mount is, and, if it is alive, what its control file `name` says.

    Raises `MountFailed` where no hub is mounted.
    """
    must_be_mounted(mountpoint)
    answer = look(mountpoint, name)
    if answer.said is not None:
        return State.ALIVE, answer.said
    if answer.is_dead:
        return State.DEAD, None
    if answer.is_late:
        return State.SILENT, None
    if answer.code == errno.EACCES:
        return State.SHUT, None
    must_be_mounted(mountpoint)  # it may have been taken off meanwhile
    return State.STRANGE, None


def must_be_mounted(mountpoint: Path) -> None:
    """Raises `MountFailed` where no hub is mounted."""
    if not is_mounted(mountpoint):
        raise MountFailed(f"No hub is mounted at {mountpoint}; `hubfs status` lists those that are")


def look(mountpoint: Path, name: str = ABOUT) -> Answer:
    """Asks the mount how it is, and for the control file `name` (empty: for none).

    The file of a mount that is neither root's nor ours is not looked at: that is EACCES. Another process asks: one that
    waits for a stuck daemon can neither be killed nor end by itself.
    """
    mounted = _on_top(resolved(mountpoint))
    if mounted is None:  # taken off just now
        return Answer(errno.ENOENT)
    asked = name if mounted.is_believed else ""
    process = subprocess.Popen(  # noqa: S603 - this very interpreter
        [*(sys.executable, "-I", "-S", "-c", _LOOK), *(mounted.path, str(mounted.device), asked, str(MOST_BYTES))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        said, _ = process.communicate(timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Answer(None)
    if asked != name and not process.returncode:
        return Answer(errno.EACCES)
    return Answer(process.returncode, _object_in(said))


def _object_in(text: bytes) -> Mapping[str, Any] | None:
    if len(text) > MOST_BYTES:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _is_shallow(value) else None


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False
