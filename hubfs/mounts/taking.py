"""Taking mounts off, and ending the processes that serve them."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Container
from pathlib import Path

from hubfs.errors import MountFailed
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts.processes import is_running, is_stopped, send, users
from hubfs.mounts.table import ANSWER_S, Answer, device_of, is_mounted, mountpoints, must_be_mounted, owner_of, resolved

_CONNECTIONS = Path("/sys/fs/fuse/connections")
_PATIENCE_S = 30.0
_PASSING_S, _POLL_S = 1.0, 0.05
"""A mount is busy for an instant whenever another process looks at it, as `df` and `hubfs status` do at all mounts.
A process that uses it for longer is in use of it."""

_PASSING_BY_S = 5.0
"""A mount that is busy for so long is in use, though nobody is seen there, or always somebody else."""

_FORCE_S = 1.8
"""A daemon that was told to end needs 1.2 s at most, whatever its readers wait for."""


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
    name, device = resolved(mountpoint), device_of(mountpoint)
    owners = _users_to_believe(device)
    supervisor = presence.find(presence.of_supervisor(name), owners)
    if supervisor is None:
        must_be_mounted(mountpoint)
    # The mount itself is asked who serves it, too: the name of a daemon in a container may not be seen from here.
    answer = mount_table.look(mountpoint) if is_mounted(mountpoint) else None
    if answer is None or answer.is_dead:
        _take_off_dead(mountpoint, supervisor, timeout_s)
        return
    if answer.is_late:
        raise MountFailed(
            f"{mountpoint} does not answer within {ANSWER_S:g} s; `hubfs unmount --force {mountpoint}` ends its daemon"
        )
    told, daemon = _daemon_in(answer, owners), _daemon_of(device, owners)
    _take_off_unused(mountpoint, name, device)
    # They end by themselves; but another mount namespace may have a copy of the mount, and the daemon may be another
    # than the supervisor's, mounted while that was dead.
    for pid in (supervisor, daemon):
        if pid is not None:
            _tell(pid, signal.SIGTERM)
    for pid in (told, daemon, supervisor):
        if pid is not None:
            _wait_for_the_end(mountpoint, pid, timeout_s)


def _take_off_unused(mountpoint: Path, name: Path, device: int | None) -> None:
    """Takes the mount off as soon as nobody looks at it. Raises `MountFailed` if it is in use for longer than that."""
    layers = mountpoints().count(name)
    why, began_s = "", time.monotonic()
    changed_s = began_s
    while (reason := _run(mountpoint, ["-u"], [], _PATIENCE_S)) and mountpoints().count(name) >= layers:
        _must_be_ours(mountpoint, device)
        before, why, now_s = why, _why_busy(name, device), time.monotonic()
        if why != before:
            changed_s = now_s
        if (why and now_s - changed_s > _PASSING_S) or now_s - began_s > _PASSING_BY_S:
            raise MountFailed(
                f"{mountpoint} cannot be unmounted: {why or reason}; "
                f"`hubfs unmount --force {mountpoint}` unmounts it all the same"
            )
        time.sleep(_POLL_S)


def force(mountpoint: Path) -> None:
    """Ends the mount and its daemon within 2 s, though it is in use, and whether or not the daemon answers.

    Who reads gets an error. A daemon that does not end when it is told to is killed. Raises `MountFailed`.
    """
    name, device = resolved(mountpoint), device_of(mountpoint)
    owners = _users_to_believe(device)
    found = [presence.find(presence.of_supervisor(name), owners)]
    if found == [None]:
        must_be_mounted(mountpoint)
    if device is not None and name in mountpoints():
        found.append(_daemon_of(device, owners))
        if found[-1] is None:  # it sees another network, say
            found.append(_daemon_in(mount_table.look(mountpoint), owners))
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
        _must_be_ours(mountpoint, device)
        raise MountFailed(f"{mountpoint} cannot be unmounted: {reason}")
    if not _ended_by(time.monotonic() + _PATIENCE_S, pids):
        raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {pids[-1]}) does not end")


def _users_to_believe(device: int | None) -> set[int]:
    """Whose processes may be said to serve the mount.

    Anybody can mount a file system that says of itself what he likes; whom it names must not be ended for that.
    """
    owner = owner_of(device)
    return {os.geteuid() if owner is None else owner}


def _daemon_of(device: int | None, owners: Container[int]) -> int | None:
    """The process that goes by the name of the mount's daemon."""
    return None if device is None else presence.find(presence.of_daemon(device), owners)


def _daemon_in(answer: Answer, owners: Container[int]) -> int | None:
    """The daemon's, as the mount itself says. It may see other processes than we do, and be in a container."""
    pid = (answer.said or {}).get("pid")
    return pid if presence.is_daemon(pid, owners) else None


def _why_busy(name: Path, device: int | None) -> str:
    """What keeps the mount busy: what is mounted below it, and who uses it."""
    named = [f"{inner} is mounted inside (`umount {inner}` first)" for inner in mount_table.inside(name)]
    found = ", ".join(users(name, device))
    return "; ".join([*named, *([f"in use by {found}"] if found else [])])


def _must_be_ours(mountpoint: Path, device: int | None) -> None:
    """For mounts that could not be taken off: why, if the reason is that simple."""
    owner = owner_of(device)
    if owner is not None and os.geteuid() not in (0, owner):
        raise MountFailed(f"{mountpoint} cannot be unmounted: it is another user's (user {owner})")


def _take_off_dead(mountpoint: Path, supervisor: int | None, timeout_s: float) -> None:
    if supervisor is not None:  # it would mount again
        _tell(supervisor, signal.SIGTERM)
        _wait_for_the_end(mountpoint, supervisor, timeout_s)
    reason = detach(mountpoint) if is_mounted(mountpoint) else ""
    if is_mounted(mountpoint):
        _must_be_ours(mountpoint, device_of(mountpoint))
        raise MountFailed(f"{mountpoint} cannot be unmounted: {reason}")


def _wait_for_the_end(mountpoint: Path, pid: int, timeout_s: float) -> None:
    if not _ended_by(time.monotonic() + timeout_s, [pid]):
        raise MountFailed(f"{mountpoint} is unmounted, but its daemon (process {pid}) does not end")


def _ended_by(deadline_s: float, pids: list[int]) -> bool:
    while any(map(is_running, pids)):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


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
