"""Starting the daemon in the background. Imports nothing of it: the command returns the sooner."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hubfs.daemon import log_file
from hubfs.errors import MountFailed

# Not `-m hubfs`: that puts the current directory, whatever lies there, in front of the libraries.
_WITHOUT_SCRIPT = "import sys; sys.path[:] = [path for path in sys.path if path]; from hubfs.cli import main; main()"

_READY_FD = "--ready-fd"
_NOTHING: Mapping[str, str] = {}


def spawn(
    arguments: Sequence[str], log: Path | None, environment: Mapping[str, str] = _NOTHING, *, given: Sequence[int] = ()
) -> str | None:
    """Starts `hubfs ARGUMENTS… --foreground` as a daemon, and returns once its mount answers.

    A new program, not a fork: threads and locks of libraries do not survive one. `environment` is what it is told
    besides ours, `given` descriptors that it is to have. Messages of libfuse itself go to the file `log`. Returns what
    is to be said of a log that cannot be written. Raises `MountFailed` with what the daemon said.
    """
    without_log: str | None = None
    ready, tell = os.pipe()
    try:
        with contextlib.ExitStack() as opened:
            stderr = subprocess.DEVNULL
            if log is not None:
                try:
                    stderr = log_file.opened(log)
                    opened.callback(os.close, stderr)
                except OSError as error:
                    without_log = log_file.complaint(log, error)
            daemon = subprocess.Popen(  # noqa: S603 - this very program
                command(*with_options(arguments, "--foreground", _READY_FD, str(tell))),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[tell, *given],
                env={**os.environ, **environment},
                start_new_session=True,
            )
    finally:
        os.close(tell)
    with os.fdopen(ready, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read().strip()  # ends when the daemon closes its end, or dies
    if said != "ready":
        where = "" if log is None else f"; {without_log}" if without_log else f"; the log is in {log}"
        raise MountFailed((said or f"The daemon ended without a word (status {daemon.wait()})") + where)
    return without_log


def with_options(arguments: Sequence[str], *options: str) -> list[str]:
    """`arguments` and more options, which beat those that are there; `--` ends options: what follows is none."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:end], *options, *arguments[end:]]


def without_ready_fd(arguments: Sequence[str]) -> list[str]:
    """`arguments` of a daemon, without what `spawn` had it tell, once, that its mount answers."""
    at = arguments.index(_READY_FD) if _READY_FD in arguments else len(arguments)
    return [*arguments[:at], *arguments[at + 2 :]]


def command(*arguments: str) -> list[str]:
    """The running program with other arguments, named in `ps` as people know it if it was started by its script."""
    script = Path(sys.argv[0])
    known = script.name == "hubfs" and script.is_file()
    return [sys.executable, *([str(script.absolute())] if known else ["-c", _WITHOUT_SCRIPT]), *arguments]


def working_directory() -> Path:
    """What a command line is relative to; the root if somebody removed it."""
    with contextlib.suppress(OSError):
        return Path.cwd()
    return Path("/")
