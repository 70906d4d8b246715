"""What is in a bundle: texts by name, each bounded in size and in time. Where one cannot be had, the reason is."""

import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from hubfs import __version__
from hubfs.daemon import log_file
from hubfs.daemon.spawn import command
from hubfs.errors import MountFailed
from hubfs.mounts import presence
from hubfs.mounts import table as mount_table
from hubfs.mounts.processes import lines_of
from hubfs.settings.config import Settled
from hubfs.settings.effective import rows

_MOST_BYTES = 1 << 20
_DOCTOR_S = 120.0
_DUMP_S = 15.0
_KILLED_S = 1.0
_SIGNAL = 10
"""SIGUSR1. The modules of the daemon are not imported for its name."""
_END = "end of the dump"
_LIBRARIES = ("libfuse3.so.4", "libfuse3.so.3", "libfuse.so.2")


def about() -> str:
    """Versions: of hubfs, Python, the system, libfuse, and what hubfs depends on."""
    told = [f"hubfs {__version__}", f"Python {sys.version}", " ".join(platform.uname()), f"user {os.geteuid()}"]
    with suppress(OSError):
        told.append(platform.freedesktop_os_release().get("PRETTY_NAME", ""))
    told += [f"{library}: {_loaded(library)}" for library in _LIBRARIES]
    told.append(f"/dev/fuse: {'there' if Path('/dev/fuse').exists() else 'missing'}")
    told += sorted(f"{one.name} {one.version}" for one in metadata.distributions())
    return "\n".join(told)


def _loaded(library: str) -> str:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return "there"


def settings(settled: Settled) -> Any:
    """Every setting that is in force, with where it comes from, without secrets."""
    return [asdict(row) for row in rows(settled)]


def mountinfo() -> str:
    """The mounts of this machine, as the kernel tells."""
    return "\n".join(lines_of(Path("/proc/self/mountinfo")))


def of_mount(mountpoint: Path, settled: Settled) -> tuple[Mapping[str, Any], Mapping[str, Callable[[], Any]]]:
    """The status of a mount, and what there is of it: status, metrics, log, and what its daemon is at just now.

    Raises `MountFailed` where no hub is mounted.
    """
    state, status = mount_table.state_of(mountpoint)
    told: Mapping[str, Any] = status or {"mountpoint": str(mountpoint), "state": state.value}
    named = told.get("log_file")
    log = Path(named) if isinstance(named, str) else None
    if status is None:
        log = log_file.of_daemon(settled.config, mountpoint)
    return told, {
        "status.json": lambda: told,
        "metrics.txt": lambda: _output(["cat", str(mountpoint / ".hubfs" / "metrics")], mount_table.ANSWER_S),
        "dump.txt": lambda: _dump(mountpoint, log),
        "log.txt": lambda: "its log goes to no file" if log is None else _end_of(log),
    }


def _output(arguments: list[str], patience_s: float) -> str:
    """What a program says within so long. One that waits for a stuck daemon cannot be killed, and is left behind."""
    process = subprocess.Popen(  # noqa: S603 - of our own making
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired as late:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_KILLED_S)
        if process.stdout is not None:
            process.stdout.close()
        return f"{(late.output or b'')[:_MOST_BYTES].decode(errors='replace')}\n(no more within {patience_s:g} s)"
    return said[:_MOST_BYTES].decode(errors="replace")


def _end_of(path: Path, start_bytes: int = 0) -> str:
    """The end of a file, from `start_bytes` on; of a shorter one, which was begun anew meanwhile, from its start."""
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        start_bytes = start_bytes if start_bytes <= size_bytes else 0
        file.seek(max(start_bytes, size_bytes - _MOST_BYTES, 0))
        text = file.read(_MOST_BYTES).decode(errors="replace")
    # What begins in the middle of a line may be half an address, which hides what is secret of it.
    return text if size_bytes - start_bytes <= _MOST_BYTES else text.partition("\n")[2]


def _dump(mountpoint: Path, log: Path | None) -> str:
    """Has the daemon say what it is at: SIGUSR1, which an older version would die of."""
    device = mount_table.device_of(mountpoint)
    pid = None if device is None else presence.find(presence.of_daemon(device), {os.geteuid()})
    if pid is None:
        return "no daemon of this user was found"
    if not _catches(pid):
        return f"process {pid} does not answer SIGUSR1"
    if log is None:
        os.kill(pid, _SIGNAL)
        return f"process {pid} was told to say it on its stderr, where its log goes"
    path = log_file.dump_of(log)
    before_bytes = path.stat().st_size if path.exists() else 0
    os.kill(pid, _SIGNAL)
    deadline_s = time.monotonic() + _DUMP_S
    text = ""
    while _END not in text and time.monotonic() < deadline_s:
        time.sleep(0.1)
        with suppress(OSError):
            text = _end_of(path, before_bytes)
    return text if _END in text else f"{text}\n(no more within {_DUMP_S:g} s)"


def _catches(pid: int) -> bool:
    """Whether the process has a handler for the signal."""
    caught = next(line.split()[1] for line in lines_of(Path("/proc", str(pid), "status")) if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (_SIGNAL - 1) & 1)


def text_of(make: Callable[[], Any]) -> Any:
    """What it makes, or why that could not be made."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the rest of the bundle is wanted all the same
        return f"({type(error).__name__}: {error})"


def as_text(value: Any) -> str:
    """A text as it is, and what is JSON as such."""
    return value if isinstance(value, str) else json.dumps(value, indent=2)


def members(mountpoint: Path | None, settled: Settled) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything in a bundle, by its path there."""
    yield "about.txt", about
    yield "config.json", lambda: settings(settled)
    yield "mountinfo.txt", mountinfo
    mounts = [*mount_table.mountpoints()] if mountpoint is None else [mountpoint]
    asked: list[str] = []
    for number, each in enumerate(mounts, 1):
        with suppress(MountFailed):  # it was taken off meanwhile
            status, found = of_mount(each, settled)
            for name, make in found.items():
                yield f"mounts/{number}/{name}", make
            asked = _asked_by(status) if len(mounts) == 1 else []
    yield "doctor.txt", lambda: _output(command("doctor", *asked), _DOCTOR_S)


def _asked_by(status: Mapping[str, Any]) -> list[str]:
    """What doctor is asked about a mount whose options may have been others than the settings' here."""
    named = {"--hub": status.get("hub"), "--cache-dir": status.get("cache_dir")}
    return [word for option, value in named.items() if isinstance(value, str) for word in (option, value)]
