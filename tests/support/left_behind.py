"""What the tests' own process, and those that they started, still hold when they are over."""

import contextlib
import gc
import os
import socket
import threading
from pathlib import Path

from tests.support.mount import processes_naming
from tests.support.waiting import eventually

_LIBRARIES = ("fsspecIO", "asyncio_", "execnet")
"""Threads that libraries start once, for as long as the process lives."""

_TIME_WAIT = "06"
"""As /proc/net/tcp calls it."""


def left_behind(base: Path, within_s: float = 10) -> list[str]:
    """What does not end by itself: processes, mounts, threads, ports and open files, of which paths below `base` tell.

    A line for each. What was told to end has `within_s` for it: a connection that is being made, a request under way.
    """
    eventually(lambda: not _held(base), within_s)
    return _held(base)


def _held(base: Path) -> list[str]:
    found = _look(base)
    if found:
        gc.collect()  # what nobody refers to any more is not held, it is only not collected yet
        found = _look(base)
    return found


def _look(base: Path) -> list[str]:
    return [
        *(f"process {pid}" for pid in processes_naming(base)),
        *(f"mount {line}" for line in _proc_mounts() if f" {base}/" in line),
        *(f"thread {name}" for name in _threads()),
        *(f"port {port}" for port in _ports()),
        *(f"open file {name}" for name in _open_files() if name.startswith(f"{base}/")),
    ]


def _proc_mounts() -> list[str]:
    return Path("/proc/mounts").read_text(errors="replace").splitlines()


def _open_files() -> dict[str, int]:
    """What is open, deleted files included, and the descriptor."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found[str(descriptor.readlink())] = int(descriptor.name)
    return found


def _ports() -> list[int]:
    """The ports that are bound and not those of a connection: of servers, and of whoever keeps a port free."""
    found = []
    # Of a file no duplicate is made: it would stay open as long as that one.
    for number in [number for name, number in _open_files().items() if name.startswith("socket:")]:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as held:
            is_of_the_network = held.family in (socket.AF_INET, socket.AF_INET6) and held.getsockname()[1]
            if is_of_the_network and not _is_connected(held) and _is_taken(held):
                found.append(int(held.getsockname()[1]))
    return found


def _threads() -> list[str]:
    """The threads that are neither the main one nor a library's."""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    return [name for name in names if not name.startswith(_LIBRARIES)]


def _is_connected(held: socket.socket) -> bool:
    try:
        held.getpeername()
    except OSError:
        return False
    return True


def _is_taken(held: socket.socket) -> bool:
    """Whether a port is bound: a connection that both ends have closed still tells which port it had.

    The end that closed first, or both where they closed at once, keep it for a minute more (TIME_WAIT).
    """
    if held.type == socket.SOCK_STREAM and held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return True
    with socket.socket(held.family, held.type) as other:
        try:
            other.bind(held.getsockname())
        except OSError:
            return held.getsockname()[1] not in _ports_in_time_wait()
    return False


def _ports_in_time_wait() -> set[int]:
    """The local ports of connections in TIME_WAIT, by /proc/net/tcp (proc(5))."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _TIME_WAIT}
