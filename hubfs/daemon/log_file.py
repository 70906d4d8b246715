"""Where the log of a mount goes, and how its file is opened. A mount that can have none goes on without."""

import contextlib
import os
import stat
from pathlib import Path

import platformdirs

from hubfs.settings.config import Config, of_user

_LONGEST_NAME = 60
"""Characters: of four bytes each, and with the suffix of a rotated file, the longest that a file system takes."""


def of_daemon(config: Config, mountpoint: Path) -> Path | None:
    """The log of a mount in the background: the file that the config names, else one in the user's log directory.

    A daemon without a disk cache writes no file at all that nobody named; `hubfs status` shows its last problems.
    """
    if config.log_file is not None or config.cache_dir is None:
        return config.log_file
    name = str(mountpoint).strip("/").replace("/", "-")[-_LONGEST_NAME:] or "root"
    return default_directory() / f"{name}.log"


def dump_of(log: Path) -> Path:
    """Where a daemon with this log writes what it is at, on SIGUSR1."""
    return log.with_name(f"{log.name}.dump")


def default_directory() -> Path:
    """The user's log directory."""
    return of_user(platformdirs.user_log_path("hubfs"))


def opened(path: Path) -> int:
    """A descriptor that appends to the file, which is made, if need be, with the directories above. Raises `OSError`.

    The file is for its owner alone, also if it was there before: it says which models of a private hub are used.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():  # no device: /dev/null stays what it is
            os.fchmod(descriptor, 0o600)
    return descriptor


def complaint(path: Path | None, error: OSError) -> str:
    """What is said of a log that cannot be opened."""
    return (
        f"The log file {path} cannot be written ({error.strerror}): nothing is logged there; --log-file names another"
    )
