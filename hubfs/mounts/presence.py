"""Who serves a mount. A process says so by a socket that has a name and no file: the kernel keeps it for as long as the
process lives, so it is never out of date, and a process is found by it that does not answer any more.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Container
from hashlib import sha256
from pathlib import Path

from hubfs.mounts.processes import lines_of

_SOCKETS = Path("/proc/net/unix")
_CREDENTIALS = struct.Struct("@3i")  # of <linux/socket.h>: process, user, group
_LIBC = ctypes.CDLL(None, use_errno=True)
_PIDFD_GETFD = 438  # of <asm/unistd.h>, on every architecture, since Linux 5.6
_BACKLOG = 128
"""Who looks for the process connects, and is never let in: so many may look before it has to be searched for."""


def of_daemon(device: int) -> str:
    """The name of the daemon of the mount whose files have this `st_dev`."""
    return f"hubfs/daemon/{os.major(device)}:{os.minor(device)}"


def of_supervisor(mountpoint: Path) -> str:
    """The name of the supervisor of a mount point, which has one before and after anything is mounted there."""
    return f"hubfs/supervisor/{_digest_of(mountpoint)}"


def of_mounting(mountpoint: Path) -> str:
    """The name of who is just mounting there."""
    return f"hubfs/mounting/{_digest_of(mountpoint)}"


def _digest_of(mountpoint: Path) -> str:
    # Containers may share a network, where these names live, and see other directories by the same path.
    path = f"{os.readlink('/proc/self/ns/mnt')} {mountpoint}"  # noqa: PTH115 - no path of a file
    return sha256(os.fsencode(path)).hexdigest()[:32]


def announce(name: str) -> socket.socket:
    """Goes by this name until the socket is closed. Raises OSError (`EADDRINUSE`) if somebody does so already."""
    with contextlib.ExitStack() as opened:
        announced = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        announced.bind(f"\0{name}")
        announced.listen(_BACKLOG)
        opened.pop_all()
    return announced


def find(name: str, users: Container[int]) -> int | None:
    """The process of that name; None if there is none, or it cannot be seen from here, or is none of these users'.

    A name belongs to the first process that takes it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as looking:
        looking.setblocking(False)
        try:
            looking.connect(f"\0{name}")
        except BlockingIOError:  # somebody looked too often
            return _searched(name, users)
        except OSError:
            return None
        # The kernel says who listens, though nobody answers. Daemons keep what they have open from all but root.
        return _who_listens(looking, users)


def _who_listens(connected: socket.socket, users: Container[int]) -> int | None:
    """The process that made the listening socket, if it is one of these users'; of that socket, or one connected."""
    pid, user, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    # Who listened may have left the socket to others and ended; the number may be another user's by now.
    return pid if pid > 0 and user in users and _is_run_by(pid, [user]) else None


def is_daemon(pid: object, users: Container[int]) -> bool:
    """Whether that is a process of hubfs, and one of these users'.

    A number that somebody told may be anybody's here: in a container processes have others.
    """
    if not isinstance(pid, int) or pid <= 0 or not _is_run_by(pid, users):
        return False
    with contextlib.suppress(OSError):
        return b"hubfs" in Path("/proc", str(pid), "cmdline").read_bytes()
    return False


def _is_run_by(pid: int, users: Container[int]) -> bool:
    """Whether there is a process of this number, and it is one of these users'."""
    with contextlib.suppress(OSError):
        lines = lines_of(Path("/proc", str(pid), "status"))
        return any(int(line.split()[2]) in users for line in lines if line.startswith("Uid:"))
    return False


def _searched(name: str, users: Container[int]) -> int | None:
    """The same by what processes have open. A newline in a name may forge a line of the list: the socket is asked."""
    links = {f"socket:[{fields[6]}]" for fields in map(str.split, lines_of(_SOCKETS)) if fields[7:] == [f"@{name}"]}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in links:  # noqa: PTH115 - no path of a file
                    with _copied(int(process.name), int(descriptor.name)) as found:
                        if found.getsockname() == f"\0{name}".encode():
                            return _who_listens(found, users)
    return None


def _copied(pid: int, descriptor: int) -> socket.socket:
    """Another process's socket. Raises OSError."""
    process = os.pidfd_open(pid)
    try:
        copy = _LIBC.syscall(_PIDFD_GETFD, process, descriptor, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "no descriptor of another process")
    finally:
        os.close(process)
    return socket.socket(fileno=copy)
