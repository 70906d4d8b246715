"""Starting the daemon in the background. Imports nothing of it: the command returns the sooner."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hubfs.errors import InvalidConfig, MountFailed

# Not `-m hubfs`: that puts the current directory, whatever lies there, in front of the libraries.
_WITHOUT_SCRIPT = "import sys; sys.path[:] = [path for path in sys.path if path]; from hubfs.cli import main; main()"

_NOTHING: Mapping[str, str] = {}


def spawn(arguments: Sequence[str], log_file: Path | None, environment: Mapping[str, str] = _NOTHING) -> None:
    """Starts `hubfs ARGUMENTS… --foreground` as a daemon, and returns once its mount answers.

    A new program, not a fork: threads and locks of libraries do not survive one. `environment` is what it is told
    besides ours. What libfuse itself has to say goes to the log file. Raises `MountFailed` with what the daemon said,
    `InvalidConfig` for a log file that cannot be written.
    """
    ready, tell = os.pipe()
    try:
        with _opened(log_file) as stderr:
            daemon = subprocess.Popen(  # noqa: S603 - this very program
                command(*with_options(arguments, "--foreground", "--ready-fd", str(tell))),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[tell],
                env={**os.environ, **environment},
                start_new_session=True,
            )
    finally:
        os.close(tell)
    with os.fdopen(ready, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read().strip()  # ends when the daemon closes its end, or dies
    if said != "ready":
        log = f"; the log is in {log_file}" if log_file is not None else ""
        raise MountFailed((said or f"The daemon ended without a word (status {daemon.wait()})") + log)


def with_options(arguments: Sequence[str], *options: str) -> list[str]:
    """`arguments` and more options, which beat those that are there; `--` ends options: what follows is none."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:end], *options, *arguments[end:]]


def command(*arguments: str) -> list[str]:
    """The running program with other arguments, named in `ps` as people know it if it was started by its script."""
    script = Path(sys.argv[0])
    known = script.name == "hubfs" and script.is_file()
    return [sys.executable, *([str(script.absolute())] if known else ["-c", _WITHOUT_SCRIPT]), *arguments]


@contextlib.contextmanager
def _opened(log_file: Path | None) -> Iterator[int]:
    if log_file is None:
        yield subprocess.DEVNULL
        return
    try:
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For who mounted alone, as the daemon makes it.
        file = os.fdopen(os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")
    except OSError as error:
        raise InvalidConfig(f"The log file {log_file} cannot be written: {error.strerror}") from None
    with file:
        yield file.fileno()
