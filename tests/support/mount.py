"""The real command: `hubfs mount`, detached, as a user types it; always unmounted, and nothing left behind."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.programs import ran
from tests.support.waiting import eventually

DEAD = "not connected|connection abort"
"""What readers are told of a mount whose daemon is gone: ENOTCONN, or ECONNABORTED where the kernel just noticed."""

HUBFS = Path(sysconfig.get_path("scripts"), "hubfs")


@dataclass(frozen=True)
class Machine:
    """What a user has: a home, a temporary directory, an environment; and the commands he types there.

    Variables of hubfs and of the client library that happen to be set where the tests run do not reach it. Its mounts
    have no supervisor but by `--supervise`: most tests are about one process.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()  # the program, with its arguments, that runs the commands

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def temp(self) -> Path:
        return self.root / "temp"

    def with_environment(self, **changes: str) -> "Machine":
        """The same machine with other variables."""
        return Machine(self.root, {**self.environment, **changes}, self.wrapper)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its commands; the directories that it names are there."""
        for directory in (self.home, self.temp):
            directory.mkdir(parents=True, exist_ok=True)
        foreign = ("HUBFS_", "TFHUB_", "XDG_", "STORAGE_EMULATOR_HOST", "GOOGLE_", "HF_", "HUGGING_FACE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **inherited,
            "HOME": str(self.home),
            "TMPDIR": str(self.temp),
            "HUBFS_SUPERVISE": "false",
            **self.environment,
        }

    def hubfs(
        self, *arguments: str | Path, timeout_s: float = 60, pass_fds: Sequence[int] = ()
    ) -> "subprocess.CompletedProcess[str]":
        """Runs one command to its end. A daemon that kept its output open would make this time out."""
        return ran([*self.wrapper, HUBFS, *arguments], env=self.variables, timeout=timeout_s, pass_fds=pass_fds)


@dataclass(frozen=True)
class Mount:
    """A mounted hub."""

    path: Path
    machine: Machine
    log_file: Path

    def status(self) -> dict[str, Any]:
        """What `hubfs status --json` says."""
        done = self.machine.hubfs("status", self.path, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def log(self) -> str:
        """The log so far."""
        return self.log_file.read_text()

    def pids(self) -> list[int]:
        """The daemon's processes."""
        return _daemons(self.path)

    def kill(self) -> None:
        """kill -9; returns when the kernel has noticed. The mount stays, dead."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        # Not when the process is gone: a request that one of its threads was just taking up ends with EIO.
        assert eventually(lambda: _is_dead(self.path)), "the mount survived kill -9 of its daemon"

    def error_of(self, path: Path) -> str:
        """The xattr `user.hubfs.error`."""
        return os.getxattr(path, "user.hubfs.error").decode()

    def is_sound(self, path: Path) -> bool:
        """Whether there is no such attribute."""
        try:
            self.error_of(path)
        except OSError as error:
            return error.errno == errno.ENODATA
        return False


@contextlib.contextmanager
def mounted(
    machine: Machine, mountpoint: Path, hub: str, *options: str | Path, timeout_s: float = 60
) -> Iterator[Mount]:
    """Mounts `hub` at `mountpoint` and unmounts it in the end. The daemon must be gone then."""
    with contextlib.suppress(FileExistsError):  # perhaps a dead mount, of which nothing can be asked
        mountpoint.mkdir(parents=True)
    log_file = mountpoint.with_name(f"{mountpoint.name}.log")
    done = machine.hubfs(
        *("mount", mountpoint, "--hub", hub, "--log-file", log_file, *options),
        timeout_s=timeout_s,
    )
    try:
        assert done.returncode == 0, f"hubfs mount ended with {done.returncode}: {done.stderr}"
        yield Mount(mountpoint, machine, log_file)
    except BaseException:
        # Shown by pytest beside the failure.
        print(log_file.read_text()[-20_000:] if log_file.exists() else f"no log at {log_file}")
        raise
    finally:
        left_behind = _unmount(machine, mountpoint) if done.returncode == 0 else None
        clear(mountpoint)
    assert not left_behind, left_behind


def _unmount(machine: Machine, mountpoint: Path) -> str | None:
    if not is_mounted(mountpoint):
        return None
    done = machine.hubfs("unmount", mountpoint)
    if done.returncode:
        return f"hubfs unmount ended with {done.returncode}: {done.stderr}"
    if is_mounted(mountpoint):
        return f"{mountpoint} is still mounted after hubfs unmount"
    if not eventually(lambda: not _daemons(mountpoint)):
        return f"the daemon of {mountpoint} runs on after hubfs unmount"
    return None


def clear(mountpoint: Path) -> None:
    """Takes away by force what is left: a test that failed must not disturb the next."""
    for pid in _daemons(mountpoint):
        os.kill(pid, signal.SIGKILL)
    if is_mounted(mountpoint):
        lazily = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
        subprocess.run([*lazily, mountpoint], check=True, timeout=30, stdin=subprocess.DEVNULL)


def _is_dead(mountpoint: Path) -> bool:
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def is_mounted(mountpoint: Path) -> bool:
    """Whether something is mounted there, alive or dead."""
    # The kernel escapes these; a dead mount cannot be asked by stat.
    wanted = os.fsencode(mountpoint)
    for character in b"\\ \n\t":
        wanted = wanted.replace(bytes([character]), b"\\%03o" % character)
    return any(line.split(b" ")[1] == wanted for line in Path("/proc/mounts").read_bytes().splitlines())


def processes_naming(path: Path) -> list[int]:
    """The living processes, ourselves apart, with `path` or something below it in their command line."""
    return [
        pid
        for pid, arguments in _command_lines()
        if any(argument == str(path) or argument.startswith(f"{path}/") for argument in arguments)
    ]


def _daemons(mountpoint: Path) -> list[int]:
    return [pid for pid, arguments in _command_lines() if "mount" in arguments and str(mountpoint) in arguments]


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(process.name) != os.getpid():
                yield int(process.name), (process / "cmdline").read_text(errors="replace").split("\0")
