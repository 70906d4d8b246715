"""A new program takes the place of a daemon's: with settings read anew, in the same process, and for the same mount."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hubfs.daemon.keeper import READY, Birth, Served, left_for
from hubfs.daemon.spawn import command, without_ready_fd
from hubfs.errors import HubfsError
from hubfs.mounts import table as mount_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reload:
    """What a daemon is born with for that: the directory that its command line is relative to, and what reads the
    settings, and raises `HubfsError` for those that cannot be used.
    """

    directory: Path
    check: Callable[[], object]


def reload(how: Reload, birth: Birth, served: Served | None, mountpoint: Path) -> None:
    """Has another program serve on: does not return. Returns where that cannot be, or where the settings are wrong:
    the log and the keeper are told why, and this daemon goes on as it is.
    """
    birth.keeper.reloading()
    try:
        _reload(how, birth, served, mountpoint)
    except (HubfsError, OSError) as error:
        _log.error("Nothing is reloaded: %s", error)
        birth.keeper.say(f"Nothing was reloaded: {error}")
    birth.keeper.tell(READY)


def _reload(how: Reload, birth: Birth, served: Served | None, mountpoint: Path) -> None:
    if served is None:
        raise HubfsError("another daemon can take over what the kernel session serves, on Linux 6.9; restart this one")
    how.check()
    if not mount_table.leads_into(how.directory, {mount_table.resolved(mountpoint)}):  # nobody would answer
        os.chdir(how.directory)
    arguments = command(*without_ready_fd(sys.argv[1:]))
    environment = {**os.environ, **left_for(birth.keeper, served)}
    _log.info("The settings are read anew, by a program that takes this one's place")
    logging.shutdown()
    _end_children()
    os.execve(arguments[0], arguments, environment)  # noqa: S606 - this very program


def _end_children() -> None:
    """Ends the processes that this one waits for: the next program knows none, and would keep them as zombies."""
    children: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has just ended, or the kernel has no such file
            children.update((task / "children").read_text(encoding="ascii").split())
    for child in children:
        with contextlib.suppress(OSError):
            os.kill(int(child), signal.SIGKILL)
            os.waitpid(int(child), 0)
