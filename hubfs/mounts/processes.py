"""Other processes, as /proc shows them: whether they are there, and which use a mount."""

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")


def lines_of(path: Path) -> list[str]:
    """The lines of a file of /proc; what is no UTF-8 is escaped as in paths. Raises OSError.

    A newline alone ends them. Any user may give a mount point, a mapped file or a process a name with a carriage return
    or another separator of `str.splitlines`, none of which the kernel escapes: that would be a line of its own.
    """
    return [line for line in os.fsdecode(path.read_bytes()).split("\n") if line]


def is_running(pid: int) -> bool:
    """Whether the process is there and has not ended (one that nobody waited for yet has)."""
    state = _state(pid)
    if state == "Z":  # its first thread; others may still be on their way out, and hold what it had open
        with contextlib.suppress(OSError):
            return len([*(_PROC / str(pid) / "task").iterdir()]) > 1
    return state not in (None, "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether it was stopped by a signal: it handles no other then, but SIGKILL."""
    return _state(pid) in ("T", "t")


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal; nothing happens if the process is gone. Raises PermissionError."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _state(pid: int) -> str | None:
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return None


def users(mountpoint: Path, device: int | None) -> list[str]:
    """Who keeps the mount busy: `name (pid)`, by an open file, a mapped one, or a working directory.

    `mountpoint` is what the kernel calls it, `device` the `st_dev` of its files.
    """
    found = []
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or not ours to look at
            if _is_below(process, mountpoint) or (device is not None and _maps(process, device)):
                found.append(
                    f"{(process / 'comm').read_text(encoding='utf-8', errors='replace').strip()} ({process.name})"
                )
    return found


def _is_below(process: Path, mountpoint: Path) -> bool:
    links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
    # By name: to ask for the file itself would wait for a daemon that is stuck.
    return any(Path(os.readlink(link)).is_relative_to(mountpoint) for link in links if link.is_symlink())  # noqa: PTH115


def _maps(process: Path, device: int) -> bool:
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}"
    return any(line.split(maxsplit=4)[3:4] == [wanted] for line in lines_of(process / "maps"))
