"""Which hubs are mounted on this machine, and taking them off."""

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubfs.errors import MountFailed

_TABLE = Path("/proc/self/mounts")
_TYPE = "fuse.hubfs"
_PATIENCE_S = 30.0
_ANSWER_S = 10.0
_LOOK = """
import os, sys
try:
    os.statvfs(sys.argv[1])  # not stat, which the kernel answers out of its cache though nobody is there any more
    with open(sys.argv[1] + "/.hubfs/status.json", "rb") as file:
        sys.stdout.buffer.write(file.read())
except OSError as error:
    sys.exit(error.errno)
"""


def mountpoints() -> list[Path]:
    """Where hubs are mounted, dead mounts included."""
    lines = [line.split(" ") for line in _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    return [Path(_unescaped(fields[1])) for fields in lines if fields[2] == _TYPE]


def _unescaped(text: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def is_mounted(mountpoint: Path) -> bool:
    """Whether a hub is mounted there, dead or alive."""
    return Path(os.path.realpath(mountpoint)) in mountpoints()  # which raises nothing, whatever is there


def is_dead(mountpoint: Path) -> bool:
    """Whether the daemon behind the mount point is gone. One that does not answer in time is not known to be."""
    return is_mounted(mountpoint) and _look(mountpoint)[0] in (errno.ENOTCONN, errno.ECONNABORTED)


def read_status(mountpoint: Path) -> Mapping[str, Any] | None:
    """What the daemon says of itself, or None if it is dead, does not answer in time, or not to this user.

    Raises `MountFailed` where no hub is mounted.
    """
    _must_be_mounted(mountpoint)
    return _status_in(_look(mountpoint)[1])


def _must_be_mounted(mountpoint: Path) -> None:
    if not is_mounted(mountpoint):
        raise MountFailed(f"No hub is mounted at {mountpoint}; `hubfs status` lists those that are")


def _status_in(text: bytes) -> Mapping[str, Any] | None:
    try:
        status = json.loads(text)
    except ValueError:
        return None
    return status if isinstance(status, dict) else None


def _look(mountpoint: Path) -> tuple[int | None, bytes]:
    """The errno that the mount answers with (0 if all is well, None if it does not in time), and its status.

    Another process asks: one that waits for a stuck daemon can neither be killed nor end by itself.
    """
    process = subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-S", "-c", _LOOK, str(mountpoint)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        said, _ = process.communicate(timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, b""
    return process.returncode, said


def prepare(mountpoint: Path) -> None:
    """Sees to it that a hub can be mounted there; a dead mount is cleared. Raises `MountFailed`."""
    if is_dead(mountpoint):
        detach(mountpoint)
    if is_mounted(mountpoint):
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


def detach(mountpoint: Path) -> str:
    """Takes the mount off even if it is dead or busy: open files keep it alive until they are closed.

    Returns why that could not be done, else nothing.
    """
    return _run(mountpoint, ["-u", "-z"], ["-l"])


def unmount(mountpoint: Path, timeout_s: float = 30.0) -> None:
    """Takes the mount off and waits for its daemon to end.

    Raises `MountFailed`, naming who uses it, when it is busy; and when the daemon does not end within `timeout_s`.
    """
    _must_be_mounted(mountpoint)
    answer, said = _look(mountpoint)
    status = _status_in(said)
    if answer in (None, errno.ENOTCONN, errno.ECONNABORTED):
        reason = detach(mountpoint)
        if is_mounted(mountpoint):
            raise MountFailed(f"{mountpoint} cannot be unmounted: {reason}")
        if answer is None:
            raise MountFailed(f"{mountpoint} is detached, but its daemon did not answer, and may still run: see `ps`")
        return
    reason = _run(mountpoint, ["-u"], [])
    if is_mounted(mountpoint):
        users = ", ".join(_users(mountpoint))
        raise MountFailed(f"{mountpoint} cannot be unmounted: {f'in use by {users}' if users else reason}")
    deadline_s = time.monotonic() + timeout_s
    while status is not None and Path(f"/proc/{status['pid']}").exists() and not _is_zombie(status["pid"]):
        if time.monotonic() > deadline_s:
            raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {status['pid']}) does not end")
        time.sleep(0.02)


def _run(mountpoint: Path, fusermount: list[str], umount: list[str]) -> str:
    """Unmounts with whatever program there is; the last one's complaint."""
    complaint = "neither fusermount3 nor umount is installed"
    for command in (["fusermount3", *fusermount], ["fusermount", *fusermount], ["umount", *umount]):
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(  # noqa: S603 - fixed programs
                [*command, str(mountpoint)], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            complaint = f"{command[0]} did not end within {_PATIENCE_S:g} s"
            continue
        if done.returncode == 0:
            return ""
        complaint = done.stderr.strip()
    return complaint


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _users(mountpoint: Path) -> list[str]:
    """Processes with an open file or their working directory below the mount point: `name (pid)`."""
    mountpoint = Path(os.path.realpath(mountpoint))
    users = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or not ours to look at
            links = [process / "cwd", *(process / "fd").iterdir()]
            if any(Path(os.readlink(link)).is_relative_to(mountpoint) for link in links):  # noqa: PTH115 - no stat
                users.append(f"{(process / 'comm').read_text(encoding='utf-8').strip()} ({process.name})")
    return users
