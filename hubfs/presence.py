"""Who serves a mount. A process says so by a socket that has a name and no file: the kernel keeps it for as long as the
process lives, so it is never out of date, and a process is found by it that does not answer any more.
"""

import contextlib
import os
import socket
from hashlib import sha256
from pathlib import Path

_SOCKETS = Path("/proc/net/unix")


def of_daemon(device: int) -> str:
    """The name of the daemon of the mount whose files have this `st_dev`."""
    return f"hubfs/daemon/{os.major(device)}:{os.minor(device)}"


def of_supervisor(mountpoint: Path) -> str:
    """The name of the supervisor of a mount point, which has one before and after anything is mounted there."""
    # Containers may share a network, where these names live, and see other directories by the same path.
    path = f"{os.readlink('/proc/self/ns/mnt')} {mountpoint}"  # noqa: PTH115 - no path of a file
    return f"hubfs/supervisor/{sha256(os.fsencode(path)).hexdigest()[:32]}"


def announce(name: str) -> socket.socket:
    """Goes by this name until the socket is closed. Raises OSError (`EADDRINUSE`) if somebody does so already."""
    with contextlib.ExitStack() as opened:
        announced = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        announced.bind(f"\0{name}")  # and does not listen: nobody can connect
        opened.pop_all()
    return announced


def find(name: str) -> int | None:
    """The process of that name; None if there is none, or it is not this user's to look at."""
    links = {
        f"socket:[{fields[6]}]"
        for fields in map(str.split, _SOCKETS.read_text(encoding="utf-8", errors="replace").splitlines())
        if fields[7:] == [f"@{name}"]
    }
    if not links:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in links:  # noqa: PTH115 - no path of a file
                    return int(process.name)
    return None
