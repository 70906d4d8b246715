"""Which hubs are mounted on this machine, and taking them off."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hubfs import presence
from hubfs.errors import MountFailed
from hubfs.processes import is_running, is_stopped, send, users

_TABLE = Path("/proc/self/mounts")
_DEVICES = Path("/proc/self/mountinfo")
_CONNECTIONS = Path("/sys/fs/fuse/connections")
_TYPE = "fuse.hubfs"
_PATIENCE_S = 30.0
_ANSWER_S = 5.0
_FORCE_S = 1.8
"""A daemon that was told to end needs 1.2 s at most, whatever its readers wait for."""
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
_MOST_LAYERS = 64
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
    return _resolved(mountpoint) in mountpoints()


def _resolved(mountpoint: Path) -> Path:
    """The name by which the kernel knows it. Asks no daemon about its own root, which might never answer."""
    parent = Path(os.path.realpath(mountpoint.parent))  # which raises nothing, whatever is there
    if mountpoint.name != ".." and parent / mountpoint.name in mountpoints():
        return parent / mountpoint.name
    return Path(os.path.realpath(mountpoint))


def device_of(mountpoint: Path) -> int | None:
    """The `st_dev` of what is mounted there (of the last of several), told by the kernel alone."""
    wanted = _resolved(mountpoint)
    return next((device for device, path in reversed(_devices()) if path == wanted), None)


def where_is(device: int) -> Path | None:
    """Where the mount with this `st_dev` is now: a directory above it may have been renamed. None if nowhere."""
    return next((path for found, path in _devices() if found == device), None)


def _devices() -> list[tuple[int, Path]]:
    lines = [line.split(" ") for line in _DEVICES.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    return [(os.makedev(*map(int, fields[2].split(":"))), Path(_unescaped(fields[4]))) for fields in lines]


def is_dead(mountpoint: Path) -> bool:
    """Whether the daemon behind the mount point is gone. One that does not answer in time is not known to be."""
    return is_mounted(mountpoint) and _look(mountpoint)[0] in _DEAD


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


@contextlib.contextmanager
def claimed(mountpoint: Path) -> Iterator[None]:
    """As `prepare`; and of several that want to mount there at once, one may. Raises `MountFailed` to the others."""
    prepare(mountpoint)
    with contextlib.ExitStack() as opened:
        try:
            directory = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
            opened.callback(os.close, directory)
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MountFailed(f"Another hub is just being mounted at {mountpoint}") from None
        except OSError:
            pass  # a file system without locks
        prepare(mountpoint)  # who was faster is done by now
        yield


def prepare(mountpoint: Path) -> None:
    """Sees to it that a hub can be mounted there; a dead mount is cleared. Raises `MountFailed`."""
    for _ in range(_MOST_LAYERS):  # mounts over mounts, all of them dead
        if not is_dead(mountpoint):
            break
        reason = detach(mountpoint)
        if reason:
            raise MountFailed(f"A dead mount is in the way at {mountpoint}, and cannot be taken off: {reason}")
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


def detach(mountpoint: Path, patience_s: float = _PATIENCE_S) -> str:
    """Takes the mount off even if it is dead or busy: open files keep it alive until they are closed.

    Returns why that could not be done, else nothing.
    """
    return _run(mountpoint, ["-u", "-z"], ["-l"], patience_s)


def unmount(mountpoint: Path, timeout_s: float = 30.0) -> None:
    """Takes the mount off and waits for its daemon, and who supervises that, to end.

    Raises `MountFailed`: naming who uses it, when it is busy; when its daemon does not answer, or does not end within
    `timeout_s`.
    """
    supervisor = presence.find(presence.of_supervisor(mountpoint))
    if supervisor is None:
        _must_be_mounted(mountpoint)
    answer, said = _look(mountpoint) if is_mounted(mountpoint) else (errno.ENOTCONN, b"")
    if answer is None:
        raise MountFailed(
            f"{mountpoint} does not answer within {_ANSWER_S:g} s; `hubfs unmount --force {mountpoint}` ends its daemon"
        )
    status, device = _status_in(said), device_of(mountpoint)
    daemon = None if device is None else presence.find(presence.of_daemon(device))
    if answer in _DEAD:
        _take_off_dead(mountpoint, supervisor, timeout_s)
        return
    layers = mountpoints().count(_resolved(mountpoint))
    name = _resolved(mountpoint)
    reason = _run(mountpoint, ["-u"], [], _PATIENCE_S)
    if mountpoints().count(name) >= layers:
        named = ", ".join(users(name, device))
        raise MountFailed(
            f"{mountpoint} cannot be unmounted: {f'in use by {named}' if named else reason}; "
            f"`hubfs unmount --force {mountpoint}` unmounts it all the same"
        )
    # They end by themselves; but another mount namespace may have a copy of the mount, and the daemon may be another
    # than the supervisor's, mounted while that was dead.
    for pid in (supervisor, daemon):
        if pid is not None:
            _tell(pid, signal.SIGTERM)
    for pid in (status["pid"] if status is not None else None, daemon, supervisor):
        if pid is not None:
            _wait_for_the_end(mountpoint, pid, timeout_s)


def _take_off_dead(mountpoint: Path, supervisor: int | None, timeout_s: float) -> None:
    if supervisor is not None:  # it would mount again
        _tell(supervisor, signal.SIGTERM)
        _wait_for_the_end(mountpoint, supervisor, timeout_s)
    reason = detach(mountpoint) if is_mounted(mountpoint) else ""
    if is_mounted(mountpoint):
        raise MountFailed(f"{mountpoint} cannot be unmounted: {reason}")


def _wait_for_the_end(mountpoint: Path, pid: int, timeout_s: float) -> None:
    if not _ended_by(time.monotonic() + timeout_s, [pid]):
        raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {pid}) does not end")


def _ended_by(deadline_s: float, pids: list[int]) -> bool:
    while any(map(is_running, pids)):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def force(mountpoint: Path) -> None:
    """Ends the mount and its daemon within 2 s, whoever uses it, and whether or not the daemon answers.

    Who reads gets an error. A daemon that does not end when it is told to is killed. Raises `MountFailed`.
    """
    name, device = _resolved(mountpoint), device_of(mountpoint)
    found = [presence.find(presence.of_supervisor(mountpoint))]
    if found == [None]:
        _must_be_mounted(mountpoint)
    if device is not None and name in mountpoints():
        found.append(presence.find(presence.of_daemon(device)))
        if found[-1] is None:  # it sees another network, say
            status = _status_in(_look(mountpoint)[1])
            found.append(None if status is None else int(status["pid"]))
    pids = [pid for pid in found if pid is not None]
    for pid in pids:
        _tell(pid, signal.SIGTERM)
    if any(map(is_stopped, pids)) or not _ended_by(time.monotonic() + _FORCE_S, pids):
        for pid in pids:  # the supervisor first: it must not see its daemon die
            _tell(pid, signal.SIGKILL)
    reason = ""
    if device is not None and name in mountpoints():
        with contextlib.suppress(OSError):  # the daemon was not found, and this file is there for root alone
            (_CONNECTIONS / str(os.minor(device)) / "abort").write_text("1", encoding="ascii")
        reason = detach(mountpoint)
    if name in mountpoints():
        raise MountFailed(f"{mountpoint} cannot be unmounted: {reason}")
    if not _ended_by(time.monotonic() + _PATIENCE_S, pids):
        raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {pids[-1]}) does not end")


def _tell(pid: int, number: signal.Signals) -> None:
    try:
        send(pid, number)
    except PermissionError:
        raise MountFailed(f"Process {pid}, which serves this mount, is another user's to end") from None


def _run(mountpoint: Path, fusermount: list[str], umount: list[str], patience_s: float) -> str:
    """Unmounts with whatever program there is; the last one's complaint."""
    complaint = "neither fusermount3 nor umount is installed"
    for command in (["fusermount3", *fusermount], ["fusermount", *fusermount], ["umount", *umount]):
        if shutil.which(command[0]) is None:
            continue
        try:
            done = subprocess.run(  # noqa: S603 - fixed programs
                [*command, str(mountpoint)], capture_output=True, text=True, check=False, timeout=patience_s
            )
        except subprocess.TimeoutExpired:
            complaint = f"{command[0]} did not end within {patience_s:g} s"
            continue
        if done.returncode == 0:
            return ""
        complaint = done.stderr.strip()
    return complaint
