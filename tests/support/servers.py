"""Programs that serve on a port: a free one may be another process's before the program has it."""

import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import eventually

_HOST = "127.0.0.1"
_MOST_STARTS = 5
_LISTEN = "0A"
"""A state of /proc/net/tcp (proc(5))."""


def started(start: Callable[[int], subprocess.Popen[bytes]]) -> tuple[subprocess.Popen[bytes], int]:
    """The process that `start` made for a port, and the port, as soon as the process itself listens there."""
    for _ in range(_MOST_STARTS):
        with socket.create_server((_HOST, 0)) as free:
            port = free.getsockname()[1]
        process = start(port)
        if _comes_to_listen(process, port):
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(f"{process.args!r} did not come to listen in {_MOST_STARTS} starts")


def _comes_to_listen(process: subprocess.Popen[bytes], port: int) -> bool:
    return eventually(lambda: process.poll() is not None or _listens(process.pid, port)) and process.poll() is None


def _listens(pid: int, port: int) -> bool:
    """Whether the process itself has the port: another process's server would answer there, too."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port}
    with suppress(OSError):
        return any(str(file.readlink()) in sockets for file in Path(f"/proc/{pid}/fd").iterdir())
    return False
